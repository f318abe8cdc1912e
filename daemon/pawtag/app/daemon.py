"""The daemon: it opens everything, runs until it is stopped, and closes everything in reverse."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pawtag.app.runner import SourceRunner, run_in_background
from pawtag.app.startup import log_sources, log_startup
from pawtag.app.wiring import build_folder_runner, resolve_folder
from pawtag.config import Settings
from pawtag.config.labels_file import load_labels
from pawtag.domain.records import PhotoRef, TagRecord
from pawtag.inference.model_loader import LoadedModel
from pawtag.inference.model_manager import ModelManager
from pawtag.inference.tagger import Tagger
from pawtag.metrics import Metrics
from pawtag.server import RunningServer, ServerState, serve_http

log = logging.getLogger(__name__)

DAEMON_SPARE_THREADS = 8
MAX_RETAG_URIS = 100_000


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Serve, watch and tag until `stop` is set, then finish what is in flight.

    Raises PawtagError if the daemon cannot start.
    """
    labels = load_labels(settings.labels.file)
    root = resolve_folder(settings)
    metrics = Metrics()
    manager = ModelManager(settings, labels, metrics, stop)
    state = ServerState(settings, labels, metrics, loading_step=lambda: manager.step, download=lambda: manager.progress)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serve_http(state))
        loaded = await manager.load_initial()
        if loaded is None:
            return
        log_startup(loaded, server.address, may_download=manager.may_download)
        log_sources(settings, root)
        await stack.enter_async_context(run_in_background(_refuse_after(stop, state), "refuse"))
        replacement = asyncio.create_task(manager.load_replacement(loaded), name="load-replacement")
        stack.callback(replacement.cancel)
        daemon = _Daemon(settings, root, state, server, stop)
        loaded = await daemon.run_model(loaded, replacement)
        if loaded is not None:
            await daemon.run_model(loaded, None)


@dataclass(frozen=True, slots=True)
class _Daemon:
    """What stays when the model is replaced."""

    settings: Settings
    root: Path | None
    state: ServerState
    server: RunningServer
    stop: asyncio.Event
    retag_uris: set[str] = field(default_factory=set)
    """The re-tag list: photos in buckets that the fallback tagged."""

    async def run_model(
        self, loaded: LoadedModel, replacement: asyncio.Task[LoadedModel | None] | None
    ) -> LoadedModel | None:
        """Tag with one model until `stop` is set, or until its replacement is loaded; returns the replacement.

        The old model answers what is in flight. Later requests wait for the new one, whose first scan finds every
        photo that needs a record.
        """
        async with loaded.tagger.run():
            runners = self._build_runners(loaded.tagger)
            self.state.activate(
                loaded.tagger,
                loaded.engine.description,
                *(runner.worker for runner in runners),
                calibrated=loaded.calibrated,
            )
            log.info("ready")
            ended = asyncio.Event()
            async with run_in_background(_set_after(self.stop, ended), "end-model"):
                if replacement is not None:
                    replacement.add_done_callback(partial(_end_if_replaced, ended))
                await _run_all(runners, ended)
            if replacement is None or self.stop.is_set():
                await self.server.drain()  # before the tagger closes: requests in flight get their answer
                return None
            following = replacement.result()
            self.state.tagger = following.tagger if following else None
        return following

    def _build_runners(self, tagger: Tagger) -> list[SourceRunner]:
        runners = self._build_s3_runners(tagger) if self.settings.s3.is_set else []
        if self.root is not None:
            folder = build_folder_runner(self.settings, self.root, tagger)
            self.state.metrics.watch_pending("folder", lambda: folder.pending)
            runners.append(folder)
        return runners

    def _build_s3_runners(self, tagger: Tagger) -> list[SourceRunner]:
        from pawtag.app.s3_wiring import S3Wiring  # boto3 takes half a second

        wiring = S3Wiring(self.settings)
        queues, pushes = wiring.build_queue_runners(tagger), wiring.build_push_runners(tagger)
        runners: list[SourceRunner] = [*queues, *pushes, *wiring.build_retag_runners(tagger, self.retag_uris)]
        threads = len(runners) * self.settings.s3.concurrency + DAEMON_SPARE_THREADS
        asyncio.get_running_loop().set_default_executor(_AbandonedThreads(threads, thread_name_prefix="photo"))
        for runner in runners:
            self.state.metrics.watch_pending(runner.worker.state.name, partial(getattr, runner, "pending"))
            if tagger.identity.model.fallback:
                runner.worker.on_record = self._remember_for_retag
        self.state.accept_notification = pushes[0].inbox.accept if pushes else None
        return runners

    def _remember_for_retag(self, ref: PhotoRef, _: TagRecord) -> None:
        """Finished messages are deleted: only this list knows what to tag again."""
        if len(self.retag_uris) < MAX_RETAG_URIS:
            self.retag_uris.add(ref.uri)
            if len(self.retag_uris) == MAX_RETAG_URIS:
                log.warning("The re-tag list is full: run 'pawtag s3 scan' when the wanted model serves.")


class _AbandonedThreads(ThreadPoolExecutor):
    """Threads that the shutdown does not wait for: a store that does not answer would delay it for minutes."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT002
        super().shutdown(wait=False, cancel_futures=cancel_futures)


async def _run_all(runners: list[SourceRunner], ended: asyncio.Event) -> None:
    """Run all of them until `ended` is set. An error in one ends all, and is raised unchanged."""
    try:
        async with asyncio.TaskGroup() as tasks:
            for number, runner in enumerate(runners):
                tasks.create_task(runner.run(ended), name=f"runner {number}")
    except ExceptionGroup as group:
        raise group.exceptions[0] from group


def _end_if_replaced(ended: asyncio.Event, replacement: asyncio.Task[LoadedModel | None]) -> None:
    if not replacement.cancelled() and replacement.result() is not None:
        ended.set()


async def _set_after(first: asyncio.Event, second: asyncio.Event) -> None:
    await first.wait()
    second.set()


async def _refuse_after(stop: asyncio.Event, state: ServerState) -> None:
    """Refuse new photos once `stop` is set. Those in flight get their answer."""
    await stop.wait()
    log.info("stopping")
    state.tagger, state.unready_reason = None, "the daemon is stopping"
