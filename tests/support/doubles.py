"""Doubles for the ports: a source and a sink in memory, and a model that sees only the mean colour."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import numpy as np

from pawtag.config import LimitSettings
from pawtag.domain.errors import GoneError, PermanentError
from pawtag.domain.labels import Labels, Thresholds
from pawtag.domain.ports import SourceState
from pawtag.domain.records import (
    Event,
    Floats,
    ModelInfo,
    Payload,
    PhotoRef,
    Pixels,
    PixelSpec,
    SourceInfo,
    Stamp,
    TaggerIdentity,
    TagRecord,
)
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
    """A model that photos wait for."""

    def __init__(self, pause_s: float = 1.5) -> None:
        super().__init__()
        self.pause_s = pause_s

    def embed(self, batch):
        time.sleep(self.pause_s)
        return super().embed(batch)


def colour_tagger(
    model: ColourEngine | None = None, *, fingerprint: str = "colours", name: ModelInfo | None = None, **limits
) -> Tagger:
    """A real tagger around the double."""
    model = model or ColourEngine()
    names = TaggerIdentity(name or ModelInfo(id="colours"), COLOURS.fingerprint, fingerprint)
    vocabulary = embed_words(COLOURS, model.embed_text(list_prompts(COLOURS)))
    return Tagger(model, vocabulary, Thresholds(), identity=names, limits=LimitSettings(**limits))


class MemorySource:
    """Photos in a dictionary; each is handed out once, and again where it is to be retried."""

    def __init__(self, photos: dict[str, bytes]) -> None:
        self.photos = photos
        self.pending: asyncio.Queue[Event] = asyncio.Queue()
        self.finished: list[str] = []
        self.retried: list[tuple[str, float]] = []
        self.state = SourceState("memory", "running")
        for uri in photos:
            self.pending.put_nowait(Event(self.ref(uri)))

    def ref(self, uri: str) -> PhotoRef:
        return PhotoRef(uri, len(self.photos.get(uri, b"")), hash(self.photos.get(uri)))

    async def events(self, stop: asyncio.Event) -> AsyncIterator[Event]:
        stopping = asyncio.create_task(stop.wait())
        while not stop.is_set():
            getting = asyncio.create_task(self.pending.get())
            await asyncio.wait({stopping, getting}, return_when=asyncio.FIRST_COMPLETED)
            if getting.done():
                yield getting.result()
            else:
                getting.cancel()
        stopping.cancel()

    def describe_source(self, ref: PhotoRef) -> SourceInfo:
        return SourceInfo(kind="folder", mtime_ns=ref.mtime_ns)

    async def read(self, event: Event) -> Payload:
        if event.ref.uri not in self.photos:
            raise GoneError(event.ref.uri)
        if self.photos[event.ref.uri] == b"locked":
            raise PermanentError("unreadable", "locked")
        return Payload(self.ref(event.ref.uri), self.photos[event.ref.uri])

    async def ack(self, event: Event) -> None:
        self.finished.append(event.ref.uri)

    async def retry(self, event: Event, delay_s: float) -> None:
        self.retried.append((event.ref.uri, delay_s))
        self.pending.put_nowait(Event(event.ref, attempt=event.attempt + 1))


class MemorySink:
    """Records in a dictionary. `faults` are raised first, one a write."""

    def __init__(self) -> None:
        self.records: dict[str, TagRecord] = {}
        self.versions: dict[str, PhotoRef] = {}
        self.faults: list[Exception] = []
        self.writes = 0

    def read_stamp(self, ref: PhotoRef) -> Stamp | None:
        record = self.records.get(ref.uri)
        if record is None:
            return None
        version = self.versions[ref.uri]
        return replace(Stamp.from_record(record), size_bytes=version.size_bytes, mtime_ns=version.mtime_ns)

    def write(self, ref: PhotoRef, record: TagRecord) -> None:
        if self.faults:
            raise self.faults.pop(0)
        self.writes += 1
        self.records[ref.uri], self.versions[ref.uri] = record, ref
