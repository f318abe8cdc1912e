"""The composition root: from settings to everything opened, closed in reverse."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pawtag import labels as labels_module
from pawtag.config import Settings
from pawtag.errors import ConfigError, PawtagError
from pawtag.folder.sidecar import Sidecars
from pawtag.folder.source import FolderSource
from pawtag.folder.walk import read
from pawtag.loading import Loaded
from pawtag.metrics import Metrics
from pawtag.pipeline import Pipeline
from pawtag.progress import report_backlog
from pawtag.records import PhotoRef, now
from pawtag.server import Desk, Serving, serving
from pawtag.stamps import Judge
from pawtag.succession import Succession
from pawtag.tagger import Tagger, facts

log = logging.getLogger(__name__)

DEFAULT_FOLDER = Path("photos")


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


def folder_work(settings: Settings, root: Path, tagger: Tagger, *, verify: bool = False) -> FolderWork:
    """The folder's part of the daemon, not yet running. With `verify` photos are compared by their content."""
    sidecars, judge = sidecars_of(settings, root), Judge(tagger.fingerprints, now())
    needs = partial(_needs, judge, sidecars, verify_up_to=settings.limits.max_file_bytes if verify else None)
    judge = replace(judge, trusts_times=not verify)
    skipped = tagger.metrics.skipped
    source = FolderSource(root, settings.folder, needs, max_bytes=settings.limits.max_file_bytes, skipped=skipped)
    pipeline = Pipeline(source, sidecars, tagger, judge=judge, in_hand=settings.limits.in_hand)
    return FolderWork(source, pipeline, needs)


def sidecars_of(settings: Settings, root: Path) -> Sidecars:
    """The sidecars of a folder, or of a part of the folder that is watched: also then in its mirror tree's place."""
    mirror, watched = settings.sidecar.dir, settings.folder.path
    if mirror and watched and root.is_relative_to(watched.resolve()):
        mirror /= root.relative_to(watched.resolve())
    return Sidecars(root, mirror)


def _needs(judge: Judge, sidecars: Sidecars, ref: PhotoRef, *, verify_up_to: int | None) -> bool:
    """Whether a photo is owed a record; with `verify_up_to`, files of up to so many bytes are read and compared."""
    try:
        stamp = sidecars.current(ref)
        if stamp is None or not judge.is_current(stamp, ref):
            return True
        if verify_up_to is None or stamp.sha256 is None:
            return False
        return facts(read(ref.uri, verify_up_to).data).sha256 != stamp.sha256
    except PawtagError:
        return True  # the pipeline meets the same fault, and retries and names it


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """The daemon: serve, watch and tag until `stop` is set, then finish what is in hand.

    Raises PawtagError where it cannot start.
    """
    labels = labels_module.load(settings.labels.file)
    root = folder_of(settings)
    metrics = Metrics()
    succession = Succession(settings, labels, metrics, stop)
    desk = Desk(settings, labels, metrics, download=lambda: succession.progress)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(desk))
        loaded = await succession.first()
        if loaded is None:
            return
        _introduce(loaded, root, server.address, asks_hub=succession.may_ask)
        _warn_of_owner(settings, root)
        await stack.enter_async_context(background(_close(desk, stop), "close"))
        heir = asyncio.create_task(succession.heir(loaded), name="succession")
        stack.callback(heir.cancel)
        daemon = _Daemon(settings, root, desk, server, stop)
        loaded = await daemon.term(loaded, heir)
        if loaded is not None:
            await daemon.term(loaded, None)


@dataclass(frozen=True, slots=True)
class _Daemon:
    """What stays when the model changes."""

    settings: Settings
    root: Path
    desk: Desk
    server: Serving
    stop: asyncio.Event

    async def term(self, loaded: Loaded, heir: asyncio.Task[Loaded | None] | None) -> Loaded | None:
        """Tag by one model until it is time to stop, or until its heir is there, which is returned.

        Nothing is lost between the two: the old model answers what it has in hand, the new one what comes from
        then on, and its first scan finds every photo that is owed a record.
        """
        async with loaded.tagger.running():
            work = folder_work(self.settings, self.root, loaded.tagger)
            self.desk.open(loaded.tagger, loaded.model.engine, work.pipeline, calibrated=loaded.calibrated)
            self.desk.metrics.watch_depth("folder", lambda: work.source.waiting)
            log.info("ready")
            ended = asyncio.Event()
            async with background(_set_after(ended, self.stop), "end-of-term"):
                if heir is not None:
                    heir.add_done_callback(partial(_end_if_it_came, ended))
                await _work(work, ended)
            if heir is None or self.stop.is_set():
                await self.server.drain()  # before the tagger closes: requests in hand are answered
                return None
            following = heir.result()
            self.desk.tagger = following.tagger if following else None
        return following


def _end_if_it_came(ended: asyncio.Event, heir: asyncio.Task[Loaded | None]) -> None:
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


def _introduce(loaded: Loaded, root: Path, address: str, *, asks_hub: bool) -> None:
    name = loaded.checkpoint.name
    if name.fallback:
        ahead = "until it has been downloaded" if asks_hub else "(model.hub or HF_HUB_OFFLINE forbids to download it)"
        log.warning("The model %s is not on this machine; the embedded model serves %s.", name.wanted, ahead)
    log.info("model %s (%s), %s", name.id, loaded.model.engine, "calibrated" if loaded.calibrated else "not calibrated")
    log.info("watching %s", root)
    log.info("answering on %s (POST /tag)", address)
