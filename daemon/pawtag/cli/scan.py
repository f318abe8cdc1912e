"""pawtag scan: tags the photos of a folder that need a record, once."""

import argparse
import asyncio
from pathlib import Path

from tqdm import tqdm

from pawtag import log
from pawtag.app import wiring
from pawtag.app.runner import FolderRunner, run_in_background
from pawtag.cli.clean import remove_files
from pawtag.config import Settings
from pawtag.config.labels_file import load_labels
from pawtag.domain.errors import ConfigError, PawtagError
from pawtag.folder.cleanup import find_written_files
from pawtag.folder.walk import Walk
from pawtag.inference.model_loader import LoadedModel, load_model
from pawtag.pipeline.worker import Counts

DRAIN_CHECK_S = 0.1
MAX_PHOTO_ATTEMPTS = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `scan`."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder")
    parser.add_argument("--dry-run", action="store_true", help="only print what would be tagged, or removed")
    parser.add_argument("--verify", action="store_true", help="compare contents, not only sizes and times")
    parser.add_argument("--prune", action="store_true", help="remove sidecars whose photo is gone")


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Tag what needs a record. A photo that cannot be tagged is a result, not a failure of the scan."""
    quiet = settings.log.model_copy(update={"level": "warning"}) if settings.log.level == "info" else settings.log
    log.configure_logging(quiet)
    root = arguments.folder.resolve()
    if not root.is_dir():
        raise ConfigError(f"The folder {arguments.folder} does not exist.")
    loaded = load_model(settings, load_labels(settings.labels.file))
    if arguments.dry_run:
        asyncio.run(_preview(root, settings, loaded, verify=arguments.verify))
    else:
        counts = asyncio.run(_scan(root, settings, loaded, verify=arguments.verify))
        print(f"{counts.tagged} tagged, {counts.no_pet} without a pet, {counts.failed} failed")
    if arguments.prune:
        _prune(root, settings, dry_run=arguments.dry_run)
    return 0


def _prune(root: Path, settings: Settings, *, dry_run: bool) -> None:
    sidecars = wiring.build_sidecars(settings, root)
    try:
        orphans = [written for written in find_written_files(sidecars, settings.folder) if written.is_orphan]
        if orphans and not any(True for _ in Walk(root, settings.folder, removes_temporary=False)):
            raise PawtagError(f"The folder {root} holds no photo: is it mounted? Nothing was removed.")
    except OSError as error:
        raise PawtagError(f"The folder {error.filename} cannot be read: {error.strerror}.") from error
    remove_files(orphans, sidecars, dry_run=dry_run, with_user_content=False)


async def _preview(root: Path, settings: Settings, loaded: LoadedModel, *, verify: bool) -> None:
    runner, count = wiring.build_folder_runner(settings, root, loaded.tagger, verify=verify), 0
    for found in runner.build_scan(Walk(root, settings.folder, removes_temporary=False)):
        count += 1
        print(log.escape_unprintable(found.ref.uri))
    print(f"{count} photos would be tagged")


async def _scan(root: Path, settings: Settings, loaded: LoadedModel, *, verify: bool) -> Counts:
    async with loaded.tagger.run():
        runner, stop = wiring.build_folder_runner(settings, root, loaded.tagger, verify=verify), asyncio.Event()
        with tqdm(unit=" photos", disable=None, dynamic_ncols=True) as bar:
            runner.worker.on_record = lambda _ref, _record: bar.update()
            try:
                bar.total = await runner.source.scan()
                async with run_in_background(_stop_when_drained(runner, stop), "drain"):
                    await runner.worker.run(stop)
            except OSError as error:
                raise PawtagError(f"The folder {root} cannot be read: {error.strerror}.") from error
    if left := runner.source.count_exhausted(MAX_PHOTO_ATTEMPTS):
        raise PawtagError(f"{left} photos could not be finished: {runner.worker.last_error}")
    return runner.worker.counts


async def _stop_when_drained(runner: FolderRunner, stop: asyncio.Event) -> None:
    """Set `stop` when nothing is pending. A folder larger than the backlog is scanned again."""
    try:
        while runner.source.count_exhausted(MAX_PHOTO_ATTEMPTS) is None:
            if runner.source.is_drained and not await runner.source.scan_rest():
                break
            await asyncio.sleep(DRAIN_CHECK_S)
    finally:
        stop.set()
