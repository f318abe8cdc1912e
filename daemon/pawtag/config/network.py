"""The settings of what is on the network: the embedded server, and the webhook."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, HttpUrl, SecretStr, model_validator

from pawtag.config.section import MIB, Count, OptionalPath, Section, check_origin, empty_to_none, read_file_of, strip
from pawtag.domain.addresses import is_loopback
from pawtag.domain.announcements import Reason


class ServerSettings(Section):
    """The embedded HTTP server."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """The address to listen on; set an api_key for any but loopback."""
    port: Annotated[int, Field(ge=0, le=65535)] = 7860
    """The port; 0 takes a free one."""
    api_key: Annotated[SecretStr, BeforeValidator(strip), Field(min_length=1)] | None = None
    """The key that requests must send as "Authorization: Bearer KEY"; not set: none."""
    api_key_file: OptionalPath = None
    """A file with the key, such as a mounted secret, in the place of api_key."""
    allowed_hosts: tuple[str, ...] = ()
    """The Host names that are answered, on loopback in addition to its own; empty elsewhere: any."""
    trusted_origins: tuple[Annotated[str, AfterValidator(check_origin)], ...] = ()
    """Origins of pages that may post photos, such as "https://shelter.example"; the page behind a proxy, too."""
    keep_requests: bool = False
    """List requests among the recent results: their names and tags, no pixels."""
    page: bool | None = None
    """The page at /, and what it reads: /photos and /events. Not set: on loopback, or with an api_key."""
    max_upload_bytes: Count = 50 * MIB
    """The largest body of POST /tag; limits.max_file_bytes applies too."""
    stall_timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 30.0
    """How long a sender may pause, or send less than 8 kB a second, before it gets 408; a notification must arrive within it."""
    max_pending: Count = 64
    """Requests that may wait for the model; one more is answered 503."""
    max_connections: Count = 256
    """Connections that may be open; one more takes the place of one without a request, else it is answered 503."""

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
    """An address that is told of each tagged photo."""

    url: Annotated[HttpUrl | None, BeforeValidator(empty_to_none)] = None
    """Where records are posted, such as "http://homeassistant.local:8123/api/webhook/ID"; not set: nowhere."""
    secret: Annotated[SecretStr, BeforeValidator(strip), Field(min_length=1)] | None = None
    """The key of the signature (Standard Webhooks), "whsec_" and base64, or any text; not set: no signature."""
    secret_file: OptionalPath = None
    """A file with the secret, in the place of secret."""
    events: tuple[Reason, ...] = ("new", "changed", "corrected")
    """Of which records it is told; "re-tagged" too: also of all photos after a change of the model or the labels."""

    @model_validator(mode="before")
    @classmethod
    def _read_secret_file(cls, given: Any) -> Any:
        return read_file_of("secret", given)
