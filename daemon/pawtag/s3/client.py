"""boto3 clients, and what its errors mean.

boto3 in threads and not aiobotocore: measured side by side with 16 photos at once (GET of 60 kB, PutObjectTagging) boto3
costs 2.5 to 3.3 ms of processor time a photo, aiobotocore 2.0 to 2.2, and the model 40 and more; aiobotocore pins an
older botocore.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from botocore.parsers import ResponseParserError

from pawtag import __version__
from pawtag.config import S3Settings
from pawtag.domain.errors import ConfigError, GoneError, PawtagError, PermanentError, TemporaryError

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 5, 30  # a long poll takes 20
MAX_ATTEMPTS = 4
# 405: a delete marker. A bare 404 is none of these: a proxy says so while the store behind it is away.
OBJECT_NOT_FOUND = frozenset({"NoSuchKey", "NoSuchVersion", "MethodNotAllowed"})
HEAD_NOT_FOUND = "404"  # which has no words of its own
RESOURCE_NOT_FOUND = frozenset({"NoSuchBucket", "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})
ACCESS_DENIED = frozenset({"AccessDenied", "AllAccessDisabled", "403", "Forbidden", "AccessDeniedException"})
EXPIRED_CREDENTIALS = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"})
INVALID_CREDENTIALS = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidClientTokenId", "InvalidToken"})
KMS_PREFIXES = ("KMS.", "Kms")
CLOCK_SKEW = frozenset({"RequestTimeTooSkewed"})
NOT_SUPPORTED = frozenset({"405", "501", "MethodNotAllowed", "NotImplemented", "UnknownOperationException"})
ARCHIVED, CUSTOMER_ENCRYPTED = "InvalidObjectState", frozenset({"InvalidRequest", "400"})
CONFIGURATION_DELAY_S, TRANSIENT_DELAY_S, MIN_RENEWAL_INTERVAL_S = 60.0, 5.0, 30.0
# Where IAM's name for a call is not the call's own.
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
# Of which service a call is, by its name; all others are S3's.
SERVICES = {"Queue": "sqs", "Message": "sqs", "Rule": "events", "Targets": "events", "Topic": "sns"}


class Client:
    """boto3's client of one service, made anew from the credentials' chain when they have expired.

    botocore reads a credentials file once; who renews it should not have to restart the daemon.
    """

    def __init__(self, service: str, settings: S3Settings, *, max_connections: int) -> None:
        """Raises ConfigError."""
        self._service, self._settings, self._max_connections = service, settings, max_connections
        self._lock, self._created_at_s = threading.Lock(), time.monotonic()
        self._client = self._create_client()

    def __getattr__(self, operation: str) -> Any:
        return partial(self._call, operation)

    @property
    def region(self) -> str:
        """The region that it speaks to."""
        return str(self._client.meta.region_name)

    @property
    def endpoint_url(self) -> str:
        """Where it sends its requests."""
        return str(self._client.meta.endpoint_url)

    @property
    def credentials(self) -> Any:
        """What signs them."""
        return self._session.get_credentials()

    def _call(self, operation: str, **arguments: Any) -> Any:
        try:
            return getattr(self._client, operation)(**arguments)
        except ClientError as error:
            if error_code(error) in EXPIRED_CREDENTIALS | INVALID_CREDENTIALS:
                self._renew()
            raise

    def _renew(self) -> None:
        with self._lock:
            if time.monotonic() - self._created_at_s < MIN_RENEWAL_INTERVAL_S:
                return
            self._created_at_s = time.monotonic()
            log.info("reading the AWS credentials anew")
            self._client = self._create_client()

    def _create_client(self) -> Any:
        import boto3  # half a second, that commands without a bucket need not wait
        from botocore.config import Config
        from botocore.session import get_session

        config = Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            max_pool_connections=self._max_connections,
            retries={"mode": "adaptive", "max_attempts": MAX_ATTEMPTS},
            s3={"addressing_style": self._settings.addressing},
            user_agent_extra=f"pawtag/{__version__}",
        )
        where = {"endpoint_url": self._settings.endpoint_url, "region_name": self._settings.region}
        try:
            own = get_session()
            own.register_component("data_loader", _load_service_descriptions())
            self._session = boto3.Session(botocore_session=own)
            return self._session.client(self._service, config=config, **where)
        except (BotoCoreError, ValueError) as error:
            raise ConfigError(f"The settings of s3 make no client: {error}.") from error


@cache
def _load_service_descriptions() -> Any:
    """AWS's descriptions of its services, read from the disk once for all clients: a tenth of a second each."""
    from botocore.loaders import create_loader

    return create_loader()


@contextmanager
def translate_errors(what: str) -> Iterator[None]:
    """Turn botocore's errors into ours; `what` names the object or queue.

    Raises GoneError, PermanentError for an object that can never be read, TemporaryError for all that may pass.
    """
    try:
        yield
    except ClientError as error:
        raise _translate_client_error(error, what) from error
    except NoCredentialsError as error:
        raise TemporaryError(
            "There are no AWS credentials; see boto3's chain (AWS_PROFILE, roles).", CONFIGURATION_DELAY_S
        ) from error
    except (BotoCoreError, ResponseParserError, OSError) as error:  # OSError: credentials that are files
        raise TemporaryError(f"{what}: {error}.", TRANSIENT_DELAY_S) from error


def _translate_client_error(error: ClientError, what: str) -> PawtagError:
    code, operation = error_code(error), error.operation_name
    if code in OBJECT_NOT_FOUND:
        return GoneError(f"{what} is gone ({code}).")
    if code == ARCHIVED:
        return GoneError(f"{what} lies in an archive; it is looked at when it is restored.")
    if operation == "GetObject" and code in CUSTOMER_ENCRYPTED:
        return PermanentError("unreadable", "The object is encrypted with a customer's own key.")
    return TemporaryError(*_describe_transient(error, what))


def _describe_transient(error: ClientError, what: str) -> tuple[str, float]:
    """What to say of a fault that may pass, and after how many seconds it is worth another try."""
    code, operation = error_code(error), error.operation_name
    of_key = "kms:GenerateDataKey" if operation.startswith(("Put", "Send")) else "kms:Decrypt"
    for applies, reason in (
        (code in RESOURCE_NOT_FOUND or is_missing_bucket(error), f"{what}: there is no such place ({code})."),
        (code in ACCESS_DENIED, f"{what}: access is denied; grant {required_permission(error)}."),
        (code.startswith(KMS_PREFIXES), f"{what}: its key cannot be used ({code}); grant {of_key}, or enable the key."),
        (
            code in EXPIRED_CREDENTIALS,
            f"The AWS credentials have expired ({code}); renew them, and they are read anew.",
        ),
        (code in INVALID_CREDENTIALS, f"The AWS credentials are not accepted ({code})."),
        (code in CLOCK_SKEW, f"The clock of this machine is off ({code}); set it right."),
    ):
        if applies:
            return reason, CONFIGURATION_DELAY_S
    return f"{what}: {operation}: {code}.", TRANSIENT_DELAY_S


def is_missing_bucket(error: ClientError) -> bool:
    """Whether a HeadBucket says that there is none."""
    return error.operation_name == "HeadBucket" and error_code(error) == HEAD_NOT_FOUND


def is_unsupported(error: PawtagError) -> bool:
    """Whether the call failed because nobody offers that service there: a store without queues, or without topics."""
    cause = error.__cause__
    return isinstance(cause, ResponseParserError) or (
        isinstance(cause, ClientError) and error_code(cause) in NOT_SUPPORTED
    )


def required_permission(error: ClientError) -> str:
    """What IAM calls the permission that a denied call needs."""
    operation = error.operation_name
    service = next((service for part, service in SERVICES.items() if part in operation), "s3")
    name = PERMISSIONS.get(operation, f"{service}:{operation}")
    if operation == "PutObject":
        return f"{name}, and kms:GenerateDataKey where a key of yours encrypts the bucket"
    is_key = "kms" in str(error).lower() or operation == "GetObject"
    return f"{name}, and kms:Decrypt where a key of yours encrypts the bucket" if is_key else name


def error_code(error: ClientError) -> str:
    """S3's own word for what went wrong."""
    return str(error.response.get("Error", {}).get("Code", ""))
