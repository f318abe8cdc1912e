"""Setting a bucket up: its queue and dead letters, who may send, and the bucket's notification. Can be run again."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from pawtag.errors import ConfigError, PawtagError
from pawtag.s3.client import NO_PLACE, code_of, explained, is_lacking
from pawtag.s3.notification import EVENTS, Notification
from pawtag.s3.policy import sender_statement, statement_id, with_statement, without_statement

# Tries lie up to five minutes apart: four hours, before a fault puts every upload among the dead letters.
MOST_RECEIVES = 50
DAYS_14_S = 14 * 24 * 3600
MADE_BY = {"made-by": "pawtag"}
NO_RULE = frozenset({"ResourceNotFoundException"})
NO_QUEUES = (
    "The store has no queues. Have it post to the daemon (Ceph: --push URL; SeaweedFS: docs/s3.md), or set s3.bucket "
    "alone: the daemon lists the bucket every s3.rescan_s."
)


@dataclass(frozen=True, slots=True)
class Clients:
    """boto3's clients; EventBridge's is made when it is needed."""

    s3: Any
    sqs: Any
    events: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be set up."""

    bucket: str
    prefix: str
    queue: str
    via: str = "s3"
    visibility_s: int = 60

    @property
    def name(self) -> str:
        """Our rule's name, on the bucket and in EventBridge."""
        return re.sub(r"[^A-Za-z0-9_-]", "-", f"pawtag-{self.bucket}")[:64]


class Setup:
    """Makes what is wanted, step by step; with `dry_run` only tells."""

    def __init__(self, clients: Clients, wish: Wish, say: Callable[[str], None], *, dry_run: bool) -> None:
        """`say` hears of each step."""
        self._clients, self._wish, self._say, self._dry_run = clients, wish, say, dry_run
        self._notification = Notification(clients.s3, wish.bucket)

    def make(self) -> tuple[str, str]:
        """Set it all up; the queue's URL and ARN. Raises PawtagError."""
        self._check_region()
        if self._wish.via == "s3":
            self._notification.check_overlap(self._wish.name, self._wish.prefix)
        dead_arn = self._queue(f"{self._wish.queue}-dead", {"MessageRetentionPeriod": str(DAYS_14_S)})[1]
        redrive = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": MOST_RECEIVES})
        own = {"VisibilityTimeout": str(self._wish.visibility_s), "MessageRetentionPeriod": str(DAYS_14_S)}
        url, arn = self._queue(self._wish.queue, own | {"RedrivePolicy": redrive})
        rule_arn = self._rule(arn) if self._wish.via == "eventbridge" else None
        self._allow(url, sender_statement(self._wish.bucket, arn, rule_arn))
        if rule_arn:
            self._do(f"let {self._wish.bucket} tell EventBridge", self._notification.tell_eventbridge)
        else:
            what = f"let {self._wish.bucket} tell {arn} of {EVENTS[0]} below {self._wish.prefix!r}"
            self._do(what, self._notification.put, self._wish.name, arn, self._wish.prefix)
        return url, arn

    def remove(self) -> None:
        """Take back what `make` made; queues that it did not make stay. Raises PawtagError."""
        queues = {name: self._url(name) for name in (self._wish.queue, f"{self._wish.queue}-dead")}
        self._do(f"take our rule off {self._wish.bucket}", self._notification.remove, self._wish.name)
        if self._notification.tells_eventbridge() and self._has_rule():
            self._do(f"delete EventBridge's rule {self._wish.name}", self._remove_rule)
        for name, url in queues.items():
            if url:
                self._remove_queue(name, url)

    def _check_region(self) -> None:
        with explained(f"The bucket {self._wish.bucket}"):
            try:
                found = self._clients.s3.head_bucket(Bucket=self._wish.bucket)
            except ClientError as error:
                if code_of(error) == "404":
                    raise ConfigError(f"There is no bucket {self._wish.bucket}.") from error
                raise
        lies, ours = found.get("BucketRegion"), self._clients.sqs.region
        if lies and lies != ours:
            raise ConfigError(
                f"The bucket lies in {lies}, and s3.region is {ours}: a queue must lie where its bucket does."
            )

    def _queue(self, name: str, attributes: dict[str, str]) -> tuple[str, str]:
        """The queue's URL and ARN, made where it is missing; one that is there keeps its own attributes."""
        url = self._url(name)
        if url is None:
            create, tags = self._clients.sqs.create_queue, MADE_BY
            self._do(f"make the queue {name}", create, QueueName=name, Attributes=attributes, tags=tags)
            url = self._url(name)
        elif "RedrivePolicy" in attributes and not self._attribute(url, "RedrivePolicy"):
            redrive = {"RedrivePolicy": attributes["RedrivePolicy"]}
            change = self._clients.sqs.set_queue_attributes
            self._do(f"give {name} its dead letters", change, QueueUrl=url, Attributes=redrive)
        if url is None:  # only told of
            return name, f"arn:aws:sqs:{self._clients.sqs.region}:ACCOUNT:{name}"
        return url, str(self._attribute(url, "QueueArn"))

    def _allow(self, url: str, statement: dict[str, Any]) -> None:
        what = f"let {statement['Principal']['Service']} send to it for {self._wish.bucket} alone"
        self._do(what, self._change_policy, url, lambda policy: with_statement(policy, statement))

    def _change_policy(self, url: str, change: Callable[[Any], Any]) -> None:
        policy = self._attribute(url, "Policy")
        changed = change(json.loads(policy) if policy else None)
        with explained(url):
            self._clients.sqs.set_queue_attributes(
                QueueUrl=url, Attributes={"Policy": json.dumps(changed) if changed else ""}
            )

    def _rule(self, queue_arn: str) -> str:
        detail: dict[str, Any] = {"bucket": {"name": [self._wish.bucket]}}
        if self._wish.prefix:
            detail["object"] = {"key": [{"prefix": self._wish.prefix}]}
        pattern = {
            "source": ["aws.s3"],
            "detail-type": ["Object Created", "Object Restore Completed"],
            "detail": detail,
        }
        name = self._wish.name
        if self._dry_run:
            self._say(f"would make EventBridge's rule {name}")
            return f"arn:aws:events:REGION:ACCOUNT:rule/{name}"
        events = self._clients.events()
        with explained(f"EventBridge's rule {name}"):
            arn = str(events.put_rule(Name=name, EventPattern=json.dumps(pattern))["RuleArn"])
            events.put_targets(Rule=name, Targets=[{"Id": "pawtag", "Arn": queue_arn}])
        self._say(f"made EventBridge's rule {name}")
        return arn

    def _has_rule(self) -> bool:
        with explained(f"EventBridge's rule {self._wish.name}"):
            try:
                self._clients.events().describe_rule(Name=self._wish.name)
            except ClientError as error:
                if code_of(error) in NO_RULE:
                    return False
                raise
        return True

    def _remove_rule(self) -> None:
        events = self._clients.events()
        with explained(f"EventBridge's rule {self._wish.name}"):
            events.remove_targets(Rule=self._wish.name, Ids=["pawtag"])
            events.delete_rule(Name=self._wish.name)

    def _remove_queue(self, name: str, url: str) -> None:
        with explained(url):
            is_ours = self._clients.sqs.list_queue_tags(QueueUrl=url).get("Tags", {}).items() >= MADE_BY.items()
        if is_ours:
            self._do(f"delete the queue {name}", self._clients.sqs.delete_queue, QueueUrl=url)
            return
        sid = statement_id(self._wish.bucket)
        what = f"leave the queue {name}, which was there before, and take our statement off its policy"
        self._do(what, self._change_policy, url, lambda policy: without_statement(policy, sid))

    def _url(self, name: str) -> str | None:
        try:
            with explained(f"The queue {name}"):
                return str(self._clients.sqs.get_queue_url(QueueName=name)["QueueUrl"])
        except PawtagError as error:
            if is_lacking(error):
                raise ConfigError(NO_QUEUES) from error
            if isinstance(error.__cause__, ClientError) and code_of(error.__cause__) in NO_PLACE:
                return None
            raise

    def _attribute(self, url: str, name: str) -> str | None:
        with explained(url):
            found = self._clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])
        value: str | None = found.get("Attributes", {}).get(name)
        return value

    def _do(self, what: str, step: Callable[..., object], *arguments: Any, **named: Any) -> None:
        if self._dry_run:
            self._say(f"would {what}")
            return
        with explained(what):
            step(*arguments, **named)
        self._say(what)
