"""Set-up of a bucket: queue, dead-letter queue, permission to send, notification. It can be run again."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from pawtag.domain.errors import ConfigError, PawtagError
from pawtag.s3.client import Client
from pawtag.s3.client_errors import RESOURCE_NOT_FOUND, has_code, is_missing_bucket, is_unsupported
from pawtag.s3.setup.notification import NOTIFIED_EVENTS, Notification
from pawtag.s3.setup.policy import add_statement, build_sender_statement, remove_statement
from pawtag.s3.setup.request import NAME_PREFIX, SetupRequest
from pawtag.s3.setup.waiters import wait_until_settled
from pawtag.s3.sqs_queue import REDRIVE_POLICY

# Attempts are up to five minutes apart, so uploads become dead letters only after about four hours of a fault.
REDRIVE_RECEIVES = 50
RETENTION_S = 14 * 24 * 3600
OWNER_TAG = {"made-by": "pawtag"}
RULE_NOT_FOUND = frozenset({"ResourceNotFoundException"})
NO_QUEUES_ADVICE = (
    "The store has no queues. Let it post to the daemon (Ceph: --push URL; SeaweedFS: docs/s3.md), or set only "
    "s3.bucket: then the daemon lists the bucket every s3.rescan_s."
)


@dataclass(frozen=True, slots=True)
class Clients:
    """The clients of S3 and SQS; EventBridge's is created when it is needed."""

    s3: Client
    sqs: Client
    events: Callable[[], Client]


class Provisioner:
    """Creates what the request asks for, step by step. With `dry_run` it only reports."""

    def __init__(
        self, clients: Clients, request: SetupRequest, report: Callable[[str], None], *, dry_run: bool
    ) -> None:
        """Calls `report` for each step."""
        self._clients, self._request, self._report, self._dry_run = clients, request, report, dry_run
        self._notification = Notification(clients.s3, request.bucket)

    def create(self) -> tuple[str, str]:
        """Create everything; returns the queue's URL and ARN. Raises PawtagError."""
        self._check_region()
        if self._request.via == "s3":
            self._notification.check_overlap(self._request.name, self._request.prefix)
        url, arn = self._find_or_create_queue(
            self._request.queue, {"VisibilityTimeout": str(self._request.visibility_timeout_s)}
        )
        self._attach_dead_letters(url)
        rule_arn = self._create_rule(arn) if self._request.via == "eventbridge" else None
        statement = build_sender_statement(
            self._statement_ids[rule_arn is not None], self._request.bucket, arn, rule_arn
        )
        self._do(
            f"let {statement['Principal']['Service']} send to the queue, only for {self._request.bucket}",
            self._allow,
            url,
            statement,
        )
        if rule_arn:
            what = f"let {self._request.bucket} notify EventBridge"
            self._warn_of_switch(self._notification.has(self._request.name))
            self._do(what, self._notification.notify_eventbridge, self._request.name)
        else:
            what = f"let {self._request.bucket} notify {arn} of {NOTIFIED_EVENTS[0]} below {self._request.prefix!r}"
            self._do(what, self._notification.put, self._request.name, arn, self._request.prefix)
            self._warn_of_switch(self._remove_rule())
        return url, arn

    def remove(self) -> None:
        """Remove what `create` created. Queues of others, and those that others use, stay. Raises PawtagError."""
        url, dead_url = self._find_queue_url(self._request.queue), self._find_queue_url(self._request.dead_queue)
        self._do(f"remove our rule from {self._request.bucket}", self._notification.remove, self._request.name)
        self._remove_rule()
        if url and not self._remove_queue(url):
            return
        if dead_url and self._is_ours(dead_url):
            self._do(f"delete the queue {self._request.dead_queue}", self._clients.sqs.delete_queue, QueueUrl=dead_url)

    def _check_region(self) -> None:
        with self._clients.s3.translate_errors(f"The bucket {self._request.bucket}"):
            try:
                found = self._clients.s3.head_bucket(Bucket=self._request.bucket)
            except ClientError as error:
                if is_missing_bucket(error):
                    raise ConfigError(f"The bucket {self._request.bucket} does not exist.") from error
                raise
        region, ours = found.get("BucketRegion"), self._clients.sqs.region
        if region and region != ours:
            raise ConfigError(
                f"The bucket is in {region}, and s3.region is {ours}: the queue must be in the region of the bucket."
            )

    def _find_or_create_queue(self, name: str, attributes: dict[str, str]) -> tuple[str, str]:
        """The URL and ARN of the queue, which is created if missing. An existing one keeps its attributes."""
        url = self._find_queue_url(name)
        if url is None:
            own = {"QueueName": name, "Attributes": {"MessageRetentionPeriod": str(RETENTION_S)} | attributes}
            created = self._do(f"create the queue {name}", self._clients.sqs.create_queue, **own, tags=OWNER_TAG)
            if created is None:  # a dry run
                return name, f"arn:aws:sqs:{self._clients.sqs.region}:ACCOUNT:{name}"
            url = str(created["QueueUrl"])
        return url, str(self._wait(partial(self._attribute, url, "QueueArn")))

    def _attach_dead_letters(self, url: str) -> None:
        """Give the queue a dead-letter queue, unless it has one."""
        exists = url != self._request.queue  # not so in a dry run
        if exists and self._attribute(url, REDRIVE_POLICY):
            return
        dead_arn = self._find_or_create_queue(self._request.dead_queue, {})[1]
        redrive = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": REDRIVE_RECEIVES})
        change = self._clients.sqs.set_queue_attributes
        self._do(
            f"give {self._request.queue} a dead-letter queue",
            change,
            QueueUrl=url,
            Attributes={REDRIVE_POLICY: redrive},
        )

    def _allow(self, url: str, statement: dict[str, Any]) -> None:
        policy = add_statement(json.loads(self._attribute(url, "Policy") or "{}"), statement)
        with self._clients.sqs.translate_errors(url):
            self._clients.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})

    def _create_rule(self, queue_arn: str) -> str:
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
            self._report(f"would create EventBridge's rule {name}")
            return f"arn:aws:events:REGION:ACCOUNT:rule/{name}"
        events = self._clients.events()
        with events.translate_errors(f"EventBridge's rule {name}"):
            arn = str(events.put_rule(Name=name, EventPattern=json.dumps(pattern))["RuleArn"])
            refused = events.put_targets(Rule=name, Targets=[{"Id": "pawtag", "Arn": queue_arn}]).get("FailedEntries")
        if refused:
            raise PawtagError(f"EventBridge refuses the queue: {refused[0].get('ErrorMessage')}")
        self._report(f"created EventBridge's rule {name}")
        return arn

    def _has_rule(self) -> bool:
        """Whether EventBridge has our rule. Without the permission to ask, it counts as absent."""
        events = self._clients.events()
        try:
            with events.translate_errors(f"EventBridge's rule {self._request.name}"):
                events.describe_rule(Name=self._request.name)
        except PawtagError as error:
            if not has_code(error, RULE_NOT_FOUND):
                self._report(f"leave EventBridge unchanged: {error}")
            return False
        return True

    def _remove_rule(self) -> bool:
        """Remove EventBridge's rule; whether there was one."""
        if not self._has_rule():
            return False
        events, rule = self._clients.events(), self._request.name
        self._do(f"remove the queue from EventBridge's rule {rule}", events.remove_targets, Rule=rule, Ids=["pawtag"])
        self._do(f"delete EventBridge's rule {rule}", events.delete_rule, Name=rule)
        return True

    def _warn_of_switch(self, has_changed: bool) -> None:
        if has_changed:
            self._report("AWS needs minutes for this change; 'pawtag s3 scan' finds what is uploaded meanwhile")

    @property
    def _statement_ids(self) -> tuple[str, str]:
        """The ids of our statements, S3's and EventBridge's. Both stay until `remove`: a switch takes time."""
        return self._request.name, f"{self._request.name}-events"

    def _remove_queue(self, url: str) -> bool:
        """Delete the queue, or only our parts of it. Returns whether its dead-letter queue is unused now."""
        policy = json.loads(self._attribute(url, "Policy") or "{}") or None
        for sid in self._statement_ids:
            policy = remove_statement(policy, sid)
        rest, is_ours = (policy or {}).get("Statement", []), self._is_ours(url)
        if is_ours and not rest:
            self._do(f"delete the queue {self._request.queue}", self._clients.sqs.delete_queue, QueueUrl=url)
            return True
        is_needed = is_ours or any(str(one.get("Sid", "")).startswith(NAME_PREFIX) for one in rest)
        change = self._clients.sqs.set_queue_attributes
        if not is_needed and f':{self._request.dead_queue}"' in (self._attribute(url, REDRIVE_POLICY) or ""):
            self._do("remove our dead-letter queue from it", change, QueueUrl=url, Attributes={REDRIVE_POLICY: ""})
        attributes = {"Policy": json.dumps(policy) if policy else ""}
        what = f"keep the queue {self._request.queue}, which others use, and remove our statement from its policy"
        self._do(what, change, QueueUrl=url, Attributes=attributes)
        return not is_needed

    def _is_ours(self, url: str) -> bool:
        with self._clients.sqs.translate_errors(url):
            return bool(self._clients.sqs.list_queue_tags(QueueUrl=url).get("Tags", {}).items() >= OWNER_TAG.items())

    def _find_queue_url(self, name: str) -> str | None:
        try:
            with self._clients.sqs.translate_errors(f"The queue {name}"):
                return str(self._clients.sqs.get_queue_url(QueueName=name)["QueueUrl"])
        except PawtagError as error:
            if is_unsupported(error):
                raise ConfigError(NO_QUEUES_ADVICE) from error
            if has_code(error, RESOURCE_NOT_FOUND):
                return None
            raise

    def _attribute(self, url: str, name: str) -> str | None:
        with self._clients.sqs.translate_errors(url):
            found = self._clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])
        value: str | None = found.get("Attributes", {}).get(name)
        return value

    def _do(self, what: str, step: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Take the step, wait until AWS accepts it, and report it; returns its result."""
        if self._dry_run:
            self._report(f"would {what}")
            return None

        def take() -> Any:
            with self._clients.s3.translate_errors(what):
                return step(*arguments, **named)

        result = self._wait(take)
        self._report(what)
        return result

    def _wait(self, call: Callable[[], Any]) -> Any:
        return wait_until_settled(call, self._report, self._clients.s3.tuning.settle_interval_s)
