"""What a daemon works off: the folder's photos; S3's are in `buckets`."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from pawtag.app.runner import FolderWork
from pawtag.config import Settings
from pawtag.domain.errors import ConfigError, PawtagError
from pawtag.domain.freshness import FreshnessPolicy
from pawtag.domain.records import PhotoRef, now
from pawtag.folder.sidecars import Sidecars
from pawtag.folder.source import FolderSource
from pawtag.folder.walk import read
from pawtag.inference.tagger import Tagger, describe_bytes
from pawtag.pipeline.worker import Pipeline

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


def folder_work(settings: Settings, root: Path, tagger: Tagger, *, verify: bool = False) -> FolderWork:
    """The folder's part of the daemon, not yet running. With `verify` photos are compared by their content."""
    sidecars, judge = sidecars_of(settings, root), FreshnessPolicy(tagger.identity, now())
    needs = partial(_needs, judge, sidecars, verify_up_to=settings.limits.max_file_bytes if verify else None)
    judge = replace(judge, trusts_mtime=not verify)
    skipped = tagger.metrics.count_skipped
    source = FolderSource(root, settings.folder, needs, max_bytes=settings.limits.max_file_bytes, skipped=skipped)
    pipeline = Pipeline(source, sidecars, tagger, judge=judge, in_hand=settings.limits.in_hand)
    return FolderWork(source, pipeline, needs)


def sidecars_of(settings: Settings, root: Path) -> Sidecars:
    """The sidecars of a folder, or of a part of the folder that is watched: also then in its mirror tree's place."""
    mirror, watched = settings.sidecar.dir, settings.folder.path
    if mirror and watched and root.is_relative_to(watched.resolve()):
        mirror /= root.relative_to(watched.resolve())
    return Sidecars(root, mirror)


def _needs(judge: FreshnessPolicy, sidecars: Sidecars, ref: PhotoRef, *, verify_up_to: int | None) -> bool:
    """Whether a photo is owed a record; with `verify_up_to`, files of up to so many bytes are read and compared."""
    try:
        stamp = sidecars.current(ref)
        if stamp is None or not judge.is_current(stamp, ref):
            return True
        if verify_up_to is None or stamp.sha256 is None:
            return False
        return describe_bytes(read(ref.uri, verify_up_to).data).sha256 != stamp.sha256
    except PawtagError:
        return True  # the pipeline meets the same fault, and retries and names it
