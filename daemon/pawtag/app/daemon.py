"""The composition root: from settings to everything opened, closed in reverse."""

import asyncio
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pawtag.app.runner import Work, background
from pawtag.app.wiring import folder_of, folder_work
from pawtag.config import Settings
from pawtag.config.labels_file import load_labels
from pawtag.domain.records import PhotoRef, TagRecord
from pawtag.inference.model_loader import LoadedModel
from pawtag.inference.model_manager import ModelManager
from pawtag.inference.tagger import Tagger
from pawtag.metrics import Metrics
from pawtag.server import Desk, Serving, serving

log = logging.getLogger(__name__)

SPARE_THREADS = 8
MOST_PROVISIONAL = 100_000


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """The daemon: serve, watch and tag until `stop` is set, then finish what is in hand.

    Raises PawtagError where it cannot start.
    """
    labels = load_labels(settings.labels.file)
    root = folder_of(settings)
    metrics = Metrics()
    succession = ModelManager(settings, labels, metrics, stop)
    desk = Desk(settings, labels, metrics, download=lambda: succession.progress)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(desk))
        loaded = await succession.load_initial()
        if loaded is None:
            return
        _introduce(loaded, server.address, asks_hub=succession.may_download)
        _name_sources(settings, root)
        await stack.enter_async_context(background(_close(desk, stop), "close"))
        heir = asyncio.create_task(succession.load_replacement(loaded), name="succession")
        stack.callback(heir.cancel)
        daemon = _Daemon(settings, root, desk, server, stop)
        loaded = await daemon.term(loaded, heir)
        if loaded is not None:
            await daemon.term(loaded, None)


@dataclass(frozen=True, slots=True)
class _Daemon:
    """What stays when the model changes."""

    settings: Settings
    root: Path | None
    desk: Desk
    server: Serving
    stop: asyncio.Event
    provisional: set[str] = field(default_factory=set)
    """What the fallback tagged in buckets."""

    async def term(self, loaded: LoadedModel, heir: asyncio.Task[LoadedModel | None] | None) -> LoadedModel | None:
        """Tag by one model until it is time to stop, or until its heir is there, which is returned.

        Nothing is lost between the two: the old model answers what it has in hand, the new one what comes from
        then on, and its first scan finds every photo that is owed a record.
        """
        async with loaded.tagger.run():
            works = self._works(loaded.tagger)
            self.desk.open(
                loaded.tagger,
                loaded.engine.description,
                *(work.pipeline for work in works),
                calibrated=loaded.calibrated,
            )
            log.info("ready")
            ended = asyncio.Event()
            async with background(_set_after(ended, self.stop), "end-of-term"):
                if heir is not None:
                    heir.add_done_callback(partial(_end_if_it_came, ended))
                await _run_all(works, ended)
            if heir is None or self.stop.is_set():
                await self.server.drain()  # before the tagger closes: requests in hand are answered
                return None
            following = heir.result()
            self.desk.tagger = following.tagger if following else None
        return following

    def _works(self, tagger: Tagger) -> list[Work]:
        works = self._bucket_works(tagger) if self.settings.s3.is_set else []
        if self.root is not None:
            folder = folder_work(self.settings, self.root, tagger)
            self.desk.metrics.watch_pending("folder", lambda: folder.waiting)
            works.append(folder)
        return works

    def _bucket_works(self, tagger: Tagger) -> list[Work]:
        from pawtag.app.s3_wiring import push_works, queue_works, renewal_works  # boto3 takes its time

        queues, pushes = queue_works(self.settings, tagger), push_works(self.settings, tagger)
        works: list[Work] = [*queues, *pushes, *renewal_works(self.settings, tagger, self.provisional)]
        threads = _Threads(len(works) * self.settings.s3.concurrency + SPARE_THREADS, thread_name_prefix="photo")
        asyncio.get_running_loop().set_default_executor(threads)
        for work in works:
            self.desk.metrics.watch_pending(work.pipeline.state.name, partial(getattr, work, "waiting"))
            if tagger.identity.model.fallback:
                work.pipeline.on_record = self._note
        self.desk.events = pushes[0].inbox.accept if pushes else None
        return works

    def _note(self, ref: PhotoRef, _: TagRecord) -> None:
        """Messages are gone once they are dealt with: what is to be tagged again must be remembered here."""
        if len(self.provisional) < MOST_PROVISIONAL:
            self.provisional.add(ref.uri)
            if len(self.provisional) == MOST_PROVISIONAL:
                log.warning("What the fallback tags from now on in buckets stays so until 'pawtag s3 scan'.")


class _Threads(ThreadPoolExecutor):
    """Threads that nobody waits for at the end: a store that does not answer would hold the daemon for minutes."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT002
        super().shutdown(wait=False, cancel_futures=cancel_futures)


async def _run_all(works: list[Work], ended: asyncio.Event) -> None:
    """All of them until `ended`. An error that ends one ends all, and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as tasks:
            for number, work in enumerate(works):
                tasks.create_task(work.run(ended), name=f"work {number}")
    except ExceptionGroup as group:
        raise group.exceptions[0] from group


def _end_if_it_came(ended: asyncio.Event, heir: asyncio.Task[LoadedModel | None]) -> None:
    if not heir.cancelled() and heir.result() is not None:
        ended.set()


async def _set_after(ended: asyncio.Event, stop: asyncio.Event) -> None:
    await stop.wait()
    ended.set()


async def _close(desk: Desk, stop: asyncio.Event) -> None:
    """Once stopping, new photos are refused; those in hand are answered."""
    await stop.wait()
    log.info("stopping")
    desk.tagger, desk.loading = None, "it is stopping"


def _warn_of_owner(settings: Settings, root: Path) -> None:
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


def _name_sources(settings: Settings, root: Path | None) -> None:
    for url in settings.s3.queue_urls:
        log.info("receiving from %s", url)
    if settings.s3.bucket and (settings.s3.rescan_s or not settings.s3.queue_urls):
        log.info("sweeping the bucket %s, events at POST /events/s3", settings.s3.bucket)
        if settings.server.api_key is None:
            log.warning("Without server.api_key no events are taken: only the sweeps find new photos.")
    if root is not None:
        log.info("watching %s", root)
        _warn_of_owner(settings, root)


def _introduce(loaded: LoadedModel, address: str, *, asks_hub: bool) -> None:
    name = loaded.checkpoint.name
    if name.fallback:
        ahead = "until it has been downloaded" if asks_hub else "(model.hub or HF_HUB_OFFLINE forbids to download it)"
        log.warning("The model %s is not on this machine; the embedded model serves %s.", name.wanted, ahead)
    log.info(
        "model %s (%s), %s", name.id, loaded.engine.description, "calibrated" if loaded.calibrated else "not calibrated"
    )
    log.info("answering on %s (POST /tag)", address)
