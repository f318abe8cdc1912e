"""The daemon: it opens everything, runs until it is stopped, and closes everything in reverse."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pawtag.app.outputs import build_announcer, build_outputs, build_webhook
from pawtag.app.pipeline_parts import PipelineParts, build_suspects
from pawtag.app.runner import SourceRunner, run_in_background
from pawtag.app.startup import log_abandoned, log_sources, log_startup
from pawtag.app.wiring import OnStamp, build_folder_runner, resolve_folder
from pawtag.config import Settings
from pawtag.config.labels_file import load_labels
from pawtag.domain.errors import TemporaryError
from pawtag.domain.records import OBJECT_SCHEME, PhotoRef, Stamp
from pawtag.files import remove_left_overs
from pawtag.inference.model_manager import ModelManager
from pawtag.inference.tagger import Tagger
from pawtag.metrics import Metrics
from pawtag.pipeline.observers import Observers, RetryLog, count_in, log_results
from pawtag.pipeline.outbox_settlement import OutboxSettlement
from pawtag.pipeline.photo_operations import PhotoOperations
from pawtag.server import ServerState, serve_http
from pawtag.server.server_state import StoredResults
from pawtag.state.database import StateDatabase
from pawtag.state.dead_letters import DeadLetters
from pawtag.state.in_flight import InFlightPhotos
from pawtag.state.outbox import Outbox
from pawtag.state.results import RecentResult, RecentResults

log = logging.getLogger(__name__)

MAX_FAILED = 100  # in /status
THREADS = 16  # for blocking work that is not done in the threads of the sources or the tagger


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Serve, watch and tag until `stop` is set, then finish what is in flight.

    Raises PawtagError if the daemon cannot start.
    """
    labels = load_labels(settings.labels.file)
    root = resolve_folder(settings)
    metrics = Metrics()
    manager = ModelManager(settings, labels, stop)
    observers = Observers(count_in(metrics))
    state = ServerState(
        settings, labels, metrics, observers, loading_step=lambda: manager.step, download=lambda: manager.progress
    )
    asyncio.get_running_loop().set_default_executor(_AbandonedThreads(THREADS, thread_name_prefix="daemon"))
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serve_http(state))
        loaded = await manager.load_initial()
        if loaded is None:
            return
        database, abandoned = await stack.enter_async_context(_open_state(settings, state))
        state.lack = database.lack
        log_startup(loaded, server.address, may_download=manager.may_download)
        log_sources(settings, root)
        tagger = await stack.enter_async_context(Tagger(loaded, settings.limits, metrics).run())
        del loaded  # its memory belongs to the tagger, which may replace it
        suspects = build_suspects(abandoned, settings.limits, tagger)
        announcer, webhook = build_announcer(settings, database), build_webhook(settings, database, metrics)
        outputs = build_outputs(settings, database)
        parts = PipelineParts(tagger, database, observers, outputs, suspects=suspects, announcer=announcer)
        runners = _build_runners(settings, root, state, parts)
        state.find_operations = partial(_find_operations, runners)
        state.activate(tagger, *(runner.worker for runner in runners))
        if webhook:
            metrics.watch_outbox(lambda: webhook.pending)
            settlement = OutboxSettlement(Outbox(database), state.find_operations, _is_missing)
            await stack.enter_async_context(run_in_background(settlement.run(), "outbox"))
            await stack.enter_async_context(run_in_background(webhook.run(), "webhook"))
        stack.push_async_callback(state.finish_operations)
        stack.push_async_callback(server.drain)  # before the tagger closes: requests in flight get their answer
        await stack.enter_async_context(run_in_background(_refuse_after(stop, state), "refuse"))
        switch = ModelSwitch(manager, tagger, state, runners)
        await stack.enter_async_context(run_in_background(switch.run(), "model-switch"))
        cleaning = asyncio.to_thread(_clean_up, settings, database)
        await stack.enter_async_context(run_in_background(cleaning, "clean"))
        log.info("ready")
        await _run_all(runners, stop)


@dataclass(frozen=True, slots=True)
class ModelSwitch:
    """Replaces the fallback with the model of the settings once it is there. Sources and server keep running."""

    manager: ModelManager
    tagger: Tagger
    state: ServerState
    runners: list[SourceRunner]

    async def run(self) -> None:
        """Wait for the model of the settings, serve it, and make the sources find stale records."""
        model = await self.manager.load_replacement(self.tagger.model)
        if model is None:
            return
        self.tagger.replace(model)
        self.state.note_model()
        for runner in self.runners:
            runner.rescan()


@asynccontextmanager
async def _open_state(settings: Settings, state: ServerState) -> AsyncIterator[tuple[StateDatabase, list[str]]]:
    """Open the state, and add the observers of a daemon.

    Yields the database, and the photos that an earlier process was working on when it ended.
    """
    database = await asyncio.to_thread(StateDatabase, settings.state.dir)
    try:
        abandoned = await _take_abandoned(database)
        async with RecentResults(database, state.live_feed).keep() as results:
            state.is_missing = _is_missing
            state.results = results
            letters = DeadLetters(database)
            state.read_results = partial(_read_results, results, letters)
            state.metrics.watch_dead_letters(letters.count)
            for observer in (log_results, RetryLog(), results):
                state.observers.add(observer)
            yield database, abandoned
    finally:
        database.close()


async def _take_abandoned(database: StateDatabase) -> list[str]:
    """The photos that an earlier process was working on when it ended. The daemon starts even if this fails."""
    try:
        uris = await asyncio.to_thread(InFlightPhotos(database).take_abandoned)
    except TemporaryError as error:
        log.warning("%s", error)
        return []
    log_abandoned(uris)
    return uris


def _read_results(results: RecentResults, letters: DeadLetters) -> StoredResults:
    """The stored results for the status; empty on a fault of the state, so that the rest is still shown."""
    try:
        failed = tuple(_describe_failed(found) for found in results.list_newest("failed", MAX_FAILED))
        return StoredResults(results.count_failures(), failed, letters.count())
    except TemporaryError as error:
        log.debug("%s", error)
        return StoredResults()


def _is_missing(uri: str) -> bool:
    """Whether a file is gone while its folder exists. Without the folder, its disk may only be unmounted."""
    return not uri.startswith(OBJECT_SCHEME) and os.path.isdir(os.path.dirname(uri)) and not os.path.lexists(uri)  # noqa: PTH112, PTH120


def _describe_failed(found: RecentResult) -> dict[str, Any]:
    record = found.record
    error = record.error.model_dump(mode="json") if record and record.error else {}
    return {"uri": found.uri, **error, "at": record.tagged_at if record else None}


def _note_found(results: RecentResults | None) -> OnStamp:
    """A callback for scan threads: it passes a record that existed before to the recent results."""
    loop = asyncio.get_running_loop()

    def note(ref: PhotoRef, stamp: Stamp) -> None:
        if results and stamp.record and results.wants(ref.uri, stamp.record):
            loop.call_soon_threadsafe(results.note_found, ref.uri, stamp.record)

    return note


def _find_operations(runners: list[SourceRunner], uri: str) -> PhotoOperations | None:
    """The operations of the source that owns the URI; None without one. The owed runner owns all objects."""
    for runner in runners:
        if runner.owns(uri):
            return runner.worker.operations
    return None


def _clean_up(settings: Settings, database: StateDatabase) -> None:
    """Remove temporary files of killed processes, and results of photos that do not exist any more.

    The scan of the photo folder cleans that folder.
    """
    with suppress(TemporaryError):
        RecentResults(database).forget_missing(_is_missing)
    for folder in (settings.sidecar.dir, settings.state.dir, settings.model.cache_dir):
        if folder is not None:
            remove_left_overs(folder)


def _build_runners(
    settings: Settings, root: Path | None, state: ServerState, parts: PipelineParts
) -> list[SourceRunner]:
    runners = _build_s3_runners(settings, state, parts) if settings.s3.is_set else []
    if root is not None:
        folder = build_folder_runner(settings, root, parts, on_current=_note_found(state.results))
        folder.worker.count_pending = lambda: folder.pending
        state.metrics.watch_pending("folder", lambda: folder.pending)
        runners.append(folder)
    return runners


def _build_s3_runners(settings: Settings, state: ServerState, parts: PipelineParts) -> list[SourceRunner]:
    from pawtag.app.s3_wiring import S3Wiring  # boto3 takes half a second

    wiring = S3Wiring(settings, on_error=state.metrics.count_store_error)
    owed = wiring.build_owed_runner(parts)
    queues = wiring.build_queue_runners(parts)
    for queue in queues:
        state.metrics.watch_oldest_message(queue.worker.state.name, queue.source.find_oldest_age_s)
    runners: list[SourceRunner] = [*queues, owed]
    for runner in runners:
        runner.worker.count_pending = partial(getattr, runner, "pending")
        state.metrics.watch_pending(runner.worker.state.name, partial(getattr, runner, "pending"))
    state.accept_notification = owed.inbox.accept if wiring.accepts_pushes else None
    return runners


class _AbandonedThreads(ThreadPoolExecutor):
    """Threads that the shutdown does not wait for: a store or a disk that does not answer would delay it for minutes."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT002
        super().shutdown(wait=False, cancel_futures=cancel_futures)


async def _run_all(runners: list[SourceRunner], stop: asyncio.Event) -> None:
    """Run all of them until `stop` is set. An error in one ends all, and is raised unchanged."""
    try:
        async with asyncio.TaskGroup() as tasks:
            for number, runner in enumerate(runners):
                tasks.create_task(runner.run(stop), name=f"runner {number}")
    except ExceptionGroup as group:
        raise group.exceptions[0] from group


async def _refuse_after(stop: asyncio.Event, state: ServerState) -> None:
    """Refuse new photos once `stop` is set. Those in flight get their answer."""
    await stop.wait()
    log.info("stopping")
    state.live_feed.close()
    state.tagger, state.unready_reason = None, "the daemon is stopping"
