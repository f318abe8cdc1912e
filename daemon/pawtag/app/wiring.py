"""Wiring of the folder: from the settings to its source, sidecars, worker and runner."""

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pawtag.app.pipeline_parts import PipelineParts
from pawtag.app.runner import FolderRunner
from pawtag.config import Settings
from pawtag.domain.errors import ConfigError, PawtagError, TemporaryError
from pawtag.domain.freshness import Verdict
from pawtag.domain.outcomes import PhotoSkipped
from pawtag.domain.records import PhotoRef, Stamp, describe_bytes
from pawtag.folder.place import Place, is_empty_folder
from pawtag.folder.scan import Scan
from pawtag.folder.scan_memory import ScanMemory
from pawtag.folder.sidecars import Sidecars
from pawtag.folder.source import FolderSource
from pawtag.folder.tuning import FolderTuning
from pawtag.folder.walk import Walk, read_photo
from pawtag.inference.tagger import Tagger
from pawtag.mounts import list_mounts_below
from pawtag.pipeline.reconciler import Reconciler
from pawtag.state.database import StateDatabase
from pawtag.state.resume_point import ResumePoint

DEFAULT_FOLDER = Path("photos")
SCANS = "scans.db"  # in the cache

OnStamp = Callable[[PhotoRef, Stamp], None]


def resolve_folder(settings: Settings) -> Path | None:
    """The folder to watch, if any. If no source is set, it is ./photos, created if absent. Raises ConfigError."""
    if settings.folder.path is None and (settings.s3.queue_urls or settings.s3.bucket):
        return None
    folder = settings.folder.path or DEFAULT_FOLDER
    if settings.folder.path is None:
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            reason = f"The folder {folder.absolute()} cannot be created ({error.strerror})"
            raise ConfigError(f"{reason}; set folder.path.") from error
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder; set folder.path.")
    return folder.resolve()  # watchdog does not follow a link to the folder itself


def build_folder_runner(
    settings: Settings,
    root: Path,
    parts: PipelineParts,
    *,
    verify: bool = False,
    on_failed: OnStamp = lambda _ref, _stamp: None,
    on_current: OnStamp = lambda _ref, _stamp: None,
    tuning: FolderTuning | None = None,
) -> FolderRunner:
    """The runner of a folder. With `verify` photos are compared by their content, not by size and mtime.

    Scan threads call `on_failed` for each photo with a current record that says why it cannot be tagged, and
    `on_current` for each photo with a current record.
    """
    root_place, mirror_place = _build_places(settings, root, parts.database)
    sidecars, tagger = build_sidecars(settings, root, mirror_place), parts.tagger
    verify_up_to = settings.limits.max_file_bytes if verify else None
    reconciler = parts.build_reconciler(trusts_mtime=not verify)
    judge = _Judge(sidecars, reconciler, verify_up_to, on_failed, on_current)

    def open_memory() -> ScanMemory:
        return ScanMemory(settings.model.cache_dir / SCANS, _build_scan_key(settings, tagger, parts.database))

    build_scan = partial(
        Scan,
        judge=judge,
        sidecar_folder=sidecars.sidecar_folder,
        open_memory=None if verify else open_memory,
        is_unsettled=lambda path: any(path in output.unsettled for output in parts.outputs.values()),
    )
    source = FolderSource(
        root,
        settings.folder,
        build_scan,
        sidecars=sidecars,
        max_bytes=settings.limits.max_file_bytes,
        places=[root_place, *([mirror_place] if mirror_place else [])],
        on_skipped=lambda reason, count: parts.observers.publish(PhotoSkipped(reason, count)),
        on_gone=lambda path: parts.observers.publish(PhotoSkipped("gone", ref=PhotoRef(path))),
        tuning=tuning,
    )
    worker = parts.build_worker(source, concurrency=settings.folder.concurrency, reconciler=reconciler)
    return FolderRunner(root, source, worker, build_scan)


def _build_scan_key(settings: Settings, tagger: Tagger, database: StateDatabase) -> str:
    """A key of all that decides, besides photo and sidecar, whether a record is current, and of the sidecars' place.

    It has an id of state.db too: a new state.db has seen no record, so the next scan must read all of them.
    """
    birth = ResumePoint(database, "results")
    birth.position = birth.position or secrets.token_hex(8)
    with suppress(TemporaryError):
        birth.save()
    identity, sidecar = tagger.identity, settings.sidecar
    xmp = repr(sidecar.xmp_root) if sidecar.xmp else ""
    return f"{identity.fingerprint} {identity.model.wanted} {sidecar.dir or ''} {birth.position} {xmp}"


def build_sidecars(settings: Settings, root: Path, mirror_place: Place | None = None) -> Sidecars:
    """The sidecars of `root`, next to the photos or at its place in the mirror tree. Raises ConfigError.

    The mirror tree has a place only for the watched folder and the folders below it.
    """
    mirror = settings.sidecar.dir
    if mirror is None:
        return Sidecars(root)
    watched = (settings.folder.path or DEFAULT_FOLDER).resolve()
    if not root.is_relative_to(watched):
        reason = f"sidecar.dir holds the records of {watched}, and {root} is not below it"
        raise ConfigError(f"{reason}; set folder.path to the folder that {mirror} mirrors.")
    return Sidecars(
        root, mirror / root.relative_to(watched), mirror_place.check_device if mirror_place else _check_nothing
    )


def _build_places(settings: Settings, root: Path, database: StateDatabase) -> tuple[Place, Place | None]:
    """The root, and the mirror tree if there is one. Each place remembers the file system that it was on."""
    mirror = settings.sidecar.dir
    root_place = Place(root, ResumePoint(database, "place", str(root)), partial(_has_no_photo, root, settings))
    if mirror is None:
        return root_place, None
    return root_place, Place(mirror, ResumePoint(database, "place", str(mirror)), partial(is_empty_folder, mirror))


def _check_nothing() -> None:
    """No check: in a command, the user names the folder."""


def _has_no_photo(root: Path, settings: Settings) -> bool:
    networks = frozenset(mount.point for mount in list_mounts_below(root) if mount.is_network)  # one may hang
    walk = Walk(root, settings.folder, removes_temporary=False, passed_over=networks)
    return next(iter(walk), None) is None


@dataclass(frozen=True, slots=True)
class _Judge:
    """Decides in a scan's thread what a photo needs. With `verify_up_to`, it also compares files of up to this size."""

    sidecars: Sidecars
    reconciler: Reconciler
    verify_up_to: int | None
    on_failed: OnStamp
    on_current: OnStamp

    def __call__(self, ref: PhotoRef) -> Verdict:
        try:
            seen = self.sidecars.look(ref)
            verdict = self.reconciler.judge(seen, ref)
            if verdict is Verdict.NEEDED or self._has_changed(seen.stamp, ref):
                return Verdict.NEEDED
        except PawtagError:
            return Verdict.NEEDED  # the worker gets the same error, reports it and retries
        if verdict is Verdict.FAILED and seen.stamp:
            self.on_failed(ref, seen.stamp)
        if seen.stamp:
            self.on_current(ref, seen.stamp)
        return verdict

    def _has_changed(self, stamp: Stamp | None, ref: PhotoRef) -> bool:
        if self.verify_up_to is None or stamp is None or stamp.sha256 is None:
            return False
        return describe_bytes(read_photo(ref.uri, self.verify_up_to).data).sha256 != stamp.sha256
