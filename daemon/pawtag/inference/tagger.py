"""Bytes to tags: the one way to tag, for folder, bucket, HTTP and command line."""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, nullcontext
from functools import partial

from pawtag.config import LimitSettings
from pawtag.domain.labels import Thresholds
from pawtag.domain.ports import Engine
from pawtag.domain.records import PET_GROUP, Floats, PhotoInfo, Pixels, Tag, TaggerIdentity, Tagging, describe_bytes
from pawtag.images import DecodeLimiter, ImageLimits, decode, preprocess
from pawtag.inference.batcher import Batcher
from pawtag.inference.interactive_gate import InteractiveGate
from pawtag.inference.scoring import Vocabulary, score_labels
from pawtag.metrics import Metrics

log = logging.getLogger(__name__)

# Threads that decode the backlog give way to the model and to interactive requests.
BACKLOG_NICENESS = 10
# A GPU waits for decoded photos: then all cores but these decode.
SPARE_CORES = 2


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
        self._memory = DecodeLimiter(limits.memory_bytes)
        self._gate = InteractiveGate()
        size = min(limits.batch_size or engine.max_batch, engine.max_batch)
        if size < (limits.batch_size or size):
            log.warning("limits.batch_size %d has no effect: this model takes %d", limits.batch_size, size)
        self._batcher = Batcher(engine.embed, size, limits.batch_wait_s, gate=self._gate, metrics=self.metrics)
        # Interactive requests have decoding threads that the backlog cannot fill.
        threads = max(limits.threads, (os.cpu_count() or 1) - SPARE_CORES) if engine.runs_on_gpu else limits.threads
        self._interactive_threads = ThreadPoolExecutor(threads, thread_name_prefix="decode-interactive")
        self._normal_threads = ThreadPoolExecutor(threads, thread_name_prefix="decode", initializer=_lower_priority)
        self._score_thread = ThreadPoolExecutor(1, thread_name_prefix="score")
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def failure(self) -> str | None:
        """Why no photo can be tagged any more; None while it works."""
        return self._batcher.failure

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
            for threads in (self._interactive_threads, self._normal_threads, self._score_thread):
                threads.shutdown(wait=False, cancel_futures=True)

    async def tag(self, data: bytes, *, photo: PhotoInfo | None = None, interactive: bool = False) -> Tagging:
        """Tag one photo. `photo`: what is known of these bytes, where the caller has described them.

        Raises PermanentError if it cannot be tagged, TemporaryError for a fault that may pass.
        """
        loop, threads = asyncio.get_running_loop(), self._interactive_threads if interactive else self._normal_threads
        with self._track_in_flight(), self._gate.track_request() if interactive else nullcontext():
            if not interactive:
                await self._gate.wait_for_turn()
            known, pixels = await loop.run_in_executor(threads, self._preprocess, data, photo, interactive)
            embedding = await self._batcher.embed(pixels, interactive=interactive)
            return await loop.run_in_executor(self._score_thread, self._score, embedding, known)

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

    def _preprocess(self, data: bytes, photo: PhotoInfo | None, interactive: bool) -> tuple[PhotoInfo, Pixels]:
        spec = self._engine.spec
        with self.metrics.time_stage("decode"):
            reserve = partial(self._memory.acquire, first=interactive)
            image = decode(data, self._limits, spec.shorter_side, reserve)
            pixels = preprocess(image, spec)
        known = {"width": image.width, "height": image.height, "format": image.format}
        return (photo or describe_bytes(data)).model_copy(update=known), pixels

    def _score(self, embedding: Floats, photo: PhotoInfo) -> Tagging:
        scored = score_labels(embedding, self.vocabulary, self._engine, self.thresholds)
        return Tagging(scored.tags, scored.scores, photo, self._has_pet(scored.tags))

    def _has_pet(self, tags: tuple[Tag, ...]) -> bool:
        """Whether a species has reached its threshold. With labels that have no species, any tag counts."""
        own_groups = PET_GROUP not in self.vocabulary.labels.groups
        return any(own_groups or tag.group == PET_GROUP for tag in tags)


def _lower_priority() -> None:
    """Of the calling thread alone, which only Linux can."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BACKLOG_NICENESS)
