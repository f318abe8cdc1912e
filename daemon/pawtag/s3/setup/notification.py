"""A bucket's notification: our rule merged into what is there, and taken out again."""

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from pawtag.domain.errors import ConfigError, TemporaryError
from pawtag.s3.client import RESOURCE_NOT_FOUND, error_code, translate_errors
from pawtag.s3.setup.waiters import NOT_YET_ALLOWED

EVENTS = ["s3:ObjectCreated:*", "s3:ObjectRestore:Completed"]
# What others' rules may call the events that ours asks for.
OVERLAPPING_EVENTS = ("s3:ObjectCreated:", "s3:ObjectRestore:*", "s3:ObjectRestore:Completed")
RULE_KINDS = ("QueueConfigurations", "TopicConfigurations", "LambdaFunctionConfigurations")
EVENTBRIDGE = "EventBridgeConfiguration"
REFUSED_CODES = frozenset({"InvalidArgument", "MalformedXML"})


class Notification:
    """One bucket's. Its methods block, and raise what `explained` raises."""

    def __init__(self, client: Any, bucket: str) -> None:
        """`client`: boto3's for S3."""
        self._client, self._bucket = client, bucket

    def get(self) -> dict[str, Any]:
        """What is configured."""
        with translate_errors(f"The notification of {self._bucket}"):
            found = self._client.get_bucket_notification_configuration(Bucket=self._bucket)
        return {name: value for name, value in found.items() if name != "ResponseMetadata"}

    def check_overlap(self, name: str, prefix: str) -> None:
        """Raise ConfigError, naming it, where another rule tells of the same uploads: S3 refuses a second."""
        if rival := next(_find_overlaps(self.get(), name, prefix), None):
            raise ConfigError(
                f"The bucket's rule {rival!r} tells of the same uploads already, and S3 allows one alone: "
                "use --via eventbridge, or let that rule's topic reach pawtag's queue too."
            )

    def put(self, name: str, queue_arn: str, prefix: str, *, kind: str = "Queue") -> None:
        """Add our rule, or put it in the place of an older one of ours; the others stay as they are."""
        rule: dict[str, Any] = {
            "Id": name,
            f"{kind}Arn": queue_arn,
            "Events": EVENTS if kind == "Queue" else EVENTS[:1],
        }
        if prefix:
            rule["Filter"] = {"Key": {"FilterRules": [{"Name": "prefix", "Value": prefix}]}}
        there, place = _remove_rule(self.get(), name), f"{kind}Configurations"
        self._put({**there, place: [*there.get(place, []), rule]})

    def tell_eventbridge(self, name: str) -> None:
        """Have the bucket tell EventBridge of all that happens, in the place of our rule."""
        self._put({**_remove_rule(self.get(), name), EVENTBRIDGE: {}})

    def has(self, name: str) -> bool:
        """Whether our rule is there."""
        there = self.get()
        return there != _remove_rule(there, name)

    def remove(self, name: str) -> None:
        """Take our rule out, if the bucket is still there. What EventBridge is told stays: others may listen there."""
        try:
            there = self.get()
        except TemporaryError as error:
            if isinstance(error.__cause__, ClientError) and error_code(error.__cause__) in RESOURCE_NOT_FOUND:
                return
            raise
        if there != (rest := _remove_rule(there, name)):
            self._put(rest)

    def holds(self, queue_arn: str, prefix: str) -> bool | None:
        """Whether uploads below the prefix lead to the queue; None where EventBridge or a topic may lead there."""
        there = self.get()
        ours = [rule for rule in there.get(RULE_KINDS[0], []) if rule.get("QueueArn") == queue_arn]
        if any(_covers_events(rule, OVERLAPPING_EVENTS[:1]) and prefix.startswith(_rule_prefix(rule)) for rule in ours):
            return True
        return None if EVENTBRIDGE in there or there.get(RULE_KINDS[1]) else False

    def _put(self, configuration: dict[str, Any]) -> None:
        with translate_errors(f"The notification of {self._bucket}"):
            try:
                self._client.put_bucket_notification_configuration(
                    Bucket=self._bucket, NotificationConfiguration=configuration
                )
            except ClientError as error:
                if error_code(error) in REFUSED_CODES:
                    raise ConfigError(
                        f"The store refuses this notification: {error}.{_likely_causes(error)}"
                    ) from error
                raise


def _likely_causes(error: ClientError) -> str:
    """What most often keeps S3 from sending to a queue, where it says that it cannot."""
    if NOT_YET_ALLOWED not in str(error):
        return ""
    return (
        " Is the queue encrypted by a key whose policy does not let s3.amazonaws.com use it? Does the bucket belong to "
        "another account than the queue? Does another rule of the bucket lead to something that is gone?"
    )


def _remove_rule(there: dict[str, Any], name: str) -> dict[str, Any]:
    kept = {kind: [rule for rule in there[kind] if rule.get("Id") != name] for kind in RULE_KINDS if kind in there}
    return {kind: value for kind, value in (there | kept).items() if value or kind == EVENTBRIDGE}


def _find_overlaps(there: dict[str, Any], name: str, prefix: str) -> Iterator[str]:
    """Rules of others that tell of the same below a prefix that overlaps ours; we have no suffix, so any overlaps."""
    for kind in RULE_KINDS:
        for rule in there.get(kind, []):
            other = _rule_prefix(rule)
            if (
                rule.get("Id") != name
                and _covers_events(rule, OVERLAPPING_EVENTS)
                and (other.startswith(prefix) or prefix.startswith(other))
            ):
                yield str(rule.get("Id"))


def _covers_events(rule: dict[str, Any], of: tuple[str, ...]) -> bool:
    return any(event.startswith(of) for event in rule.get("Events", []))


def _rule_prefix(rule: dict[str, Any]) -> str:
    filters = rule.get("Filter", {}).get("Key", {}).get("FilterRules", [])
    return next((str(one["Value"]) for one in filters if one["Name"].lower() == "prefix"), "")
