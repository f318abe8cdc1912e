"""The settings: one frozen tree with defaults and descriptions."""

import os
from typing import Annotated, Literal

import platformdirs
from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from pawtag.config.network import ServerSettings, WebhookSettings
from pawtag.config.section import (
    MIB,
    Count,
    HomePath,
    OptionalPath,
    OptionalText,
    Score,
    Seconds,
    Section,
    empty_to_none,
)

ENVIRONMENT_PREFIX, NESTING = "PAWTAG_", "__"
EMBEDDED = "embedded"


class ModelSettings(Section):
    """The model that tags the photos."""

    id: str = "openai/clip-vit-base-patch32"
    """The id of a model on the Hugging Face hub, a folder with a model, or "embedded" for the small model that is part of pawtag."""
    revision: str | None = None
    """The revision of the model on the hub. Not set: a fixed revision for the default model, and the latest revision for any other model."""
    fallback: Literal["embedded", "none"] = "embedded"
    """The model that tags until the model of model.id is ready. With "none" pawtag tags nothing during the download, and ends with an error if it cannot reach the hub."""
    download: bool = True
    """Whether pawtag may download the model from the hub. With false it never connects to the hub."""
    threshold: Score | None = None
    """The lowest score at which a label becomes a tag, for this model. `pawtag model evaluate` measures it."""
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """pawtag divides the raw results of the model (logits) by this number. With the right number, a label with the score 0.90 is right about 90 times of 100. Do not set it by hand: `pawtag model evaluate --write` measures and writes it."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """The device that runs the model. "auto" uses a GPU if there is one."""
    engine: Literal["auto", "openvino", "torch"] = "auto"
    """The library that runs the model. "auto": torch on a GPU, OpenVINO on a CPU, torch if OpenVINO cannot run the model."""
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    """The number format that OpenVINO computes with. "auto" uses bfloat16 if the processor supports it."""
    cache_dir: HomePath = platformdirs.user_cache_path("pawtag")
    """The folder for data that pawtag can compute again: converted and compiled models, text embeddings, self tests."""


class LabelSettings(Section):
    """The labels, and the scores that make a label a tag."""

    file: OptionalPath = None
    """Your own labels.toml. Not set: the labels that ship."""
    tag_threshold: Score | None = None
    """The lowest score at which a label becomes a tag. Not set: the threshold of the model."""
    presence_threshold: Score | None = None
    """The lowest probability of a pet (1 minus the score of "none") at which pawtag says that the photo shows a pet. Not set: the value of the model, or 0.5."""
    views: Literal["whole", "parts"] = "whole"
    """With "parts" the model also looks at four quarters of a photo. So it finds several animals in one photo, and needs almost four times as long."""
    min_score: Score = 0.01
    """The answer of POST /tag lists labels with at least this score."""


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
    """The folder that pawtag watches."""

    path: OptionalPath = None
    """The folder with the photos. Not set: ./photos, unless a bucket or a queue is set."""
    recursive: bool = True
    """Whether pawtag watches subfolders too."""
    observer: Literal["auto", "native", "polling"] = "auto"
    """How pawtag notices changes. "native": file events of the system. "polling": it compares lists of the folder. "auto": polling for network shares, file events for other folders."""
    settle_s: Seconds = 1.0
    """If a program has closed a file or moved it into the folder, the file is complete after this many seconds without a change."""
    stable_s: Seconds = 5.0
    """Any other new file is complete after this many seconds without a change."""
    rescan_s: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 300.0
    """Seconds between two scans of the whole folder. A scan compares each photo with its sidecar."""
    patterns: tuple[str, ...] = PATTERNS
    """The file names of photos. Upper and lower case are the same."""
    exclude: tuple[str, ...] = ()
    """Files and folders to ignore. A pattern is a name of a file or folder ("thumbs*"), or a path below folder.path ("old/raw")."""
    concurrency: Count = 32
    """The number of photos of the folder that pawtag handles at once."""


class S3Settings(Section):
    """The bucket, and the queue that receives its events. The credentials of AWS come from the usual places (AWS_PROFILE, AWS_ACCESS_KEY_ID, ~/.aws, a role)."""

    queue_url: Annotated[str | tuple[str, ...] | None, BeforeValidator(empty_to_none)] = None
    """The URL of the SQS queue that receives upload events, or a list of URLs."""
    bucket: OptionalText = None
    """The bucket. pawtag refuses events of other buckets. If queue_url is not set, pawtag lists the bucket regularly, and accepts events that a store posts to POST /notifications/s3."""
    prefix: str = ""
    """pawtag tags only keys that begin with this prefix."""
    endpoint_url: OptionalText = None
    """The address of a store other than AWS."""
    region: OptionalText = None
    """The region. Not set: AWS_REGION, or the region that boto3 finds."""
    addressing: Literal["auto", "path", "virtual"] = "auto"
    """Where an S3 address has the name of the bucket: in the "path", or in the host name ("virtual")."""
    output: Literal["tags", "sidecar", "both"] = "tags"
    """Where pawtag writes records: as tags on the object, as a sidecar object, or both."""
    tags: tuple[str, ...] | None = None
    """The tags to write: names of groups, and "score", for example ["species", "score"]. pawtag always writes fingerprint, error and corrected. Not set: all."""
    sidecar_bucket: OptionalText = None
    """The bucket for sidecar objects. Not set: the bucket of the photo."""
    sidecar_prefix: str = ""
    """The beginning of the keys of sidecar objects: such a key is this text, then the key of the photo, then ".json"."""
    patterns: tuple[str, ...] = PATTERNS
    """The names of photos. Upper and lower case are the same. Keys without a suffix are photos too."""
    concurrency: Count = 16
    """The number of photos of the bucket that pawtag handles at once."""
    visibility_timeout_s: Annotated[int, Field(ge=10, le=43_200)] = 60
    """The visibility timeout of SQS messages, in seconds. If a daemon is killed, its messages come again after this time. pawtag extends the timeout while it works on a message."""
    rescan_s: Annotated[float, Field(ge=10, allow_inf_nan=False)] | None = None
    """Seconds between two resyncs (listings of the bucket). Not set: 300 without a queue; no resync with a queue."""

    @property
    def is_set(self) -> bool:
        """Whether S3 is a source."""
        return bool(self.queue_urls or self.bucket)

    @property
    def queue_urls(self) -> tuple[str, ...]:
        """The queues, however many."""
        return (self.queue_url,) if isinstance(self.queue_url, str) else self.queue_url or ()


class SidecarSettings(Section):
    """Where pawtag writes the records of a folder."""

    dir: OptionalPath = None
    """A separate folder for the sidecars. It gets the same subfolders as the photos. Use it if pawtag cannot write into the folder of the photos."""
    xmp: bool = False
    """Whether pawtag also writes the tags as keywords into XMP sidecars, for Immich, digiKam, darktable and PhotoPrism."""
    xmp_root: str = "pets"
    """The parent of all keywords in XMP: "pets", "animals/pets" for two levels, or "" for none."""


class StateSettings(Section):
    """What pawtag keeps between runs."""

    dir: HomePath = platformdirs.user_state_path("pawtag")
    """The folder for state.db: work in progress, events that are not handled yet, and the list of recent photos."""


class LimitSettings(Section):
    """Limits for photos and for the daemon."""

    max_pixels: Count = 50_000_000
    """The largest picture, in pixels. pawtag decodes most (baseline) JPEG files at a reduced size. For them the reduced size counts, so a JPEG may have more pixels than this."""
    max_file_bytes: Count = 200 * MIB
    """The largest file, in bytes."""
    threads: Count = min(4, os.cpu_count() or 1)
    """pawtag uses this many threads for decoding, and the same number for the model."""
    memory_bytes: Annotated[int, Field(ge=100_000_000)] = 640_000_000
    """Memory for all pictures that are decoded at the same time, in bytes. pawtag refuses a picture that needs more."""
    batch_size: Count | None = None
    """The largest number of photos in one call of the model. Not set: the engine and the model decide."""
    batch_wait_s: Seconds = 0.005
    """How many seconds a photo waits for other photos, so that the model computes them together."""


class LogSettings(Section):
    """The log, on stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """pawtag logs messages of this level and above."""
    format: Literal["auto", "plain", "json"] = "auto"
    """The format of a line. "auto" writes plain text on a terminal, and JSON elsewhere."""


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
