"""Turns bytes into tags. Folder, bucket, HTTP and command line all use it."""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager, nullcontext
from functools import partial
from typing import Protocol

from pawtag.config import LimitSettings
from pawtag.domain.errors import PermanentError
from pawtag.domain.labels import Labels
from pawtag.domain.pictures import Floats, Pixels
from pawtag.domain.records import PhotoInfo, TaggerIdentity, Tagging, describe_bytes
from pawtag.images import (
    LONGER_SIDE_PX,
    DecodeCost,
    DecodeLimiter,
    ImageLimits,
    Reserve,
    cut_parts,
    decode,
    encode_thumbnail,
    is_enough_for_thumbnail,
    preprocess,
    return_freed_blocks,
)
from pawtag.inference.interactive_gate import InteractiveGate
from pawtag.inference.loaded_model import LoadedModel
from pawtag.inference.scoring import score_labels
from pawtag.inference.serving import ServingModel
from pawtag.metrics import Metrics

log = logging.getLogger(__name__)

# Threads that decode the backlog give way to the model and to interactive requests.
BACKLOG_NICENESS = 10
# A GPU would wait for decoded photos. So with a GPU, all cores except these decode.
SPARE_CORES = 2
MAX_BAD_SCORES = 3
MAX_DECODE_S = 300.0


class ThumbnailKeeper(Protocol):
    """Takes thumbnails of the photos that are tagged. Called from the threads that decode."""

    def wants(self) -> bool:
        """Whether to make one now."""

    def keep(self, sha256: str, content: bytes) -> None:
        """Keep the thumbnail, a JPEG. `sha256`: the digest of the photo's bytes, in hex."""


class Tagger:
    """Tags with one model, which another may replace at any time. Lives on one event loop."""

    def __init__(self, model: LoadedModel, limits: LimitSettings, metrics: Metrics | None = None) -> None:
        """Answers while the context of `run` lasts."""
        self.metrics = metrics or Metrics()
        self._limits = limits
        self._image_limits = ImageLimits(limits.max_file_bytes, limits.max_pixels)
        self._memory = DecodeLimiter(limits.memory_bytes)
        self._gate = InteractiveGate()
        self._serving = ServingModel(model, limits, self._gate, self.metrics)
        self.thumbnails: ThumbnailKeeper | None = None
        self._bad_scores = self._stalled = 0
        self._draining: set[asyncio.Task[None]] = set()
        self.own_fingerprints: frozenset[str] = frozenset({model.identity.fingerprint})
        """The fingerprints of all models that have served."""
        # Interactive requests have decoding threads that the backlog cannot fill.
        on_gpu = model.engine.runs_on_gpu
        threads = max(limits.threads, (os.cpu_count() or 1) - SPARE_CORES) if on_gpu else limits.threads
        self._interactive_threads = ThreadPoolExecutor(threads, thread_name_prefix="decode-interactive")
        self._normal_threads = ThreadPoolExecutor(threads, thread_name_prefix="decode", initializer=_lower_priority)
        self._score_thread = ThreadPoolExecutor(1, thread_name_prefix="score")

    @property
    def model(self) -> LoadedModel:
        """The model that serves now."""
        return self._serving.model

    @property
    def identity(self) -> TaggerIdentity:
        """The identity of the model that serves now."""
        return self._serving.model.identity

    @property
    def labels(self) -> Labels:
        """The labels of the model that serves now."""
        return self._serving.model.vocabulary.labels

    @property
    def failure(self) -> str | None:
        """Why no photo can be tagged any more; None while it works."""
        if self._bad_scores >= MAX_BAD_SCORES:
            return (
                f"The model failed on the last {self._bad_scores} photos; check its files and its device, and restart."
            )
        if self._stalled:
            return f"Decoding a picture takes more than {MAX_DECODE_S:.0f} s; if it does not end, restart pawtag."
        return self._serving.failure

    @asynccontextmanager
    async def run(self) -> AsyncIterator["Tagger"]:
        """The tagger, which answers until the context ends and photos in flight are done. Earlier photos wait."""
        return_freed_blocks()
        self._serving.start()
        try:
            yield self
            await self._serving.wait_until_idle()
        finally:
            for draining in self._draining:
                draining.cancel()
            await asyncio.gather(*self._draining, return_exceptions=True)
            await self._serving.close()
            for threads in (self._interactive_threads, self._normal_threads, self._score_thread):
                threads.shutdown(wait=False, cancel_futures=True)

    def replace(self, model: LoadedModel) -> asyncio.Task[None]:
        """Serve `model` from now on. Photos in flight keep the old one; the task ends when that is closed."""
        self._bad_scores = 0
        old, self._serving = self._serving, ServingModel(model, self._limits, self._gate, self.metrics)
        self.own_fingerprints |= {model.identity.fingerprint}
        self._serving.start()
        draining = asyncio.create_task(_close_when_idle(old), name="drain-model")
        self._draining.add(draining)
        draining.add_done_callback(self._draining.discard)
        return draining

    async def tag(self, data: bytes, *, photo: PhotoInfo | None = None, interactive: bool = False) -> Tagging:
        """Tag one photo. `photo`: what is known of these bytes, where the caller has described them.

        Raises PermanentError if it cannot be tagged, TemporaryError for a fault that may pass.
        """
        with self._gate.track_request() if interactive else nullcontext():
            if not interactive:
                await self._gate.wait_for_turn()
            with self._lease() as serving, self._count_bad_scores():
                return await self._tag_with(serving, data, photo, interactive=interactive)

    async def make_thumbnail(self, data: bytes) -> bytes:
        """A small JPEG of the photo, decoded within the limits of the photos that are tagged. Raises PermanentError."""
        return await asyncio.get_running_loop().run_in_executor(self._normal_threads, self._make_thumbnail, data)

    def _make_thumbnail(self, data: bytes) -> bytes:
        with self._reserve_memory(first=False) as reserve:
            return encode_thumbnail(decode(data, self._image_limits, LONGER_SIDE_PX // 2, reserve))

    async def _tag_with(
        self, serving: ServingModel, data: bytes, photo: PhotoInfo | None, *, interactive: bool
    ) -> Tagging:
        loop, threads = asyncio.get_running_loop(), self._interactive_threads if interactive else self._normal_threads
        decode_photo = partial(self._preprocess, serving.model, data, photo, interactive)
        known, views = await self._watch_decode(loop.run_in_executor(threads, decode_photo))
        embeddings = await asyncio.gather(*(serving.embed(pixels, interactive=interactive) for pixels in views))
        return await loop.run_in_executor(self._score_thread, _score, serving.model, embeddings, known)

    async def _watch_decode(
        self, decoding: asyncio.Future[tuple[PhotoInfo, list[Pixels]]]
    ) -> tuple[PhotoInfo, list[Pixels]]:
        """The decoded picture. Readiness fails while a decode takes far too long, because its thread may hang."""
        try:
            done, _ = await asyncio.wait({decoding}, timeout=MAX_DECODE_S)
        except asyncio.CancelledError:
            decoding.cancel()
            raise
        if done:
            return decoding.result()
        log.error("decoding a picture takes more than %.0f s; if it does not end, restart pawtag", MAX_DECODE_S)
        self._stalled += 1
        try:
            return await decoding
        finally:
            self._stalled -= 1

    @contextmanager
    def _count_bad_scores(self) -> Iterator[None]:
        """Count bad scores: several in a row are a fault of the model, not of the photos."""
        try:
            yield
            self._bad_scores = 0
        except PermanentError as error:
            self._bad_scores += error.code == "bad-score"
            raise

    @contextmanager
    def _lease(self) -> Iterator[ServingModel]:
        """The model that serves now; it stays open while the context lasts."""
        with self._serving.lease() as serving:
            yield serving

    @contextmanager
    def _reserve_memory(self, *, first: bool) -> Iterator[Reserve]:
        """Hold the memory that a decode reserves until the context ends. A second decode first frees the first's."""
        with ExitStack() as held:

            def reserve(cost: DecodeCost) -> AbstractContextManager[None]:
                held.close()
                return nullcontext(held.enter_context(self._memory.acquire(cost, first=first)))

            yield reserve

    def _preprocess(
        self, model: LoadedModel, data: bytes, photo: PhotoInfo | None, interactive: bool
    ) -> tuple[PhotoInfo, list[Pixels]]:
        """What is known of the photo, and the views that the model gets: the whole first."""
        spec = model.engine.spec
        with self.metrics.time_stage("decode"), self._reserve_memory(first=interactive) as reserve:
            image = decode(data, self._image_limits, spec.shorter_side, reserve)
            parts = [] if model.thresholds.parts is None else cut_parts(image)
            views = [preprocess(view, spec) for view in (image, *parts)]
            if (
                photo
                and photo.sha256
                and self.thumbnails
                and self.thumbnails.wants()
                and is_enough_for_thumbnail(image)
            ):
                self.thumbnails.keep(photo.sha256, encode_thumbnail(image))
        known = {"width": image.width, "height": image.height, "format": image.format, "taken_at": image.taken_at}
        return (photo or describe_bytes(data)).model_copy(update=known), views


async def _close_when_idle(old: ServingModel) -> None:
    try:
        await old.wait_until_idle()
    finally:
        await old.close()


def _score(model: LoadedModel, embeddings: list[Floats], photo: PhotoInfo) -> Tagging:
    whole, *parts = embeddings
    scored = score_labels(whole, model.vocabulary, model.engine, model.thresholds, parts)
    return Tagging(scored.status, scored.tags, scored.scores, photo, model.identity)


def _lower_priority() -> None:
    """Lower the priority of the calling thread. Only Linux can do this for a single thread."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BACKLOG_NICENESS)
