"""The composition root: from settings to everything opened, closed in reverse."""

import asyncio
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pawtag.app.runner import SourceRunner, run_in_background
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

SPARE_THREADS = 8
MAX_RETAG_URIS = 100_000


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """The daemon: serve, watch and tag until `stop` is set, then finish what is in hand.

    Raises PawtagError where it cannot start.
    """
    labels = load_labels(settings.labels.file)
    root = resolve_folder(settings)
    metrics = Metrics()
    manager = ModelManager(settings, labels, metrics, stop)
    state = ServerState(settings, labels, metrics, download=lambda: manager.progress)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serve_http(state))
        loaded = await manager.load_initial()
        if loaded is None:
            return
        _log_startup(loaded, server.address, asks_hub=manager.may_download)
        _log_sources(settings, root)
        await stack.enter_async_context(run_in_background(_refuse_new_work(state, stop), "close"))
        replacement = asyncio.create_task(manager.load_replacement(loaded), name="model-replacement")
        stack.callback(replacement.cancel)
        daemon = _Daemon(settings, root, state, server, stop)
        loaded = await daemon.run_model(loaded, replacement)
        if loaded is not None:
            await daemon.run_model(loaded, None)


@dataclass(frozen=True, slots=True)
class _Daemon:
    """What stays when the model changes."""

    settings: Settings
    root: Path | None
    state: ServerState
    server: RunningServer
    stop: asyncio.Event
    retag_uris: set[str] = field(default_factory=set)
    """What the fallback tagged in buckets."""

    async def run_model(
        self, loaded: LoadedModel, replacement: asyncio.Task[LoadedModel | None] | None
    ) -> LoadedModel | None:
        """Tag by one model until it is time to stop, or until its heir is there, which is returned.

        Nothing is lost between the two: the old model answers what it has in hand, the new one what comes from
        then on, and its first scan finds every photo that is owed a record.
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
            async with run_in_background(_set_after(ended, self.stop), "end-of-term"):
                if replacement is not None:
                    replacement.add_done_callback(partial(_end_if_replaced, ended))
                await _run_all(runners, ended)
            if replacement is None or self.stop.is_set():
                await self.server.drain()  # before the tagger closes: requests in hand are answered
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
        from pawtag.app.s3_wiring import (  # boto3 takes its time
            build_push_runners,
            build_queue_runners,
            build_retag_runners,
        )

        queues, pushes = build_queue_runners(self.settings, tagger), build_push_runners(self.settings, tagger)
        runners: list[SourceRunner] = [*queues, *pushes, *build_retag_runners(self.settings, tagger, self.retag_uris)]
        threads = _AbandonedThreads(
            len(runners) * self.settings.s3.concurrency + SPARE_THREADS, thread_name_prefix="photo"
        )
        asyncio.get_running_loop().set_default_executor(threads)
        for runner in runners:
            self.state.metrics.watch_pending(runner.worker.state.name, partial(getattr, runner, "pending"))
            if tagger.identity.model.fallback:
                runner.worker.on_record = self._remember_for_retag
        self.state.accept_notification = pushes[0].inbox.accept if pushes else None
        return runners

    def _remember_for_retag(self, ref: PhotoRef, _: TagRecord) -> None:
        """Messages are gone once they are dealt with: what is to be tagged again must be remembered here."""
        if len(self.retag_uris) < MAX_RETAG_URIS:
            self.retag_uris.add(ref.uri)
            if len(self.retag_uris) == MAX_RETAG_URIS:
                log.warning("What the fallback tags from now on in buckets stays so until 'pawtag s3 scan'.")


class _AbandonedThreads(ThreadPoolExecutor):
    """Threads that nobody waits for at the end: a store that does not answer would hold the daemon for minutes."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT002
        super().shutdown(wait=False, cancel_futures=cancel_futures)


async def _run_all(runners: list[SourceRunner], ended: asyncio.Event) -> None:
    """All of them until `ended`. An error that ends one ends all, and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as tasks:
            for number, runner in enumerate(runners):
                tasks.create_task(runner.run(ended), name=f"work {number}")
    except ExceptionGroup as group:
        raise group.exceptions[0] from group


def _end_if_replaced(ended: asyncio.Event, replacement: asyncio.Task[LoadedModel | None]) -> None:
    if not replacement.cancelled() and replacement.result() is not None:
        ended.set()


async def _set_after(ended: asyncio.Event, stop: asyncio.Event) -> None:
    await stop.wait()
    ended.set()


async def _refuse_new_work(state: ServerState, stop: asyncio.Event) -> None:
    """Once stopping, new photos are refused; those in hand are answered."""
    await stop.wait()
    log.info("stopping")
    state.tagger, state.unready_reason = None, "it is stopping"


def _warn_if_unwritable(settings: Settings, root: Path) -> None:
    """Say what mends a folder that cannot be written: Docker makes a missing one as root."""
    place = settings.sidecar.dir or root
    if place.is_dir() and not os.access(place, os.W_OK):
        owner, us, group = place.stat().st_uid, os.getuid(), os.getgid()
        log.warning(
            "%s belongs to user %d, and pawtag runs as user %d: no sidecar can be written there. "
            "'chown %d:%d' of it mends that (on the host, where this is a container), or set sidecar.dir.",
            place,
            owner,
            us,
            us,
            group,
        )


def _log_sources(settings: Settings, root: Path | None) -> None:
    for url in settings.s3.queue_urls:
        log.info("receiving from %s", url)
    if settings.s3.bucket and (settings.s3.rescan_s or not settings.s3.queue_urls):
        log.info("sweeping the bucket %s, events at POST /notifications/s3", settings.s3.bucket)
        if settings.server.api_key is None:
            log.warning("Without server.api_key no events are taken: only the sweeps find new photos.")
    if root is not None:
        log.info("watching %s", root)
        _warn_if_unwritable(settings, root)


def _log_startup(loaded: LoadedModel, address: str, *, asks_hub: bool) -> None:
    name = loaded.checkpoint.name
    if name.fallback:
        ahead = (
            "until it has been downloaded" if asks_hub else "(model.download or HF_HUB_OFFLINE forbids to download it)"
        )
        log.warning("The model %s is not on this machine; the embedded model serves %s.", name.wanted, ahead)
    log.info(
        "model %s (%s), %s", name.id, loaded.engine.description, "calibrated" if loaded.calibrated else "not calibrated"
    )
    log.info("answering on %s (POST /tag)", address)
