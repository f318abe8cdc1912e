"""Bytes to tags: the one way to tag, for folder, bucket, HTTP and command line."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager

from pawtag.config import LimitSettings
from pawtag.domain.labels import Thresholds
from pawtag.domain.ports import Engine
from pawtag.domain.records import PET_GROUP, Floats, PhotoInfo, Tag, TaggerIdentity, Tagging
from pawtag.images import ImageLimits, decode, preprocess
from pawtag.inference.batcher import Batcher
from pawtag.inference.scoring import Vocabulary, score_labels
from pawtag.metrics import Metrics


def describe_bytes(data: bytes, name: str | None = None) -> PhotoInfo:
    """What can be said of any bytes, picture or not."""
    return PhotoInfo(name=name, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


class Tagger:
    """A loaded model with its vocabulary, thresholds and limits."""

    def __init__(
        self,
        model: Engine,
        vocabulary: Vocabulary,
        thresholds: Thresholds,
        *,
        identity: TaggerIdentity,
        limits: LimitSettings,
        metrics: Metrics | None = None,
    ) -> None:
        """Open with `running`, which keeps the batcher at work."""
        self.metrics = metrics or Metrics()
        self.identity = identity
        self._model, self.vocabulary, self.thresholds = model, vocabulary, thresholds
        self._limits = ImageLimits(limits.max_file_bytes, limits.max_pixels)
        self._batcher = Batcher(model.embed, limits.batch_size, limits.batch_wait_s, self.metrics)
        # A person's photo is decoded by threads that the backlog cannot fill.
        self._interactive_threads = ThreadPoolExecutor(limits.threads, thread_name_prefix="decode-urgent")
        self._threads = ThreadPoolExecutor(limits.threads, thread_name_prefix="decode")
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @asynccontextmanager
    async def run(self) -> AsyncIterator["Tagger"]:
        """The tagger, answering until the context ends; what is in hand by then is answered, what comes before waits."""
        batching = asyncio.create_task(self._batcher.run(), name="batcher")
        try:
            yield self
            await self._idle.wait()
        finally:
            batching.cancel()
            await asyncio.gather(batching, return_exceptions=True)
            for threads in (self._interactive_threads, self._threads):
                threads.shutdown(wait=False, cancel_futures=True)

    async def tag(self, data: bytes, *, interactive: bool = False) -> Tagging:
        """Tag one photo. Raises PermanentError for one that cannot be tagged, TemporaryError for a passing fault."""
        with self._track_in_flight():
            threads = self._interactive_threads if interactive else self._threads
            photo, pixels = await asyncio.get_running_loop().run_in_executor(threads, self._preprocess, data)
            embedding = await self._batcher.embed(pixels, interactive=interactive)
        found = score_labels(embedding, self.vocabulary, self._model, self.thresholds)
        return Tagging(found.tags, found.scores, photo, self._has_pet(found.tags))

    @contextmanager
    def _track_in_flight(self) -> Iterator[None]:
        self._in_flight += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()

    def _preprocess(self, data: bytes) -> tuple[PhotoInfo, Floats]:
        spec = self._model.spec
        with self.metrics.time_stage("decode"):
            image = decode(data, self._limits, spec.shorter_side)
            pixels = preprocess(image, spec)
        known = {"width": image.width, "height": image.height, "format": image.format}
        return describe_bytes(data).model_copy(update=known), pixels

    def _has_pet(self, tags: tuple[Tag, ...]) -> bool:
        """A species reached its threshold; with labels of one's own that have no species, any tag will do."""
        own_groups = PET_GROUP not in self.vocabulary.labels.groups
        return any(own_groups or tag.group == PET_GROUP for tag in tags)
