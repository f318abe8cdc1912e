"""boto3 clients, created again when their credentials expire.

It uses boto3 in threads, not aiobotocore. With 16 photos at once (GET of 60 kB, PutObjectTagging) boto3 takes 2.5 to
3.3 ms of processor time for each photo, aiobotocore 2.0 to 2.2 ms, and the model at least 40 ms. aiobotocore also pins
an older botocore.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from botocore.parsers import ResponseParserError

from pawtag import __version__
from pawtag.config import S3Settings
from pawtag.domain.errors import ConfigError, MisconfigurationError, TemporaryError
from pawtag.s3.client_errors import (
    EXPIRED_CREDENTIALS,
    INVALID_CREDENTIALS,
    name_bucket,
    read_error_code,
    translate_error,
)
from pawtag.s3.content_md5 import send_content_md5
from pawtag.s3.tuning import S3Tuning

log = logging.getLogger(__name__)

# For stores other than AWS: checksums are sent and verified only where an operation requires them.
OLD_CHECKSUMS = {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}


class Client:
    """boto3's client of one service. It is created again from the credentials chain when the credentials expire.

    botocore reads a credentials file only once; without this class, a renewed file would need a restart of the daemon.
    The class has all methods of boto3's client, and any thread may call them.
    """

    def __init__(
        self, service: str, settings: S3Settings, *, max_connections: int, tuning: S3Tuning | None = None
    ) -> None:
        """Raises ConfigError."""
        self._service, self._settings, self._max_connections = service, settings, max_connections
        self.tuning = tuning or S3Tuning()
        self.on_error: Callable[[str, str], None] = lambda _operation, _code: None
        """Called for each error of the service, with the operation and the error's code."""
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

        Raises GoneError if the object is gone, PermanentError if it can never be read, MisconfigurationError if a
        person must act, and TemporaryError for faults that may pass.
        """
        what = name_bucket(what)
        try:
            yield
        except ClientError as error:
            self.on_error(error.operation_name, read_error_code(error))
            raise translate_error(error, what, self.tuning) from error
        except NoCredentialsError as error:
            message = "There are no AWS credentials; provide them in a way that boto3 knows (AWS_PROFILE, roles)."
            raise MisconfigurationError(message, self.tuning.configuration_delay_s) from error
        except (BotoCoreError, ResponseParserError, OSError) as error:  # OSError: a credentials file
            self.on_error("connection", type(error).__name__)
            raise TemporaryError(f"{what}: {error}.", self.tuning.transient_delay_s) from error

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
                client.meta.events.register(f"before-call.s3.{operation}", send_content_md5)
        return client


@cache
def _load_service_descriptions() -> Any:
    """AWS's descriptions of its services, read from disk once for all clients: each takes a tenth of a second."""
    from botocore.loaders import create_loader

    return create_loader()
