"""The protocols between the stages: a new source, output or engine is one new file that keeps to one of these."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from pawtag.domain.pictures import Floats, Pixels, PixelSpec
from pawtag.domain.records import Event, Json, Payload, PhotoRef, TagRecord, Written

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


class OpenPhoto(Protocol):
    """A photo that is being looked at: a file, or an object whose GET is under way."""

    @property
    def version(self) -> PhotoRef:
        """The version of the photo, as far as it is known. Final after `look` or `read`."""

    async def look(self) -> Written:
        """What is written for the photo, even if that describes another version of it.

        Raises GoneError, and TemporaryError if this cannot be read now.
        """

    async def read(self) -> Payload:
        """The photo's bytes. Raises GoneError, TemporaryError, PermanentError."""

    async def write(self, record: TagRecord, seen: Written) -> None:
        """Write the record, whole or not at all; the same record twice is the same as once.

        `seen`: what `look` has found. Raises ChangedError where corrections have changed since, GoneError where the
        photo is gone, TemporaryError where the place cannot be written.
        """


class PhotoSource(Protocol):
    """Where photos come from. Never the same photo twice at once."""

    @property
    def state(self) -> SourceState:
        """How the source is now."""

    def events(self, stop: asyncio.Event) -> AsyncGenerator[Event, None]:
        """Events until `stop` is set."""

    def open(self, ref: PhotoRef) -> AbstractAsyncContextManager[OpenPhoto]:
        """The photo of an event, or any other one of the source. What it holds is released at the end."""

    async def ack(self, event: Event) -> None:
        """The event is done."""

    async def retry(self, event: Event, delay_s: float) -> None:
        """Hand the event out again after `delay_s` seconds, as its next attempt."""

    async def postpone(self, event: Event, delay_s: float) -> None:
        """Hand the event out again after `delay_s` seconds: the photo is not finished, and no attempt is counted."""

    def rescan(self) -> None:
        """Find photos whose record has become stale, as far as the source can list photos."""


class Output(Protocol):
    """Another place for tags (XMP), written before the record. `record.outputs` keeps the result of `write`."""

    @property
    def unsettled(self) -> AbstractSet[str]:
        """The URIs of photos for which the output may be written, but no record says so yet."""

    def covers(self, photo: PhotoRef) -> bool:
        """Whether it has a place for this photo."""

    def is_current(self, photo: PhotoRef, record: TagRecord, before: Json) -> bool:
        """Whether the output matches the record. `before`: the result of the last `write`, or None.

        If `before` has the key `problem`, the output could not be written, and each scan asks again.
        """

    async def write(self, photo: PhotoRef, record: TagRecord, before: Json) -> Json:
        """Write it; `before`: what the last write returned, None for none. Raises ChangedError, TemporaryError.

        In the mapping that it returns, `file` is the name of a file next to the photo, if it writes one.
        """

    def settle(self, photo: PhotoRef) -> None:
        """Note that the record with the result of `write` is written."""

    async def remove(self, photo: PhotoRef, before: Json) -> None:
        """Take back what `write` wrote. Raises TemporaryError."""


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
        """The factor that turns a cosine into the model's own logit."""

    @property
    def bias(self) -> float:
        """What is then added to it (SigLIP's; 0 elsewhere)."""

    @property
    def description(self) -> str:
        """What runs it, for people."""

    @property
    def max_batch(self) -> int:
        """The largest useful batch: more inputs in one call are not faster."""

    @property
    def runs_on_gpu(self) -> bool:
        """Whether it runs on a GPU: the decoding threads can use all CPU cores, and the engine waits for them."""

    def embed(self, batch: Sequence[Pixels]) -> Floats:
        """Unit vectors (N, D) for N inputs (H, W, 3)."""


class TextEngine(Engine, Protocol):
    """An engine whose text tower is loaded too."""

    def embed_text(self, prompts: Sequence[str]) -> Floats:
        """Unit vectors (N, D) for N prompts. Raises ConfigError for a prompt that is too long for the text tower."""
