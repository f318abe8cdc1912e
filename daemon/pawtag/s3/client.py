"""boto3 clients, and what their errors mean.

boto3 in threads, not aiobotocore: with 16 photos at once (GET of 60 kB, PutObjectTagging) boto3 takes 2.5 to 3.3 ms of
processor time a photo and aiobotocore 2.0 to 2.2, while the model takes 40 and more; aiobotocore pins an older botocore.
"""

import base64
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from io import BytesIO
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from botocore.parsers import ResponseParserError

from pawtag import __version__
from pawtag.config import S3Settings
from pawtag.domain.errors import (
    ConfigError,
    GoneError,
    MisconfigurationError,
    PawtagError,
    PermanentError,
    TemporaryError,
)
from pawtag.domain.records import OBJECT_SCHEME
from pawtag.s3.tuning import S3Tuning

log = logging.getLogger(__name__)

# 405: a delete marker. A bare 404 is not among them: a proxy answers so while the store behind it is away.
OBJECT_NOT_FOUND = frozenset({"NoSuchKey", "NoSuchVersion", "MethodNotAllowed"})
HEAD_NOT_FOUND = "404"  # an answer to HEAD has no body, and so no code
RESOURCE_NOT_FOUND = frozenset({"NoSuchBucket", "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})
ACCESS_DENIED_CODES = frozenset({"AccessDenied", "AllAccessDisabled", "403", "Forbidden", "AccessDeniedException"})
EXPIRED_CREDENTIALS = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"})
INVALID_CREDENTIALS = frozenset(
    {
        "AuthFailure",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
# An answer to HEAD has no body: it may as well be the secret that is wrong.
UNEXPLAINED_REFUSAL = "403"
# Other stores than AWS: no checksum that the operation does not need, and none that it may bring is believed.
OLD_CHECKSUMS = {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
KMS_PREFIXES = ("KMS.", "Kms")
CLOCK_SKEW = frozenset({"RequestTimeTooSkewed"})
NOT_SUPPORTED = frozenset({"405", "501", "MethodNotAllowed", "NotImplemented", "UnknownOperationException"})
ARCHIVED_REASON = "archived"
ARCHIVED, CUSTOMER_ENCRYPTED = "InvalidObjectState", frozenset({"InvalidRequest", "400"})
# Calls whose permission in IAM has another name.
PERMISSIONS = {
    "HeadObject": "s3:GetObject",
    "ListObjectsV2": "s3:ListBucket",
    "HeadBucket": "s3:ListBucket",
    "GetObjectTagging": "s3:GetObjectTagging (of a versioned bucket s3:GetObjectVersionTagging)",
    "PutObjectTagging": "s3:PutObjectTagging (of a versioned bucket s3:PutObjectVersionTagging)",
    "DeleteObjectTagging": "s3:DeleteObjectTagging (of a versioned bucket s3:DeleteObjectVersionTagging)",
    "DeleteMessageBatch": "sqs:DeleteMessage",
    "SendMessageBatch": "sqs:SendMessage",
    "GetBucketNotificationConfiguration": "s3:GetBucketNotification",
    "PutBucketNotificationConfiguration": "s3:PutBucketNotification",
}
# The service of a call, by a part of its name; all others are calls of S3.
SERVICES = {"Queue": "sqs", "Message": "sqs", "Rule": "events", "Targets": "events", "Topic": "sns"}


class Client:
    """boto3's client of one service. It is created again from the credentials chain when the credentials expire.

    botocore reads a credentials file once: without this, whoever renews the file must restart the daemon. Every call
    of boto3's client may be made on this one, from any thread.
    """

    def __init__(
        self, service: str, settings: S3Settings, *, max_connections: int, tuning: S3Tuning | None = None
    ) -> None:
        """Raises ConfigError."""
        self._service, self._settings, self._max_connections = service, settings, max_connections
        self.tuning = tuning or S3Tuning()
        self.on_error: Callable[[str, str], None] = lambda _operation, _code: None
        """Hears of each error of the service: the operation, and its code."""
        self._lock, self._created_at_s = threading.Lock(), time.monotonic()
        self._client = self._create_client()

    def __getattr__(self, operation: str) -> Any:
        return partial(self._call, operation)

    @property
    def region(self) -> str:
        """The region of its requests."""
        return str(self._client.meta.region_name)

    @property
    def endpoint_url(self) -> str:
        """The address of its requests."""
        return str(self._client.meta.endpoint_url)

    @property
    def credentials(self) -> Any:
        """What signs its requests."""
        return self._session.get_credentials()

    @contextmanager
    def translate_errors(self, what: str) -> Iterator[None]:
        """Turn botocore's errors into pawtag's; `what` names the object or queue in the message.

        Raises GoneError, PermanentError for an object that can never be read, MisconfigurationError and
        TemporaryError for all that may pass.
        """
        what = _name_bucket(what)
        try:
            yield
        except ClientError as error:
            self.on_error(error.operation_name, read_error_code(error))
            raise self._translate(error, what) from error
        except NoCredentialsError as error:
            message = "There are no AWS credentials; see boto3's chain (AWS_PROFILE, roles)."
            raise MisconfigurationError(message, self.tuning.configuration_delay_s) from error
        except (BotoCoreError, ResponseParserError, OSError) as error:  # OSError: a credentials file
            self.on_error("connection", type(error).__name__)
            raise TemporaryError(f"{what}: {error}.", self.tuning.transient_delay_s) from error

    def _translate(self, error: ClientError, what: str) -> PawtagError:
        code, operation = read_error_code(error), error.operation_name
        if code in OBJECT_NOT_FOUND:
            return GoneError(f"{what} is gone ({code}).")
        if code == ARCHIVED:
            return GoneError(f"{what} is archived; pawtag tags it when it is restored.", ARCHIVED_REASON)
        if operation == "GetObject" and code in CUSTOMER_ENCRYPTED:
            return PermanentError("unreadable", "The object is encrypted with a customer-provided key.")
        if advice := _describe_misconfiguration(error, what):
            return MisconfigurationError(advice, self.tuning.configuration_delay_s)
        return TemporaryError(f"{what}: {operation}: {code}.", self.tuning.transient_delay_s)

    def _call(self, operation: str, **arguments: Any) -> Any:
        try:
            return getattr(self._client, operation)(**arguments)
        except ClientError as error:
            if read_error_code(error) in EXPIRED_CREDENTIALS | INVALID_CREDENTIALS:
                self._renew()
            raise

    def _renew(self) -> None:
        with self._lock:
            if time.monotonic() - self._created_at_s < self.tuning.credentials_interval_s:
                return
            self._created_at_s = time.monotonic()
            log.info("reading the AWS credentials again")
            self._client = self._create_client()

    def _create_client(self) -> Any:
        import boto3  # half a second: commands without a bucket need not wait for it
        from botocore.config import Config
        from botocore.session import get_session

        config = Config(
            connect_timeout=self.tuning.connect_timeout_s,
            read_timeout=self.tuning.read_timeout_s,
            max_pool_connections=self._max_connections,
            retries={"mode": "adaptive", "max_attempts": self.tuning.client_attempts},
            s3={"addressing_style": self._settings.addressing},
            user_agent_extra=f"pawtag/{__version__}",
            **({} if self._settings.endpoint_url is None else OLD_CHECKSUMS),
        )
        address = {"endpoint_url": self._settings.endpoint_url, "region_name": self._settings.region}
        try:
            session = get_session()
            session.register_component("data_loader", _load_service_descriptions())
            self._session = boto3.Session(botocore_session=session)
            client = self._session.client(self._service, config=config, **address)
        except (BotoCoreError, ValueError) as error:
            raise ConfigError(f"boto3 refuses the settings of [s3]: {error}.") from error
        if self._settings.endpoint_url is not None:
            for operation in ("PutObject", "PutObjectTagging"):
                client.meta.events.register(f"before-call.s3.{operation}", _send_content_md5)
        return client


def _send_content_md5(params: dict[str, Any], **_: Any) -> None:
    """Content-MD5 in the place of boto3's CRC32: every store knows the one, and many neither know nor want the other."""
    digest = hashlib.md5(_read_body(params["body"]), usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = base64.b64encode(digest).decode()
    params["context"].pop("checksum", None)


def _read_body(body: Any) -> bytes:
    """Bytes of a request: botocore wraps the bytes of PutObject in a BytesIO, and an XML document may be a string."""
    if isinstance(body, BytesIO):
        return body.getvalue()
    return body if isinstance(body, bytes) else str(body or "").encode()


def _name_bucket(what: str) -> str:
    """Of an object its bucket: a fault is the same for all its objects, and said once."""
    return f"An object in {'/'.join(what.split('/')[:3])}" if what.startswith(OBJECT_SCHEME) else what


@cache
def _load_service_descriptions() -> Any:
    """AWS's descriptions of its services, read from disk once for all clients: each takes a tenth of a second."""
    from botocore.loaders import create_loader

    return create_loader()


def _describe_misconfiguration(error: ClientError, what: str) -> str | None:
    """What is wrong, and what to do, where a person must fix it; None for any other fault."""
    code, operation = read_error_code(error), error.operation_name
    kms_action = "kms:GenerateDataKey" if operation.startswith(("Put", "Send")) else "kms:Decrypt"
    for applies, advice in (
        (
            code in RESOURCE_NOT_FOUND or is_missing_bucket(error),
            f"{what}: no such bucket or queue ({code}).",
        ),
        (
            code == UNEXPLAINED_REFUSAL,
            f"{what}: access is denied; check the key and its secret, or grant {find_required_permission(error)}.",
        ),
        (code in ACCESS_DENIED_CODES, f"{what}: access is denied; grant {find_required_permission(error)}."),
        (
            code.startswith(KMS_PREFIXES),
            f"{what}: its key cannot be used ({code}); grant {kms_action} or enable the key.",
        ),
        (
            code in EXPIRED_CREDENTIALS,
            f"The AWS credentials have expired ({code}); renew them, pawtag reads them again.",
        ),
        (code in INVALID_CREDENTIALS, f"The AWS credentials are not accepted ({code}); check the key and its secret."),
        (code in CLOCK_SKEW, f"The clock of this machine is wrong ({code}); set it."),
    ):
        if applies:
            return advice
    return None


def is_missing_bucket(error: ClientError) -> bool:
    """Whether a HeadBucket found no bucket."""
    return error.operation_name == "HeadBucket" and read_error_code(error) == HEAD_NOT_FOUND


def is_unsupported(error: PawtagError) -> bool:
    """Whether the store does not offer that service: a store without queues, or without topics."""
    cause = error.__cause__
    is_refusal = isinstance(cause, ClientError) and read_error_code(cause) in NOT_SUPPORTED
    return is_refusal or isinstance(cause, ResponseParserError)


def has_code(error: PawtagError, codes: frozenset[str]) -> bool:
    """Whether the store's answer behind the error has one of these codes."""
    return isinstance(error.__cause__, ClientError) and read_error_code(error.__cause__) in codes


def find_required_permission(error: ClientError) -> str:
    """The IAM permission that a denied call needs."""
    operation = error.operation_name
    service = next((service for part, service in SERVICES.items() if part in operation), "s3")
    name = PERMISSIONS.get(operation, f"{service}:{operation}")
    if operation == "PutObject":
        return f"{name}, and kms:GenerateDataKey where a key of yours encrypts the bucket"
    may_be_kms = "kms" in str(error).lower() or operation == "GetObject"
    return f"{name}, and kms:Decrypt where a key of yours encrypts the bucket" if may_be_kms else name


def read_error_code(error: ClientError) -> str:
    """S3's code for what went wrong."""
    return str(error.response.get("Error", {}).get("Code", ""))
