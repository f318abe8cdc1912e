"""pawtag scan: tag all photos of a folder that have no record or an old one, then end."""

import argparse
import asyncio
from contextlib import closing
from pathlib import Path

from tqdm import tqdm

from pawtag import log
from pawtag.app import wiring
from pawtag.app.outputs import build_announcer, build_outputs
from pawtag.app.pipeline_parts import PipelineParts, build_suspects
from pawtag.app.runner import FolderRunner, run_in_background
from pawtag.cli.clean import remove_files
from pawtag.cli.fallback import warn_of_fallback
from pawtag.cli.scan_report import ScanReport, build_scan_observers
from pawtag.config import Settings
from pawtag.config.labels_file import load_labels
from pawtag.domain.errors import ConfigError, PawtagError
from pawtag.domain.outcomes import PhotoFailed, PhotoTagged
from pawtag.domain.records import PhotoRef, Stamp
from pawtag.folder.cleanup import find_written_files
from pawtag.folder.tuning import FolderTuning
from pawtag.folder.walk import Walk
from pawtag.inference.model_loader import load_model
from pawtag.inference.tagger import Tagger
from pawtag.state.database import StateDatabase
from pawtag.state.in_flight import InFlightPhotos

DRAIN_CHECK_S = 0.1
MAX_PHOTO_ATTEMPTS = 2
SNAPSHOT_S = 15.0  # shorter than the daemon's, because a person waits for the end of the scan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `scan`."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder")
    parser.add_argument("--dry-run", action="store_true", help="only print what scan would tag or remove")
    parser.add_argument(
        "--verify", action="store_true", help="read every photo, and compare its content, not only its size and time"
    )
    parser.add_argument("--strict", action="store_true", help="exit with code 1 if a photo cannot be tagged")
    parser.add_argument(
        "--prune",
        action="store_true",
        help="remove sidecars of photos that no longer exist, but keep those with corrections",
    )


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Tag the photos that need a record. With `--strict`, the exit code is 1 if a photo cannot be tagged."""
    quiet = settings.log.model_copy(update={"level": "warning"}) if settings.log.level == "info" else settings.log
    log.configure_logging(quiet)
    root = _resolve_folder(arguments.folder)
    loaded = load_model(settings, load_labels(settings.labels.file))
    warn_of_fallback(loaded.identity)
    report = ScanReport()
    with closing(StateDatabase(settings.state.dir)) as database:
        tagger, observers = Tagger(loaded, settings.limits), build_scan_observers(settings, report)
        suspects = build_suspects(InFlightPhotos(database).take_abandoned(), settings.limits, tagger)
        parts = PipelineParts(
            tagger,
            database,
            observers,
            build_outputs(settings, database),
            suspects=suspects,
            announcer=build_announcer(settings, database),
        )
        if arguments.dry_run:
            asyncio.run(_preview(root, settings, parts, verify=arguments.verify))
        else:
            asyncio.run(_scan(root, settings, parts, report, verify=arguments.verify))
            print(report.format())
    if arguments.prune:
        _prune(root, settings, dry_run=arguments.dry_run)
    return int(arguments.strict and report.has_failures)


def _resolve_folder(given: Path) -> Path:
    if str(given).startswith("s3:"):
        raise ConfigError("A bucket is not a folder: run 'pawtag s3 scan s3://BUCKET/PREFIX' to tag its photos.")
    root = given.resolve()
    if not root.is_dir():
        raise ConfigError(f"The folder {given} does not exist.")
    return root


def _prune(root: Path, settings: Settings, *, dry_run: bool) -> None:
    sidecars = wiring.build_sidecars(settings, root)
    try:
        orphans = [written for written in find_written_files(sidecars, settings.folder) if written.is_orphan]
        if orphans and not any(True for _ in Walk(root, settings.folder, removes_temporary=False)):
            raise PawtagError(f"The folder {root} holds no photo: is it mounted? Nothing was removed.")
    except OSError as error:
        raise PawtagError(f"The folder {error.filename} cannot be read: {error.strerror}.") from error
    remove_files(orphans, sidecars, settings, dry_run=dry_run, with_user_content=False)


async def _preview(root: Path, settings: Settings, parts: PipelineParts, *, verify: bool) -> None:
    runner, count = wiring.build_folder_runner(settings, root, parts, verify=verify), 0
    for found in runner.build_scan(Walk(root, settings.folder, removes_temporary=False)):
        count += 1
        print(log.escape_unprintable(found.ref.uri))
    print(f"photos to tag: {count}")


async def _scan(root: Path, settings: Settings, parts: PipelineParts, report: ScanReport, *, verify: bool) -> None:
    def note_failed(ref: PhotoRef, stamp: Stamp) -> None:
        if stamp.failure:
            report.note_unchanged(ref.uri, stamp.failure, stamp.tagged_at)

    async with parts.tagger.run():
        runner = wiring.build_folder_runner(
            settings, root, parts, verify=verify, on_failed=note_failed, tuning=FolderTuning(snapshot_s=SNAPSHOT_S)
        )
        stop = asyncio.Event()
        with tqdm(unit=" photos", disable=None, dynamic_ncols=True) as bar:
            parts.observers.add(lambda outcome: bar.update(isinstance(outcome, PhotoTagged | PhotoFailed)))
            try:
                bar.total = await runner.source.scan()
                async with run_in_background(_stop_when_drained(runner, stop), "drain"):
                    await runner.worker.run(stop)
            except OSError as error:
                raise PawtagError(f"The folder {error.filename or root} cannot be read: {error.strerror}.") from error
    if left := runner.source.count_exhausted(MAX_PHOTO_ATTEMPTS):
        print(report.format())
        reason = runner.worker.last_error or "they are incomplete, or they keep changing"
        raise PawtagError(f"{left} photos could not be finished: {reason}")


async def _stop_when_drained(runner: FolderRunner, stop: asyncio.Event) -> None:
    """Set `stop` when nothing is pending. A folder larger than the backlog is scanned again."""
    try:
        while runner.source.count_exhausted(MAX_PHOTO_ATTEMPTS) is None:
            if runner.source.is_drained and not await runner.source.scan_rest():
                break
            await asyncio.sleep(DRAIN_CHECK_S)
    finally:
        stop.set()
