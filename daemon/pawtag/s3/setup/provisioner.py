"""Setting a bucket up: its queue and dead letters, who may send, and the bucket's notification. Can be run again."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from pawtag.domain.errors import ConfigError, PawtagError
from pawtag.s3.client import RESOURCE_NOT_FOUND, error_code, is_missing_bucket, is_unsupported, translate_errors
from pawtag.s3.setup.notification import EVENTS, Notification
from pawtag.s3.setup.policy import sender_statement, with_statement, without_statement
from pawtag.s3.setup.waiters import wait_until_settled
from pawtag.s3.sqs_queue import REDRIVE_POLICY

# Tries lie up to five minutes apart: four hours, before a fault puts every upload among the dead letters.
MAX_RECEIVES = 50
RETENTION_S = 14 * 24 * 3600
NAME_PREFIX = "pawtag-"
OWNER_TAG = {"made-by": "pawtag"}
RULE_NOT_FOUND = frozenset({"ResourceNotFoundException"})
NO_QUEUES_ADVICE = (
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
class SetupRequest:
    """What is to be set up."""

    bucket: str
    prefix: str
    queue: str
    via: str = "s3"
    visibility_timeout_s: int = 60

    @property
    def name(self) -> str:
        """Our rule's name, on the bucket, in EventBridge and in the queue's policy: its own for each prefix and queue."""
        mark = hashlib.sha256(f"{self.bucket}/{self.prefix} {self.queue}".encode()).hexdigest()[:8]
        return re.sub(r"[^A-Za-z0-9_-]", "-", f"{NAME_PREFIX}{self.bucket}")[:55] + f"-{mark}"

    @property
    def dead_queue(self) -> str:
        """The queue of what fails for ever."""
        return f"{self.queue}-dead"


class Provisioner:
    """Makes what is wanted, step by step; with `dry_run` only tells."""

    def __init__(
        self, clients: Clients, request: SetupRequest, report: Callable[[str], None], *, dry_run: bool
    ) -> None:
        """`say` hears of each step."""
        self._clients, self._request, self._report, self._dry_run = clients, request, report, dry_run
        self._notification = Notification(clients.s3, request.bucket)

    def make(self) -> tuple[str, str]:
        """Set it all up; the queue's URL and ARN. Raises PawtagError."""
        self._check_region()
        if self._request.via == "s3":
            self._notification.check_overlap(self._request.name, self._request.prefix)
        url, arn = self._queue(self._request.queue, {"VisibilityTimeout": str(self._request.visibility_timeout_s)})
        self._attach_dead_letters(url)
        rule_arn = self._rule(arn) if self._request.via == "eventbridge" else None
        statement = sender_statement(self._statement_ids[rule_arn is not None], self._request.bucket, arn, rule_arn)
        self._do(
            f"let {statement['Principal']['Service']} send to it for {self._request.bucket} alone",
            self._allow,
            url,
            statement,
        )
        if rule_arn:
            what = f"let {self._request.bucket} tell EventBridge"
            self._warn_of_switch(self._notification.has(self._request.name))
            self._do(what, self._notification.tell_eventbridge, self._request.name)
        else:
            what = f"let {self._request.bucket} tell {arn} of {EVENTS[0]} below {self._request.prefix!r}"
            self._do(what, self._notification.put, self._request.name, arn, self._request.prefix)
            self._warn_of_switch(self._remove_rule())
        return url, arn

    def remove(self) -> None:
        """Take back what `make` made; queues that it did not make, or that others use, stay. Raises PawtagError."""
        url, dead_url = self._url(self._request.queue), self._url(self._request.dead_queue)
        self._do(f"take our rule off {self._request.bucket}", self._notification.remove, self._request.name)
        self._remove_rule()
        if url and not self._remove_queue(url):
            return
        if dead_url and self._is_ours(dead_url):
            self._do(f"delete the queue {self._request.dead_queue}", self._clients.sqs.delete_queue, QueueUrl=dead_url)

    def _check_region(self) -> None:
        with translate_errors(f"The bucket {self._request.bucket}"):
            try:
                found = self._clients.s3.head_bucket(Bucket=self._request.bucket)
            except ClientError as error:
                if is_missing_bucket(error):
                    raise ConfigError(f"There is no bucket {self._request.bucket}.") from error
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
            own = {"QueueName": name, "Attributes": {"MessageRetentionPeriod": str(RETENTION_S)} | attributes}
            made = self._do(f"make the queue {name}", self._clients.sqs.create_queue, **own, tags=OWNER_TAG)
            if made is None:  # only told of
                return name, f"arn:aws:sqs:{self._clients.sqs.region}:ACCOUNT:{name}"
            url = str(made["QueueUrl"])
        return url, str(wait_until_settled(partial(self._attribute, url, "QueueArn"), self._report))

    def _attach_dead_letters(self, url: str) -> None:
        """Unless the queue has some."""
        is_there = url != self._request.queue  # or only told of
        if is_there and self._attribute(url, REDRIVE_POLICY):
            return
        dead_arn = self._queue(self._request.dead_queue, {})[1]
        redrive = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": MAX_RECEIVES})
        change = self._clients.sqs.set_queue_attributes
        self._do(
            f"give {self._request.queue} its dead letters", change, QueueUrl=url, Attributes={REDRIVE_POLICY: redrive}
        )

    def _allow(self, url: str, statement: dict[str, Any]) -> None:
        policy = with_statement(json.loads(self._attribute(url, "Policy") or "{}"), statement)
        with translate_errors(url):
            self._clients.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})

    def _rule(self, queue_arn: str) -> str:
        detail: dict[str, Any] = {"bucket": {"name": [self._request.bucket]}}
        if self._request.prefix:
            detail["object"] = {"key": [{"prefix": self._request.prefix}]}
        pattern = {
            "source": ["aws.s3"],
            "detail-type": ["Object Created", "Object Restore Completed"],
            "detail": detail,
        }
        name = self._request.name
        if self._dry_run:
            self._report(f"would make EventBridge's rule {name}")
            return f"arn:aws:events:REGION:ACCOUNT:rule/{name}"
        events = self._clients.events()
        with translate_errors(f"EventBridge's rule {name}"):
            arn = str(events.put_rule(Name=name, EventPattern=json.dumps(pattern))["RuleArn"])
            refused = events.put_targets(Rule=name, Targets=[{"Id": "pawtag", "Arn": queue_arn}]).get("FailedEntries")
        if refused:
            raise PawtagError(f"EventBridge does not take the queue: {refused[0].get('ErrorMessage')}")
        self._report(f"made EventBridge's rule {name}")
        return arn

    def _has_rule(self) -> bool:
        """Whether EventBridge holds our rule; who did not set up by it need not be allowed to ask."""
        try:
            with translate_errors(f"EventBridge's rule {self._request.name}"):
                self._clients.events().describe_rule(Name=self._request.name)
        except PawtagError as error:
            cause = error.__cause__
            if not (isinstance(cause, ClientError) and error_code(cause) in RULE_NOT_FOUND):
                self._report(f"leave EventBridge alone: {error}")
            return False
        return True

    def _remove_rule(self) -> bool:
        """Take EventBridge's rule back, if there is one; whether there was."""
        if not self._has_rule():
            return False
        events, rule = self._clients.events(), self._request.name
        self._do(f"take the queue off EventBridge's rule {rule}", events.remove_targets, Rule=rule, Ids=["pawtag"])
        self._do(f"delete EventBridge's rule {rule}", events.delete_rule, Name=rule)
        return True

    def _warn_of_switch(self, is_one: bool) -> None:
        if is_one:
            self._report("AWS takes minutes over such a change: 'pawtag s3 scan' finds what is uploaded meanwhile")

    @property
    def _statement_ids(self) -> tuple[str, str]:
        """Our statements' names, S3's and EventBridge's: both stay until `remove`, for a change of the way takes time."""
        return self._request.name, f"{self._request.name}-events"

    def _remove_queue(self, url: str) -> bool:
        """Delete the queue, or take our things off one that stays; whether nobody needs its dead letters now."""
        policy = json.loads(self._attribute(url, "Policy") or "{}") or None
        for sid in self._statement_ids:
            policy = without_statement(policy, sid)
        rest, is_ours = (policy or {}).get("Statement", []), self._is_ours(url)
        if is_ours and not rest:
            self._do(f"delete the queue {self._request.queue}", self._clients.sqs.delete_queue, QueueUrl=url)
            return True
        is_needed = is_ours or any(str(one.get("Sid", "")).startswith(NAME_PREFIX) for one in rest)
        change = self._clients.sqs.set_queue_attributes
        if not is_needed and f':{self._request.dead_queue}"' in (self._attribute(url, REDRIVE_POLICY) or ""):
            self._do("take our dead letters off it", change, QueueUrl=url, Attributes={REDRIVE_POLICY: ""})
        attributes = {"Policy": json.dumps(policy) if policy else ""}
        what = f"leave the queue {self._request.queue}, which others use, and take our statement off its policy"
        self._do(what, change, QueueUrl=url, Attributes=attributes)
        return not is_needed

    def _is_ours(self, url: str) -> bool:
        with translate_errors(url):
            return bool(self._clients.sqs.list_queue_tags(QueueUrl=url).get("Tags", {}).items() >= OWNER_TAG.items())

    def _url(self, name: str) -> str | None:
        try:
            with translate_errors(f"The queue {name}"):
                return str(self._clients.sqs.get_queue_url(QueueName=name)["QueueUrl"])
        except PawtagError as error:
            if is_unsupported(error):
                raise ConfigError(NO_QUEUES_ADVICE) from error
            if isinstance(error.__cause__, ClientError) and error_code(error.__cause__) in RESOURCE_NOT_FOUND:
                return None
            raise

    def _attribute(self, url: str, name: str) -> str | None:
        with translate_errors(url):
            found = self._clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])
        value: str | None = found.get("Attributes", {}).get(name)
        return value

    def _do(self, what: str, step: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Take the step, patiently, and say so; what it returned."""
        if self._dry_run:
            self._report(f"would {what}")
            return None

        def take() -> Any:
            with translate_errors(what):
                return step(*arguments, **named)

        result = wait_until_settled(take, self._report)
        self._report(what)
        return result
