"""Bytes to tags: the one way to tag, for folder, bucket, HTTP and command line."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager

from pawtag.config import LimitSettings
from pawtag.domain.labels import Thresholds
from pawtag.domain.ports import Engine
from pawtag.domain.records import PET_GROUP, Floats, PhotoInfo, Tag, TaggerIdentity, Tagging, describe_bytes
from pawtag.images import ImageLimits, decode, preprocess
from pawtag.inference.batcher import Batcher
from pawtag.inference.scoring import Vocabulary, score_labels
from pawtag.metrics import Metrics


class Tagger:
    """A loaded model with its vocabulary, thresholds and limits."""

    def __init__(
        self,
        engine: Engine,
        vocabulary: Vocabulary,
        thresholds: Thresholds,
        *,
        identity: TaggerIdentity,
        limits: LimitSettings,
        metrics: Metrics | None = None,
    ) -> None:
        """Answers while the context of `run` lasts."""
        self.metrics = metrics or Metrics()
        self.identity = identity
        self._engine, self.vocabulary, self.thresholds = engine, vocabulary, thresholds
        self._limits = ImageLimits(limits.max_file_bytes, limits.max_pixels)
        self._batcher = Batcher(engine.embed, limits.batch_size, limits.batch_wait_s, self.metrics)
        # Interactive requests have decoding threads that the backlog cannot fill.
        self._interactive_threads = ThreadPoolExecutor(limits.threads, thread_name_prefix="decode-interactive")
        self._normal_threads = ThreadPoolExecutor(limits.threads, thread_name_prefix="decode")
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @asynccontextmanager
    async def run(self) -> AsyncIterator["Tagger"]:
        """The tagger, which answers until the context ends and photos in flight are done. Earlier photos wait."""
        batching = asyncio.create_task(self._batcher.run(), name="batcher")
        try:
            yield self
            await self._idle.wait()
        finally:
            batching.cancel()
            await asyncio.gather(batching, return_exceptions=True)
            for threads in (self._interactive_threads, self._normal_threads):
                threads.shutdown(wait=False, cancel_futures=True)

    async def tag(self, data: bytes, *, interactive: bool = False) -> Tagging:
        """Tag one photo. Raises PermanentError if it cannot be tagged, TemporaryError for a fault that may pass."""
        with self._track_in_flight():
            threads = self._interactive_threads if interactive else self._normal_threads
            photo, pixels = await asyncio.get_running_loop().run_in_executor(threads, self._preprocess, data)
            embedding = await self._batcher.embed(pixels, interactive=interactive)
        scored = score_labels(embedding, self.vocabulary, self._engine, self.thresholds)
        return Tagging(scored.tags, scored.scores, photo, self._has_pet(scored.tags))

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
        spec = self._engine.spec
        with self.metrics.time_stage("decode"):
            image = decode(data, self._limits, spec.shorter_side)
            pixels = preprocess(image, spec)
        known = {"width": image.width, "height": image.height, "format": image.format}
        return describe_bytes(data).model_copy(update=known), pixels

    def _has_pet(self, tags: tuple[Tag, ...]) -> bool:
        """Whether a species has reached its threshold. With labels that have no species, any tag counts."""
        own_groups = PET_GROUP not in self.vocabulary.labels.groups
        return any(own_groups or tag.group == PET_GROUP for tag in tags)
