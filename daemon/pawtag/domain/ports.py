"""The protocols between the stages: a new source, sink or model is one new file that keeps to one of these."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pawtag.domain.records import Event, Floats, Payload, PhotoRef, Pixels, PixelSpec, SourceInfo, Stamp, TagRecord

MB = 1_000_000


@dataclass(frozen=True, slots=True)
class SourceState:
    """How a source is: `degraded` and `unavailable` come with a reason that says what to do."""

    name: str
    state: Literal["running", "degraded", "unavailable"]
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class DownloadProgress:
    """How far a download is. `reason` says why it waits, or that it has been given up."""

    model_id: str
    done_bytes: int = 0
    total_bytes: int | None = None
    reason: str | None = None

    def __str__(self) -> str:
        """For people: `120 of 605 MB`."""
        total = f" of {self.total_bytes / MB:.0f}" if self.total_bytes else ""
        return f"{self.done_bytes / MB:.0f}{total} MB" + (f" ({self.reason})" if self.reason else "")


class PhotoSource(Protocol):
    """Where photos come from. Never the same photo twice at once."""

    @property
    def state(self) -> SourceState:
        """How the source is now."""

    def events(self, stop: asyncio.Event) -> AsyncIterator[Event]:
        """Events until `stop` is set."""

    def describe_source(self, ref: PhotoRef) -> SourceInfo:
        """What a record says of where the photo came from."""

    async def read(self, event: Event) -> Payload:
        """The photo's bytes. Raises GoneError, TemporaryError, PermanentError."""

    async def ack(self, event: Event) -> None:
        """The event is done."""

    async def retry(self, event: Event, delay_s: float) -> None:
        """Hand the event out again after `delay_s` seconds."""


class Sink(Protocol):
    """Where records go. Its calls block: they are made from threads."""

    def read_stamp(self, ref: PhotoRef) -> Stamp | None:
        """What is written for the photo, whatever version of it; None where nothing of ours is.

        Raises TemporaryError where it cannot know.
        """

    def write(self, ref: PhotoRef, record: TagRecord) -> None:
        """Write the record, whole or not at all; the same record twice is the same as once.

        Raises GoneError where the photo is gone, TemporaryError where the place cannot be written.
        """


class Engine(Protocol):
    """An image-text model that is loaded. Its calls block."""

    @property
    def digest(self) -> str:
        """SHA-256 of weights, tokenizer and preprocessing together, in hex."""

    @property
    def weights_digest(self) -> str:
        """SHA-256 of the weights alone, in hex."""

    @property
    def spec(self) -> PixelSpec:
        """The input of `embed`."""

    @property
    def scale(self) -> float:
        """What a cosine is multiplied by to be the model's own logit."""

    @property
    def bias(self) -> float:
        """What is then added to it (SigLIP's; 0 elsewhere)."""

    @property
    def description(self) -> str:
        """What runs it, for people."""

    @property
    def max_batch(self) -> int:
        """More inputs than this in one call make none of them faster."""

    @property
    def runs_on_gpu(self) -> bool:
        """Whether it leaves the cores to the threads that decode, and waits for them."""

    def embed(self, batch: Sequence[Pixels]) -> Floats:
        """Unit vectors (N, D) for N inputs (H, W, 3)."""


class TextEngine(Engine, Protocol):
    """An engine whose text tower is loaded too."""

    def embed_text(self, prompts: Sequence[str]) -> Floats:
        """Unit vectors (N, D) for N prompts. Raises ConfigError for one that the text tower would cut."""
