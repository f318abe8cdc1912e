"""The settings of the embedded server and of the webhook."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, HttpUrl, SecretStr, model_validator

from pawtag.config.section import MIB, Count, OptionalPath, Section, check_origin, empty_to_none, read_file_of, strip
from pawtag.domain.addresses import is_loopback
from pawtag.domain.announcements import Reason


class ServerSettings(Section):
    """The embedded HTTP server."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """The address to listen on. Set server.api_key if it is not loopback."""
    port: Annotated[int, Field(ge=0, le=65535)] = 7860
    """The port to listen on. 0 chooses a free port."""
    api_key: Annotated[SecretStr, BeforeValidator(strip), Field(min_length=1)] | None = None
    """The key that requests must send as "Authorization: Bearer KEY". Not set: requests need no key."""
    api_key_file: OptionalPath = None
    """A file that holds the key, such as a mounted secret. Use it instead of api_key."""
    allowed_hosts: tuple[str, ...] = ()
    """The names (Host header) under which people may use pawtag. If pawtag listens on loopback, localhost and 127.0.0.1 are always allowed. If it listens on another address, an empty list allows every name."""
    trusted_origins: tuple[Annotated[str, AfterValidator(check_origin)], ...] = ()
    """Origins of web pages of other sites that may send requests, such as "https://shelter.example". If your proxy does not forward the Host header, name the origin of pawtag's own page here too."""
    keep_requests: bool = False
    """Whether the list of recent photos also shows photos that were sent to POST /tag. pawtag then keeps their names and tags, but not the pictures."""
    page: bool | None = None
    """Whether pawtag serves the page at /, /photos and /events. Not set: only on loopback, or with an api_key."""
    max_upload_bytes: Count = 50 * MIB
    """The largest body of POST /tag, in bytes. limits.max_file_bytes applies too."""
    stall_timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 30.0
    """The longest pause of a sender, in seconds. After a longer pause, or if a sender is slower than 8 kB per second, the answer is 408."""
    max_pending: Count = 64
    """The number of requests that may wait for the model. A further request gets 503."""
    max_connections: Count = 256
    """The largest number of open connections. For a further connection, pawtag closes an idle one. If no connection is idle, the further one gets 503."""

    @property
    def is_private(self) -> bool:
        """Whether a stranger cannot ask for names of photos: on loopback, or with a key."""
        return self.api_key is not None or is_loopback(self.host)

    @property
    def shows_page(self) -> bool:
        """Whether the page is served."""
        return self.is_private if self.page is None else self.page

    @model_validator(mode="before")
    @classmethod
    def _read_key_file(cls, given: Any) -> Any:
        return read_file_of("api_key", given)


class WebhookSettings(Section):
    """The address that pawtag sends events to."""

    url: Annotated[HttpUrl | None, BeforeValidator(empty_to_none)] = None
    """The address, such as "http://homeassistant.local:8123/api/webhook/ID". Not set: pawtag sends no events."""
    secret: Annotated[SecretStr, BeforeValidator(strip), Field(min_length=1)] | None = None
    """The key of the signature (Standard Webhooks): "whsec_" and base64, or any text. Not set: pawtag does not sign."""
    secret_file: OptionalPath = None
    """A file that holds the secret. Use it instead of secret."""
    events: tuple[Reason, ...] = ("new", "changed", "corrected")
    """Which events to send. Add "re-tagged" if you also want an event for each photo after a change of the model or the labels."""

    @model_validator(mode="before")
    @classmethod
    def _read_secret_file(cls, given: Any) -> Any:
        return read_file_of("secret", given)
