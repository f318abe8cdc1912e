"""Doubles for the ports: photos, records and an output in memory, and a model that sees only the mean colour."""

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from pawtag.config import LimitSettings
from pawtag.domain.errors import ChangedError, GoneError, PermanentError
from pawtag.domain.labels import Labels, Thresholds
from pawtag.domain.pictures import Floats, Pixels, PixelSpec
from pawtag.domain.ports import SourceState
from pawtag.domain.records import Event, ModelInfo, Payload, PhotoRef, Stamp, TaggerIdentity, TagRecord, Written
from pawtag.inference.checkpoint import Checkpoint
from pawtag.inference.loaded_model import LoadedModel
from pawtag.inference.scoring import embed_words, list_prompts
from pawtag.inference.tagger import Tagger

COLOURS = Labels.model_validate(
    {
        "templates": ["a photo of {}"],
        "groups": {"species": {"labels": {"red": ["red"], "green": ["green"], "none": ["blue"]}}},
    }
)
VECTORS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}


class ColourEngine:
    """Embeds a picture as its mean colour, and a prompt as the colour that it names."""

    digest = weights_digest = hashlib.sha256(b"colours").hexdigest()
    spec = PixelSpec(resize=8, crop=(8, 8), resample=3, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    scale = 20.0
    bias = 0.0
    description = "colours"
    max_batch = 8
    runs_on_gpu = False

    def __init__(self) -> None:
        self.batches: list[int] = []

    def embed(self, batch: Sequence[Pixels]) -> Floats:
        self.batches.append(len(batch))
        means = np.stack(batch).mean((1, 2)) / 255 + 1e-6
        return (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)

    def embed_text(self, prompts: Sequence[str]) -> Floats:
        return np.array([VECTORS[prompt.split()[-1]] for prompt in prompts], np.float32)


class SlowEngine(ColourEngine):
    """A slow model: each call takes `pause_s`."""

    def __init__(self, pause_s: float = 1.5) -> None:
        super().__init__()
        self.pause_s = pause_s

    def embed(self, batch):
        time.sleep(self.pause_s)
        return super().embed(batch)


def colour_model(
    model: ColourEngine | None = None,
    *,
    fingerprint: str = "colours",
    name: ModelInfo | None = None,
    labels: Labels = COLOURS,
    thresholds: Thresholds | None = None,
) -> LoadedModel:
    """The double as a loaded model."""
    model, name = model or ColourEngine(), name or ModelInfo(id="colours")
    identity = TaggerIdentity(name, labels.fingerprint, fingerprint)
    vocabulary = embed_words(labels, model.embed_text(list_prompts(labels)))
    checkpoint = Checkpoint(Path("colours"), name)
    return LoadedModel(model, vocabulary, thresholds or Thresholds(), identity, checkpoint, calibrated=False)


def colour_tagger(
    model: ColourEngine | None = None, *, fingerprint: str = "colours", name: ModelInfo | None = None, **limits
) -> Tagger:
    """A real tagger around the double."""
    return Tagger(colour_model(model, fingerprint=fingerprint, name=name), LimitSettings(**limits))


class MemorySource:
    """Photos in a dictionary; each is handed out once, and again where it is to be retried.

    The records are in `records`. `faults` are raised first, one a write.
    """

    def __init__(self, photos: dict[str, bytes], records: "MemoryRecords | None" = None) -> None:
        self.photos = photos
        self.store = records or MemoryRecords()
        self.pending: asyncio.Queue[Event] = asyncio.Queue()
        self.finished: list[str] = []
        self.retried: list[tuple[str, float]] = []
        self.postponed: list[tuple[str, float]] = []
        self.rescans = 0
        self.state = SourceState("memory", "running")
        for uri in photos:
            self.pending.put_nowait(Event(self.ref(uri)))

    def ref(self, uri: str) -> PhotoRef:
        return PhotoRef(uri, len(self.photos.get(uri, b"")), hash(self.photos.get(uri)))

    async def events(self, stop: asyncio.Event) -> AsyncGenerator[Event, None]:
        stopping = asyncio.create_task(stop.wait())
        while not stop.is_set():
            getting = asyncio.create_task(self.pending.get())
            await asyncio.wait({stopping, getting}, return_when=asyncio.FIRST_COMPLETED)
            if getting.done():
                yield getting.result()
            else:
                getting.cancel()
        stopping.cancel()

    @asynccontextmanager
    async def open(self, ref: PhotoRef) -> AsyncIterator["MemoryPhoto"]:
        yield MemoryPhoto(ref, self)

    async def ack(self, event: Event) -> None:
        self.finished.append(event.ref.uri)

    async def retry(self, event: Event, delay_s: float) -> None:
        self.retried.append((event.ref.uri, delay_s))
        self.pending.put_nowait(Event(event.ref, attempt=event.attempt + 1))

    async def postpone(self, event: Event, delay_s: float) -> None:
        self.postponed.append((event.ref.uri, delay_s))
        self.pending.put_nowait(event)

    def rescan(self) -> None:
        self.rescans += 1
        for uri in self.photos:
            self.pending.put_nowait(Event(self.ref(uri)))


class MemoryRecords:
    """Records in a dictionary, and what a person wrote into them. `faults`, or what they return, are raised first."""

    def __init__(self) -> None:
        self.records: dict[str, TagRecord] = {}
        self.versions: dict[str, PhotoRef] = {}
        self.corrections: dict[str, object] = {}
        self.faults: list[Exception | Callable[[], Exception]] = []
        self.writes = 0


class MemoryPhoto:
    """A photo of a MemorySource."""

    def __init__(self, ref: PhotoRef, source: MemorySource) -> None:
        self.version, self._source, self._store = ref, source, source.store

    async def look(self) -> Written:
        uri = self.version.uri
        if uri not in self._source.photos:
            raise GoneError(uri)
        self.version = self._source.ref(uri)
        corrections, record = self._store.corrections.get(uri), self._store.records.get(uri)
        if record is None:
            return Written(corrections=corrections)
        written = self._store.versions[uri]
        stamp = replace(Stamp.from_record(record), size_bytes=written.size_bytes, mtime_ns=written.mtime_ns)
        return Written(stamp, corrections, record.outputs)

    async def read(self) -> Payload:
        data = self._source.photos.get(self.version.uri)
        if data is None:
            raise GoneError(self.version.uri)
        if data == b"locked":
            raise PermanentError("unreadable", "locked")
        return Payload(self.version, data)

    async def write(self, record: TagRecord, seen: Written) -> None:
        uri = self.version.uri
        if self._store.faults:
            fault = self._store.faults.pop(0)
            raise fault() if callable(fault) else fault
        if self._store.corrections.get(uri) != seen.corrections:
            raise ChangedError("corrected meanwhile")
        self._store.writes += 1
        self._store.records[uri], self._store.versions[uri] = record, self.version


class MemoryOutput:
    """An output that keeps what it is given. `faults` are raised first, one a write."""

    def __init__(self) -> None:
        self.written: dict[str, list[str]] = {}
        self.before: list[object] = []
        self.faults: list[Exception | Callable[[], Exception]] = []
        self.settled: list[str] = []

    def covers(self, photo: PhotoRef) -> bool:
        return True

    unsettled: frozenset[str] = frozenset()

    def is_current(self, photo: PhotoRef, record: TagRecord, before: object) -> bool:
        return before is not None

    def settle(self, photo: PhotoRef) -> None:
        self.settled.append(photo.uri)

    async def write(self, photo: PhotoRef, record: TagRecord, before: object) -> object:
        if self.faults:
            fault = self.faults.pop(0)
            raise fault() if callable(fault) else fault
        self.before.append(before)
        self.written[photo.uri] = [tag.label for tag in record.tags]
        return {"keywords": self.written[photo.uri]}

    async def remove(self, photo: PhotoRef, before: object) -> None:
        self.written.pop(photo.uri, None)
