"""Wiring of the folder: from the settings to its source, sidecars, worker and runner."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from pawtag.app.runner import FolderRunner
from pawtag.clock import utc_timestamp
from pawtag.config import Settings
from pawtag.domain.errors import ConfigError, PawtagError
from pawtag.domain.freshness import FreshnessPolicy, Verdict
from pawtag.domain.records import PhotoRef, describe_bytes
from pawtag.folder.scan import Scan
from pawtag.folder.scan_memory import ScanMemory
from pawtag.folder.sidecars import Sidecars
from pawtag.folder.source import FolderSource
from pawtag.folder.tuning import FolderTuning
from pawtag.folder.walk import read_photo
from pawtag.inference.tagger import Tagger
from pawtag.pipeline.worker import Worker

DEFAULT_FOLDER = Path("photos")
SCANS = "scans.db"  # in the cache


def resolve_folder(settings: Settings) -> Path | None:
    """The folder to watch: ./photos, created if absent, when no source is set. Raises ConfigError."""
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
        raise ConfigError(f"{folder} is no folder; set folder.path.")
    return folder.resolve()  # watchdog does not follow a link to the folder itself


def build_folder_runner(
    settings: Settings, root: Path, tagger: Tagger, *, verify: bool = False, tuning: FolderTuning | None = None
) -> FolderRunner:
    """The runner of a folder. With `verify` photos are compared by their content, not by size and mtime."""
    sidecars, policy = build_sidecars(settings, root), FreshnessPolicy(tagger.identity, utc_timestamp())
    verify_up_to = settings.limits.max_file_bytes if verify else None
    judge = partial(_judge, policy, sidecars, verify_up_to=verify_up_to)
    open_memory = partial(ScanMemory, settings.model.cache_dir / SCANS, _build_scan_key(settings, tagger))
    build_scan = partial(
        Scan, judge=judge, sidecar_folder=sidecars.sidecar_folder, open_memory=None if verify else open_memory
    )
    source = FolderSource(
        root,
        settings.folder,
        build_scan,
        max_bytes=settings.limits.max_file_bytes,
        on_skipped=tagger.metrics.count_skipped,
        tuning=tuning,
    )
    policy = replace(policy, trusts_mtime=not verify)
    worker = Worker(source, sidecars, tagger, policy=policy, concurrency=settings.folder.concurrency)
    return FolderRunner(source, worker, build_scan)


def _build_scan_key(settings: Settings, tagger: Tagger) -> str:
    """What decides, besides photo and sidecar, whether a record is current, and where the sidecars are."""
    return f"{tagger.identity.fingerprint} {tagger.identity.model.wanted} {settings.sidecar.dir or ''}"


def build_sidecars(settings: Settings, root: Path) -> Sidecars:
    """The sidecars of `root`. Below the watched folder they stay at its place in the mirror tree."""
    mirror, watched = settings.sidecar.dir, settings.folder.path
    if mirror and watched and root.is_relative_to(watched.resolve()):
        mirror /= root.relative_to(watched.resolve())
    return Sidecars(root, mirror)


def _judge(policy: FreshnessPolicy, sidecars: Sidecars, ref: PhotoRef, *, verify_up_to: int | None) -> Verdict:
    """What a photo needs. With `verify_up_to`, files of up to so many bytes are read and compared."""
    try:
        stamp = sidecars.read_stamp(ref)
        verdict = policy.judge(stamp, ref)
        if stamp is None or verdict is Verdict.NEEDED or verify_up_to is None or stamp.sha256 is None:
            return verdict
        found = describe_bytes(read_photo(ref.uri, verify_up_to).data).sha256
        return verdict if found == stamp.sha256 else Verdict.NEEDED
    except PawtagError:
        return Verdict.NEEDED  # the worker meets the same fault, names it and retries
