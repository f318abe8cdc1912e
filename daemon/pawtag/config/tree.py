"""The settings: one frozen tree, with its defaults and what each is for."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, HttpUrl, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pawtag.domain.addresses import is_loopback
from pawtag.domain.announcements import Reason

ENVIRONMENT_PREFIX, NESTING = "PAWTAG_", "__"
EMBEDDED = "embedded"
MIB = 1024 * 1024

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Score = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


def _expand(given: Any) -> Any:
    """`~` is the user's folder, wherever the path comes from. An empty path is none."""
    return os.path.expanduser(given) if isinstance(given, str) and given else given or None  # noqa: PTH111 - no Path yet


def _strip(given: Any) -> Any:
    """Files of secrets, and `echo`, end in a newline."""
    return given.strip() if isinstance(given, str) else given


def _check_origin(given: str) -> str:
    """A browser sends scheme, host and port in lower case, and no path."""
    if not re.fullmatch(r"https?://[^/\s?#@]+", given.lower()):
        raise ValueError(f"{given!r} is no origin; write it as https://shelter.example, without a path")
    return given.lower()


def _empty_to_none(given: Any) -> Any:
    return None if given == "" else given


def _read_file_of(name: str, given: Any) -> Any:
    """A section with the secret that `NAME_file` holds. Raises ValueError where both are set, or it cannot be read."""
    file = _expand(given.get(f"{name}_file")) if isinstance(given, dict) else None
    if not file:
        return given
    if given.get(name):
        raise ValueError(f"{name} and {name}_file are both set; set one")
    try:
        return given | {name: Path(file).read_text("utf-8-sig")}
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{name}_file {file} cannot be read ({error})") from error


class Section(BaseModel):
    """A part of the tree: frozen, and a name that it does not have is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


# An empty one is none, so that a container can take back what its image sets.
OptionalPath = Annotated[Path | None, BeforeValidator(_expand)]
HomePath = Annotated[Path, BeforeValidator(_expand)]


class ModelSettings(Section):
    """Which model tags."""

    id: str = "openai/clip-vit-base-patch32"
    """A hub id, a checkpoint folder, or "embedded" for the model that ships."""
    revision: str | None = None
    """The hub revision; the pinned one of the default model where it is not set."""
    fallback: Literal["embedded", "none"] = "embedded"
    """What serves while the wanted model is not there: "embedded", or "none" for an error."""
    download: bool = True
    """Whether the model may be downloaded from the hub; false: pawtag never connects to it."""
    threshold: Score | None = None
    """From which score on this model's best label is a tag: `pawtag model evaluate` measures it."""
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """What this model's logits are divided by: measured together with the threshold."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where the model runs: "auto" takes a GPU where there is one."""
    engine: Literal["auto", "openvino", "torch"] = "auto"
    """What runs the model; "auto" takes torch on a GPU, else OpenVINO, and torch where OpenVINO cannot run it."""
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    """How OpenVINO computes; "auto" takes bfloat16 where the processor has it."""
    cache_dir: HomePath = platformdirs.user_cache_path("pawtag")
    """What can be computed again: converted and compiled models, text embeddings, self tests."""


class LabelSettings(Section):
    """The labels, and which scores make a tag."""

    file: OptionalPath = None
    """A labels.toml of your own."""
    tag_threshold: Score | None = None
    """From which score on the best label is a tag; by default what was measured for the model."""
    presence_threshold: Score | None = None
    """From which probability on a photo shows a pet at all (1 less the score of "none"); by default the model's, else 0.5."""
    min_score: Score = 0.01
    """POST /tag lists labels from this score on."""


PATTERNS = tuple(
    f"*.{suffix}"
    for suffix in [
        "jpg",
        "jpeg",
        "jpe",
        "jfif",
        "png",
        "apng",
        "webp",
        "gif",
        "bmp",
        "dib",
        "tif",
        "tiff",
        "heic",
        "heif",
        "hif",
        "avif",
        "mpo",
    ]
)


class FolderSettings(Section):
    """The folder that is watched."""

    path: OptionalPath = None
    """The folder; ./photos where no source is set."""
    recursive: bool = True
    """Whether its subfolders are watched too."""
    observer: Literal["auto", "native", "polling"] = "auto"
    """How changes are noticed: native events, or polling for network shares."""
    settle_s: Seconds = 1.0
    """A file that was closed or moved in is finished after this long without a change."""
    stable_s: Seconds = 5.0
    """Any other new file is finished after this long without a change."""
    rescan_s: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 300.0
    """How often the whole folder is compared with its sidecars."""
    patterns: tuple[str, ...] = PATTERNS
    """Which names are photos, whatever their case."""
    exclude: tuple[str, ...] = ()
    """Files and folders to pass over, by shell patterns of a name ("thumbs*") or of a path below the folder ("old/raw")."""
    concurrency: Count = 32
    """Photos of the folder that are in flight at once."""


class S3Settings(Section):
    """A bucket, by the queue that its notifications go to. Credentials come from boto3's own chain."""

    queue_url: str | tuple[str, ...] | None = None
    """The SQS queue, or several, with notifications of uploads."""
    bucket: str | None = None
    """The only bucket that events may name. Without queue_url it is listed periodically, and accepts pushed events."""
    prefix: str = ""
    """Only keys with this prefix."""
    endpoint_url: str | None = None
    """Another store than AWS."""
    region: str | None = None
    """The region; by default AWS_REGION, which boto3 does not know, else boto3's own."""
    addressing: Literal["auto", "path", "virtual"] = "auto"
    """How requests name the bucket: in the path, or in the host name (virtual)."""
    output: Literal["tags", "sidecar", "both"] = "tags"
    """Where records go: tags on the object, a sidecar object, or both."""
    tags: tuple[str, ...] | None = None
    """Which tags: names of groups, and "score"; by default all."""
    sidecar_bucket: str | None = None
    """Another bucket for the sidecar objects."""
    sidecar_prefix: str = ""
    """The prefix of their keys, before the photo's own key."""
    patterns: tuple[str, ...] = PATTERNS
    """Which names are photos, whatever their case; those without a suffix are too."""
    concurrency: Count = 16
    """Photos of the bucket that are in flight at once."""
    visibility_timeout_s: Annotated[int, Field(ge=10, le=43_200)] = 60
    """SQS's visibility timeout; it is extended while the photos of a message are in flight."""
    rescan_s: Annotated[float, Field(ge=10, allow_inf_nan=False)] | None = None
    """The pause between two resyncs of the bucket; by default 300 without a queue, none with one."""

    @property
    def is_set(self) -> bool:
        """Whether S3 is a source."""
        return bool(self.queue_urls or self.bucket)

    @property
    def queue_urls(self) -> tuple[str, ...]:
        """The queues, however many."""
        return (self.queue_url,) if isinstance(self.queue_url, str) else self.queue_url or ()


class SidecarSettings(Section):
    """Where a folder's records go."""

    dir: OptionalPath = None
    """A mirror tree for the sidecars, for photo folders that cannot be written."""


class WebhookSettings(Section):
    """An address that is told of each tagged photo."""

    url: Annotated[HttpUrl | None, BeforeValidator(_empty_to_none)] = None
    """Where records are posted, such as "http://homeassistant.local:8123/api/webhook/ID"; not set: nowhere."""
    secret: Annotated[SecretStr, BeforeValidator(_strip), Field(min_length=1)] | None = None
    """The key of the signature (Standard Webhooks), "whsec_" and base64, or any text; not set: no signature."""
    secret_file: OptionalPath = None
    """A file with the secret, in the place of secret."""
    events: tuple[Reason, ...] = ("new", "changed", "corrected")
    """Of which records it is told; "re-tagged" too: also of all photos after a change of the model or the labels."""

    @model_validator(mode="before")
    @classmethod
    def _read_secret_file(cls, given: Any) -> Any:
        return _read_file_of("secret", given)


class StateSettings(Section):
    """What is kept between runs."""

    dir: HomePath = platformdirs.user_state_path("pawtag")
    """Work in progress, in state.db: photos in flight, pushed events, resume points, dead letters, recent results."""


class ServerSettings(Section):
    """The embedded HTTP server."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """The address to listen on; set an api_key for any but loopback."""
    port: Annotated[int, Field(ge=0, le=65535)] = 7860
    """The port; 0 takes a free one."""
    api_key: Annotated[SecretStr, BeforeValidator(_strip), Field(min_length=1)] | None = None
    """The key that requests must send as "Authorization: Bearer KEY"; not set: none."""
    api_key_file: OptionalPath = None
    """A file with the key, such as a mounted secret, in the place of api_key."""
    allowed_hosts: tuple[str, ...] = ()
    """The Host names that are answered, on loopback in addition to its own; empty elsewhere: any."""
    trusted_origins: tuple[Annotated[str, AfterValidator(_check_origin)], ...] = ()
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
        return _read_file_of("api_key", given)


class LimitSettings(Section):
    """Limits for photos and for the daemon."""

    max_pixels: Count = 50_000_000
    """The largest picture, in pixels; a baseline JPEG counts with its reduced size, as it is decoded."""
    max_file_bytes: Count = 200 * MIB
    """The largest file."""
    threads: Count = min(4, os.cpu_count() or 1)
    """Threads that decode, and threads that compute."""
    memory_bytes: Annotated[int, Field(ge=100_000_000)] = 640_000_000
    """Memory that all pictures together may take while they are decoded; one that takes more is refused."""
    batch_size: Count | None = None
    """The most photos that the model takes at once; by default what suits the engine and the model."""
    batch_wait_s: Seconds = 0.005
    """How long a photo of the backlog waits for others, to be computed with them."""


class LogSettings(Section):
    """The log, on stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The lowest level that is logged."""
    format: Literal["auto", "plain", "json"] = "auto"
    """Lines for people or for programs; auto: plain text on a terminal, JSON elsewhere."""


class Settings(BaseSettings):
    """All settings; made by `load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX,
        env_nested_delimiter=NESTING,
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )
    model: ModelSettings = ModelSettings()
    labels: LabelSettings = LabelSettings()
    folder: FolderSettings = FolderSettings()
    s3: S3Settings = S3Settings()
    sidecar: SidecarSettings = SidecarSettings()
    webhook: WebhookSettings = WebhookSettings()
    state: StateSettings = StateSettings()
    server: ServerSettings = ServerSettings()
    limits: LimitSettings = LimitSettings()
    log: LogSettings = LogSettings()
