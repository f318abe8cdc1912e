"""What a daemon works off: the folder's photos; S3's are in `buckets`."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from pawtag.config import Settings
from pawtag.errors import ConfigError, PawtagError
from pawtag.folder.sidecar import Sidecars
from pawtag.folder.source import FolderSource
from pawtag.folder.walk import read
from pawtag.pipeline import Pipeline
from pawtag.progress import report_backlog
from pawtag.records import PhotoRef, now
from pawtag.stamps import Judge
from pawtag.tagger import Tagger, facts

DEFAULT_FOLDER = Path("photos")


def folder_of(settings: Settings) -> Path | None:
    """The folder to watch; ./photos, made if absent, where no source is set. Raises ConfigError."""
    if settings.folder.path is None and (settings.s3.queue_urls or settings.s3.bucket):
        return None
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


class Work(Protocol):
    """One source and its pipeline."""

    @property
    def pipeline(self) -> Pipeline:
        """What brings its photos up to date."""

    @property
    def waiting(self) -> int:
        """How many photos are known to wait."""

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish what is in hand."""


@dataclass(frozen=True, slots=True)
class FolderWork:
    """A folder's source and the pipeline that works it off."""

    source: FolderSource
    pipeline: Pipeline
    needs: Callable[[PhotoRef], bool]

    @property
    def waiting(self) -> int:
        """How many photos are known to wait."""
        return self.source.waiting

    async def run(self, stop: asyncio.Event) -> None:
        """Watch, scan and tag."""
        async with self.source.watching(), background(report_backlog(self.source, self.pipeline.counts), "progress"):
            await self.pipeline.run(stop)


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


@asynccontextmanager
async def background(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Run a coroutine beside the context, and cancel it at the end."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
