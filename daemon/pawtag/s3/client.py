"""boto3 clients, and what its errors mean."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from pawtag import __version__
from pawtag.config import S3Settings
from pawtag.errors import ConfigError, GoneError, PawtagError, PermanentError, TemporaryError

CONNECT_S, READ_S = 5, 60
MISSING = frozenset({"NoSuchKey", "NoSuchVersion", "404", "MethodNotAllowed", "NoSuchBucket"})
NO_ENTRY = frozenset({"AccessDenied", "AllAccessDisabled", "403", "AccessDeniedException"})
# Taken up anew by boto3's own chain once they are there: only waiting helps.
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "InvalidClientTokenId"})
ARCHIVED, ENCRYPTED = "InvalidObjectState", frozenset({"InvalidRequest", "400"})
NO_KEY_S, SOON_S = 60.0, 5.0


def connect(service: str, settings: S3Settings, *, most_connections: int) -> Any:
    """A client of "s3" or "sqs", with boto3's own credentials, adaptive retries and reused connections.

    Raises ConfigError.
    """
    addressing = {"auto": "auto", "path": "path", "virtual": "virtual"}[settings.addressing]
    config = Config(
        connect_timeout=CONNECT_S,
        read_timeout=READ_S,
        max_pool_connections=most_connections,
        retries={"mode": "adaptive", "max_attempts": 4},
        s3={"addressing_style": addressing},
        user_agent_extra=f"pawtag/{__version__}",
    )
    try:
        return boto3.client(service, endpoint_url=settings.endpoint_url, region_name=settings.region, config=config)
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(f"The settings of s3 make no client: {error}.") from error


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn botocore's errors into ours; `what` names the object or queue, and the call's permission.

    Raises GoneError, PermanentError for an object that can never be read, TemporaryError for all that may pass.
    """
    try:
        yield
    except ClientError as error:
        raise _meant(error, what) from error
    except NoCredentialsError as error:
        raise TemporaryError(
            "There are no AWS credentials; see boto3's chain (AWS_PROFILE, roles).", NO_KEY_S
        ) from error
    except BotoCoreError as error:
        raise TemporaryError(f"{what}: {error}.", SOON_S) from error


def _meant(error: ClientError, what: str) -> PawtagError:
    code, operation = code_of(error), error.operation_name
    if code in MISSING:
        return GoneError(f"{what} is gone ({code}).")
    if code == ARCHIVED:
        return GoneError(f"{what} lies in an archive; it is looked at when it is restored.")
    if code in NO_ENTRY:
        return TemporaryError(
            f"{operation} is denied: grant it, and kms:Decrypt where the bucket is encrypted.", NO_KEY_S
        )
    if code in EXPIRED:
        return TemporaryError(f"The AWS credentials have expired ({code}).", NO_KEY_S)
    if operation == "GetObject" and code in ENCRYPTED:
        return PermanentError("unreadable", "The object is encrypted with a customer's own key.")
    return TemporaryError(f"{operation}: {code}.", SOON_S)


def code_of(error: ClientError) -> str:
    """S3's own word for what went wrong."""
    return str(error.response.get("Error", {}).get("Code", ""))
