"""Setting up a store that pushes (Ceph): a topic that posts to the daemon, and the bucket's rule that feeds it."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from pawtag.domain.errors import ConfigError, PawtagError
from pawtag.s3.client import explained, is_lacking
from pawtag.s3.setup.notification import Notification
from pawtag.s3.setup.provisioner import Wish

NO_TOPICS = (
    "The store has no topics. SeaweedFS's filer posts by a webhook of its own (docs/s3.md); for any other store set "
    "s3.bucket alone: the daemon lists the bucket every s3.rescan_s."
)


class PushTopic:
    """A persistent topic: the store keeps an event until the daemon has it."""

    def __init__(self, s3: Any, sns: Any, wish: Wish, say: Callable[[str], None], *, dry_run: bool) -> None:
        """`s3`, `sns`: boto3's clients of the store, which answers to both."""
        self._s3, self._sns, self._wish, self._say, self._dry_run = s3, sns, wish, say, dry_run

    def make(self, url: str) -> None:
        """Make the topic, or point an older one of ours to `url`. Raises PawtagError."""
        plain = url.partition("?")[0]  # the key is no news for a terminal
        self._say(f"{'would make' if self._dry_run else 'make'} the topic {self._wish.name}, which posts to {plain}")
        self._say(f"{'would let' if self._dry_run else 'let'} {self._wish.bucket} tell it of uploads")
        if self._dry_run:
            return
        arn = self._topic({"push-endpoint": url, "persistent": "true", "verify-ssl": "true"})
        Notification(self._s3, self._wish.bucket).put(self._wish.name, arn, self._wish.prefix, kind="Topic")

    def _topic(self, attributes: dict[str, str]) -> str:
        try:
            with explained(f"The topic {self._wish.name}"):
                return str(self._sns.create_topic(Name=self._wish.name, Attributes=attributes)["TopicArn"])
        except PawtagError as error:
            if is_lacking(error):
                raise ConfigError(NO_TOPICS) from error
            raise

    def remove(self) -> None:
        """Take back the rule and the topic. Raises PawtagError."""
        notification = Notification(self._s3, self._wish.bucket)
        ours = [rule for rule in notification.get().get("TopicConfigurations", []) if rule.get("Id") == self._wish.name]
        self._say(f"{'would take' if self._dry_run else 'take'} our rule and its topic off {self._wish.bucket}")
        if self._dry_run:
            return
        _forget(self._s3, self._wish)
        for rule in ours:
            with explained(f"The topic {self._wish.name}"):
                self._sns.delete_topic(TopicArn=rule["TopicArn"])


def _forget(s3: Any, wish: Wish) -> None:
    """Ceph's own call: it takes no empty notification, and boto3 has no operation for its DELETE of a rule."""
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.httpsession import URLLib3Session

    url = f"{s3.endpoint_url}/{quote(wish.bucket)}?notification={quote(wish.name)}"
    request = AWSRequest("DELETE", url)
    S3SigV4Auth(s3.credentials, "s3", s3.region).add_auth(request)
    with explained(f"The notification of {wish.bucket}"):
        answer = URLLib3Session().send(request.prepare())
    if answer.status_code >= HTTPStatus.MULTIPLE_CHOICES:
        raise PawtagError(f"The store does not take the rule off {wish.bucket}: {answer.status_code}.")
