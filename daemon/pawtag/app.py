"""The composition root: from settings to everything opened, closed in reverse."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pawtag import labels as labels_module
from pawtag.config import Settings
from pawtag.errors import ConfigError, TemporaryError
from pawtag.folder.sidecar import Sidecars
from pawtag.folder.source import FolderSource
from pawtag.labels import Labels, Thresholds, fingerprint
from pawtag.models import known_answer, text_cache
from pawtag.models.checkpoint import Checkpoint, find
from pawtag.pipeline import Pipeline
from pawtag.ports import Model
from pawtag.progress import report_backlog
from pawtag.records import Fingerprints, PhotoRef, now
from pawtag.server import Desk, serving
from pawtag.stamps import Judge
from pawtag.tagger import Tagger, prompts, word_vectors

log = logging.getLogger(__name__)
Result = TypeVar("Result")

DEFAULT_FOLDER = Path("photos")
# Counts up where the pixels that a model is given change: old records then become stale.
PREPROCESSING = 1


@dataclass(frozen=True, slots=True)
class Loaded:
    """A tagger and what an operator wants to know of its model."""

    tagger: Tagger
    checkpoint: Checkpoint
    model: Model
    calibrated: bool


def load(settings: Settings, labels: Labels) -> Loaded:
    """Find, load and verify the model, and embed the labels' prompts: seconds, in the calling thread.

    Raises ModelError and ConfigError.
    """
    from pawtag.models.torch_engine import TorchModel

    checkpoint = find(settings.model)
    model = TorchModel(checkpoint, settings.model.device, settings.limits.threads)
    known_answer.verify(model, checkpoint, settings.model.cache_dir)
    vocabulary = word_vectors(labels, text_cache.embeddings(model, prompts(labels), settings.model.cache_dir))
    calibration = checkpoint.calibration()
    thresholds = _thresholds(settings, calibration)
    names = fingerprints(checkpoint, model.digest, labels, thresholds)
    tagger = Tagger(model, vocabulary, thresholds, fingerprints=names, limits=settings.limits)
    return Loaded(tagger, checkpoint, model, calibrated=calibration is not None)


def _thresholds(settings: Settings, calibration: Thresholds | None) -> Thresholds:
    measured = calibration or Thresholds()
    own = settings.labels.tag_threshold
    return measured if own is None else Thresholds(own, min(own, measured.also), measured.temperature)


def fingerprints(checkpoint: Checkpoint, digest: str, labels: Labels, thresholds: Thresholds) -> Fingerprints:
    """What makes a record stale, as digests."""
    name = checkpoint.name
    by = fingerprint([name.id, name.revision, digest, labels.fingerprint, asdict(thresholds), PREPROCESSING])
    return Fingerprints(name, labels.fingerprint, by)


def folder_of(settings: Settings) -> Path:
    """The folder to watch; ./photos, made if absent, where none is set. Raises ConfigError."""
    folder = settings.folder.path or DEFAULT_FOLDER
    if settings.folder.path is None:
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"The folder {folder.absolute()} cannot be made ({error.strerror}); set folder.path."
            ) from error
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is no folder; set folder.path.")
    return folder.resolve()  # watchdog does not follow a link to the folder itself


@dataclass(frozen=True, slots=True)
class FolderWork:
    """A folder's source and the pipeline that works it off."""

    source: FolderSource
    pipeline: Pipeline
    needs: Callable[[PhotoRef], bool]


def folder_work(settings: Settings, root: Path, tagger: Tagger) -> FolderWork:
    """The folder's part of the daemon, not yet running."""
    sidecars, judge = Sidecars(root, settings.sidecar.dir), Judge(tagger.fingerprints, now())
    needs = partial(_needs, judge, sidecars)
    source = FolderSource(root, settings.folder, needs, max_bytes=settings.limits.max_file_bytes)
    pipeline = Pipeline(source, sidecars, tagger, judge=judge, in_hand=settings.limits.in_hand)
    return FolderWork(source, pipeline, needs)


def _needs(judge: Judge, sidecars: Sidecars, ref: PhotoRef) -> bool:
    try:
        return not judge.is_current(sidecars.current(ref), ref)
    except TemporaryError:
        return True  # the pipeline meets the same fault, and retries and names it


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """The daemon: serve, watch and tag until `stop` is set, then finish what is in hand.

    Raises PawtagError where it cannot start.
    """
    labels = labels_module.load(settings.labels.file)
    root = folder_of(settings)
    desk = Desk(settings, labels)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(desk))
        loaded = await _unless(stop, partial(load, settings, labels))
        if loaded is None:
            return
        _introduce(loaded, root, server.address)
        await stack.enter_async_context(loaded.tagger.running())
        stack.push_async_callback(server.drain)  # before the tagger closes: requests in hand are answered
        work = folder_work(settings, root, loaded.tagger)
        desk.sources.append(lambda: work.pipeline.state)
        desk.tagger, desk.engine, desk.calibrated = loaded.tagger, loaded.model.engine, loaded.calibrated
        log.info("ready")
        async with background(_close(desk, stop), "close"):
            await _work(work, stop)


async def _close(desk: Desk, stop: asyncio.Event) -> None:
    """Once stopping, new photos are refused; those in hand are answered."""
    await stop.wait()
    log.info("stopping")
    desk.tagger, desk.loading = None, "it is stopping"


async def _work(work: FolderWork, stop: asyncio.Event) -> None:
    async with work.source.watching(), background(report_backlog(work.source, work.pipeline.counts), "progress"):
        await work.pipeline.run(stop)


@asynccontextmanager
async def background(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Run a coroutine beside the context, and cancel it at the end."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _unless(stop: asyncio.Event, work: Callable[[], Result]) -> Result | None:
    """What `work` returns from a thread; None where `stop` is set first. Nobody waits for the thread then."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Result] = loop.create_future()

    def deliver(settle: Callable[[], None]) -> None:
        if not answer.done():
            settle()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:
            loop.call_soon_threadsafe(deliver, partial(answer.set_exception, error))
        else:
            loop.call_soon_threadsafe(deliver, partial(answer.set_result, result))

    threading.Thread(target=run, name="load", daemon=True).start()
    stopping = asyncio.create_task(stop.wait(), name="stop-while-loading")
    waited: set[asyncio.Future[Any]] = {answer, stopping}
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    return None if not answer.done() else answer.result()


def _introduce(loaded: Loaded, root: Path, address: str) -> None:
    name = loaded.checkpoint.name
    if name.fallback:
        log.warning("The model %s is not on this machine; the embedded model serves in its place.", name.wanted)
    log.info("model %s (%s), %s", name.id, loaded.model.engine, "calibrated" if loaded.calibrated else "not calibrated")
    log.info("watching %s", root)
    log.info("answering on %s (POST /tag)", address)
