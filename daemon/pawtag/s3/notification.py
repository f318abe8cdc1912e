"""A bucket's notification: our rule merged into what is there, and taken out again."""

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from pawtag.errors import ConfigError
from pawtag.s3.client import code_of, explained

EVENTS = ["s3:ObjectCreated:*", "s3:ObjectRestore:Completed"]
CREATED = "s3:ObjectCreated:"
RULES = ("QueueConfigurations", "TopicConfigurations", "LambdaFunctionConfigurations")
EVENTBRIDGE = "EventBridgeConfiguration"
REFUSED = frozenset({"InvalidArgument", "MalformedXML"})


class Notification:
    """One bucket's. Its methods block, and raise what `explained` raises."""

    def __init__(self, client: Any, bucket: str) -> None:
        """`client`: boto3's for S3."""
        self._client, self._bucket = client, bucket

    def get(self) -> dict[str, Any]:
        """What is configured."""
        with explained(f"The notification of {self._bucket}"):
            found = self._client.get_bucket_notification_configuration(Bucket=self._bucket)
        return {name: value for name, value in found.items() if name != "ResponseMetadata"}

    def check_overlap(self, name: str, prefix: str) -> None:
        """Raise ConfigError, naming it, where another rule tells of the same uploads: S3 refuses a second."""
        if rival := next(_rivals(self.get(), name, prefix), None):
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
        there, place = _without(self.get(), name), f"{kind}Configurations"
        self._put({**there, place: [*there.get(place, []), rule]})

    def tell_eventbridge(self) -> None:
        """Have the bucket tell EventBridge of all that happens."""
        self._put({**self.get(), EVENTBRIDGE: {}})

    def remove(self, name: str) -> None:
        """Take our rule out. What EventBridge is told stays: others may listen there."""
        there = self.get()
        if there != (rest := _without(there, name)):
            self._put(rest)

    def holds(self, queue_arn: str) -> bool:
        """Whether a rule of the bucket, or EventBridge, leads to the queue (EventBridge: or may)."""
        there = self.get()
        return EVENTBRIDGE in there or any(rule.get("QueueArn") == queue_arn for rule in there.get(RULES[0], []))

    def _put(self, configuration: dict[str, Any]) -> None:
        with explained(f"The notification of {self._bucket}"):
            try:
                self._client.put_bucket_notification_configuration(
                    Bucket=self._bucket, NotificationConfiguration=configuration
                )
            except ClientError as error:
                if code_of(error) in REFUSED:
                    raise ConfigError(f"The store refuses this notification: {error}.") from error
                raise


def _without(there: dict[str, Any], name: str) -> dict[str, Any]:
    kept = {kind: [rule for rule in there[kind] if rule.get("Id") != name] for kind in RULES if kind in there}
    return {kind: value for kind, value in (there | kept).items() if value or kind == EVENTBRIDGE}


def _rivals(there: dict[str, Any], name: str, prefix: str) -> Iterator[str]:
    """Rules of others that tell of creations below a prefix that overlaps ours; we have no suffix, so any overlaps."""
    for kind in RULES:
        for rule in there.get(kind, []):
            tells = any(event.startswith(CREATED) for event in rule.get("Events", []))
            other = _prefix(rule)
            if rule.get("Id") != name and tells and (other.startswith(prefix) or prefix.startswith(other)):
                yield str(rule.get("Id"))


def _prefix(rule: dict[str, Any]) -> str:
    filters = rule.get("Filter", {}).get("Key", {}).get("FilterRules", [])
    return next((str(one["Value"]) for one in filters if one["Name"].lower() == "prefix"), "")
