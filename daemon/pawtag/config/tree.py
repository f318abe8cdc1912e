"""The settings: one frozen tree, with its defaults and what each is for."""

import os
from typing import Annotated, Literal

import platformdirs
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from pawtag.config.network import ServerSettings, WebhookSettings
from pawtag.config.section import MIB, Count, HomePath, OptionalPath, Score, Seconds, Section

ENVIRONMENT_PREFIX, NESTING = "PAWTAG_", "__"
EMBEDDED = "embedded"


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
    views: Literal["whole", "parts"] = "whole"
    """What the model looks at: the "whole" photo, or its quarters too ("parts"): several animals, at five times the cost."""
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
    xmp: bool = False
    """Whether tags are also keywords in XMP sidecars next to the photos, for Immich, digiKam, darktable, PhotoPrism."""
    xmp_root: str = "pets"
    """The keyword above all of them where keywords have levels: "pets", "animals/pets", or "" for none."""


class StateSettings(Section):
    """What is kept between runs."""

    dir: HomePath = platformdirs.user_state_path("pawtag")
    """Work in progress, in state.db: photos in flight, pushed events, resume points, dead letters, recent results."""


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
