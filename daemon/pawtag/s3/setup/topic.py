"""Set-up of a store that pushes (Ceph): a topic that posts to the daemon, and the bucket's rule for it."""

from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import quote

from pawtag.domain.errors import ConfigError, PawtagError
from pawtag.s3.client import Client
from pawtag.s3.client_errors import is_unsupported
from pawtag.s3.setup.notification import Notification
from pawtag.s3.setup.request import SetupRequest

NO_TOPICS_ADVICE = (
    "The store has no topics. SeaweedFS's filer has a webhook (docs/s3.md); for any other store set only "
    "s3.bucket: then the daemon lists the bucket every s3.rescan_s."
)


class PushTopic:
    """A persistent topic: the store keeps an event until the daemon has accepted it."""

    def __init__(
        self, s3: Client, sns: Client, request: SetupRequest, report: Callable[[str], None], *, dry_run: bool
    ) -> None:
        """Clients of the store, which speaks both protocols. Calls `report` for each step."""
        self._s3, self._sns, self._request, self._report, self._dry_run = s3, sns, request, report, dry_run

    def create(self, url: str) -> None:
        """Create the topic, or point our older one to `url`. Raises PawtagError."""
        plain = url.partition("?")[0]  # the key must not show on a terminal
        self._report(
            f"{'would create' if self._dry_run else 'create'} the topic {self._request.name}, which posts to {plain}"
        )
        self._report(f"{'would let' if self._dry_run else 'let'} {self._request.bucket} notify it of uploads")
        if self._dry_run:
            return
        arn = self._create_topic({"push-endpoint": url, "persistent": "true", "verify-ssl": "true"})
        Notification(self._s3, self._request.bucket).put(self._request.name, arn, self._request.prefix, kind="Topic")

    def _create_topic(self, attributes: dict[str, str]) -> str:
        try:
            with self._sns.translate_errors(f"The topic {self._request.name}"):
                return str(self._sns.create_topic(Name=self._request.name, Attributes=attributes)["TopicArn"])
        except PawtagError as error:
            if is_unsupported(error):
                raise ConfigError(NO_TOPICS_ADVICE) from error
            raise

    def remove(self) -> None:
        """Remove the rule and the topic. Raises PawtagError."""
        notification = Notification(self._s3, self._request.bucket)
        ours = [
            rule for rule in notification.get().get("TopicConfigurations", []) if rule.get("Id") == self._request.name
        ]
        self._report(
            f"{'would remove' if self._dry_run else 'remove'} our rule and its topic from {self._request.bucket}"
        )
        if self._dry_run:
            return
        _delete_notification(self._s3, self._request)
        for rule in ours:
            with self._sns.translate_errors(f"The topic {self._request.name}"):
                self._sns.delete_topic(TopicArn=rule["TopicArn"])


def _delete_notification(s3: Client, request: SetupRequest) -> None:
    """Ceph's own call: Ceph accepts no empty notification, and boto3 has no operation for its DELETE of a rule."""
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.httpsession import URLLib3Session

    url = f"{s3.endpoint_url}/{quote(request.bucket)}?notification={quote(request.name)}"
    signed = AWSRequest("DELETE", url)
    S3SigV4Auth(s3.credentials, "s3", s3.region).add_auth(signed)
    with s3.translate_errors(f"The notification of {request.bucket}"):
        answer = URLLib3Session().send(signed.prepare())
    if answer.status_code >= HTTPStatus.MULTIPLE_CHOICES:
        raise PawtagError(f"The store does not remove the rule from {request.bucket}: {answer.status_code}.")
