"""A bucket's notification: our rule is merged into the existing ones, and removed again."""

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from pawtag.domain.errors import ConfigError, TemporaryError
from pawtag.s3.client import Client
from pawtag.s3.client_errors import RESOURCE_NOT_FOUND, has_code, read_error_code
from pawtag.s3.setup.waiters import NOT_YET_ALLOWED

NOTIFIED_EVENTS = ["s3:ObjectCreated:*", "s3:ObjectRestore:Completed"]
# Names that other rules may use for the events of ours.
OVERLAPPING_EVENTS = ("s3:ObjectCreated:", "s3:ObjectRestore:*", "s3:ObjectRestore:Completed")
RULE_KINDS = ("QueueConfigurations", "TopicConfigurations", "LambdaFunctionConfigurations")
EVENTBRIDGE = "EventBridgeConfiguration"
REFUSED_RULE_CODES = frozenset({"InvalidArgument", "MalformedXML"})


class Notification:
    """The notification of one bucket. All methods block, and raise what `Client.translate_errors` raises."""

    def __init__(self, client: Client, bucket: str) -> None:
        """`client`: an S3 client."""
        self._client, self._bucket = client, bucket

    def get(self) -> dict[str, Any]:
        """The configuration."""
        with self._client.translate_errors(f"The notification of {self._bucket}"):
            found = self._client.get_bucket_notification_configuration(Bucket=self._bucket)
        return {name: value for name, value in found.items() if name != "ResponseMetadata"}

    def check_overlap(self, name: str, prefix: str) -> None:
        """Raise ConfigError if another rule covers the same uploads (it names that rule): S3 refuses a second one."""
        if other := next(_find_overlaps(self.get(), name, prefix), None):
            raise ConfigError(
                f"The bucket's rule {other!r} covers the same uploads, and S3 allows only one: "
                "use --via eventbridge, or subscribe pawtag's queue to that rule's topic."
            )

    def put(self, name: str, queue_arn: str, prefix: str, *, kind: str = "Queue") -> None:
        """Add our rule, or replace our older one. The rules of others stay."""
        rule: dict[str, Any] = {
            "Id": name,
            f"{kind}Arn": queue_arn,
            "Events": NOTIFIED_EVENTS if kind == "Queue" else NOTIFIED_EVENTS[:1],
        }
        if prefix:
            rule["Filter"] = {"Key": {"FilterRules": [{"Name": "prefix", "Value": prefix}]}}
        others, section = _remove_rule(self.get(), name), f"{kind}Configurations"
        self._put({**others, section: [*others.get(section, []), rule]})

    def notify_eventbridge(self, name: str) -> None:
        """Have the bucket notify EventBridge of all events, instead of our rule."""
        self._put({**_remove_rule(self.get(), name), EVENTBRIDGE: {}})

    def has(self, name: str) -> bool:
        """Whether our rule is there."""
        configuration = self.get()
        return configuration != _remove_rule(configuration, name)

    def remove(self, name: str) -> None:
        """Remove our rule, if the bucket still exists. EventBridge stays notified: others may listen there."""
        try:
            configuration = self.get()
        except TemporaryError as error:
            if has_code(error, RESOURCE_NOT_FOUND):
                return
            raise
        if configuration != (others := _remove_rule(configuration, name)):
            self._put(others)

    def covers(self, queue_arn: str, prefix: str) -> bool | None:
        """Whether uploads below the prefix reach the queue; None if they may, by EventBridge or a topic."""
        configuration = self.get()
        rules = [rule for rule in configuration.get(RULE_KINDS[0], []) if rule.get("QueueArn") == queue_arn]
        if any(
            _covers_events(rule, OVERLAPPING_EVENTS[:1]) and prefix.startswith(_rule_prefix(rule)) for rule in rules
        ):
            return True
        return None if EVENTBRIDGE in configuration or configuration.get(RULE_KINDS[1]) else False

    def _put(self, configuration: dict[str, Any]) -> None:
        with self._client.translate_errors(f"The notification of {self._bucket}"):
            try:
                self._client.put_bucket_notification_configuration(
                    Bucket=self._bucket, NotificationConfiguration=configuration
                )
            except ClientError as error:
                if read_error_code(error) in REFUSED_RULE_CODES:
                    raise ConfigError(
                        f"The store refuses this notification: {error}.{_likely_causes(error)}"
                    ) from error
                raise


def _likely_causes(error: ClientError) -> str:
    """The usual reasons why S3 cannot send to a queue, if that is what it says."""
    if NOT_YET_ALLOWED not in str(error):
        return ""
    return (
        " Is the queue encrypted by a key whose policy does not let s3.amazonaws.com use it? Does the bucket belong to "
        "another account than the queue? Does another rule of the bucket name something that does not exist any more?"
    )


def _remove_rule(configuration: dict[str, Any], name: str) -> dict[str, Any]:
    kept = {
        kind: [rule for rule in configuration[kind] if rule.get("Id") != name]
        for kind in RULE_KINDS
        if kind in configuration
    }
    return {kind: value for kind, value in (configuration | kept).items() if value or kind == EVENTBRIDGE}


def _find_overlaps(configuration: dict[str, Any], name: str, prefix: str) -> Iterator[str]:
    """The rules of others for the same events below an overlapping prefix. Ours has no suffix: any suffix overlaps."""
    for kind in RULE_KINDS:
        for rule in configuration.get(kind, []):
            other = _rule_prefix(rule)
            if (
                rule.get("Id") != name
                and _covers_events(rule, OVERLAPPING_EVENTS)
                and (other.startswith(prefix) or prefix.startswith(other))
            ):
                yield str(rule.get("Id"))


def _covers_events(rule: dict[str, Any], names: tuple[str, ...]) -> bool:
    return any(event.startswith(names) for event in rule.get("Events", []))


def _rule_prefix(rule: dict[str, Any]) -> str:
    filters = rule.get("Filter", {}).get("Key", {}).get("FilterRules", [])
    return next((str(one["Value"]) for one in filters if one["Name"].lower() == "prefix"), "")
