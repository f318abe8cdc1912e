"""pawtag scan: brings a folder up to date once."""

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
from pawtag.inference import model_loader
from pawtag.pipeline.worker import Counts

DRAIN_CHECK_S = 0.1
MAX_ATTEMPTS = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `scan`."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder to bring up to date")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be tagged, or removed")
    parser.add_argument("--verify", action="store_true", help="compare contents too, not only sizes and times")
    parser.add_argument("--prune", action="store_true", help="remove our sidecars whose photo is gone")


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Bring the folder up to date; a photo that cannot be tagged is a result, not a failure."""
    quiet = settings.log.model_copy(update={"level": "warning"}) if settings.log.level == "info" else settings.log
    log.configure_logging(quiet)
    root = arguments.folder.resolve()
    if not root.is_dir():
        raise ConfigError(f"There is no folder {arguments.folder}.")
    loaded = model_loader.load_model(settings, load_labels(settings.labels.file))
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
        orphans = [trace for trace in find_written_files(sidecars, settings.folder) if trace.is_orphan]
        if orphans and not any(True for _ in Walk(root, settings.folder, removes_temporary=False)):
            raise PawtagError(f"There is no photo at all in {root}: is it mounted? Nothing was removed.")
    except OSError as error:
        raise PawtagError(f"The folder {error.filename} cannot be read: {error.strerror}.") from error
    remove_files(orphans, sidecars, dry_run=dry_run, yours=False)


async def _preview(root: Path, settings: Settings, loaded: model_loader.LoadedModel, *, verify: bool) -> None:
    work, count = wiring.build_folder_runner(settings, root, loaded.tagger, verify=verify), 0
    for seen in Walk(root, settings.folder, removes_temporary=False):
        if work.needs(seen.ref):
            count += 1
            print(log.escape_unprintable(seen.ref.uri))
    print(f"{count} photos would be tagged")


async def _scan(root: Path, settings: Settings, loaded: model_loader.LoadedModel, *, verify: bool) -> Counts:
    async with loaded.tagger.run():
        work, stop = wiring.build_folder_runner(settings, root, loaded.tagger, verify=verify), asyncio.Event()
        with tqdm(unit=" photos", disable=None, dynamic_ncols=True) as bar:
            work.worker.on_record = lambda _ref, _build_record: bar.update()
            try:
                bar.total = await work.source.scan()
                async with run_in_background(_stop_when_drained(work, stop), "drain"):
                    await work.worker.run(stop)
            except OSError as error:
                raise PawtagError(f"The folder {root} cannot be read: {error.strerror}.") from error
    if left := work.source.count_hopeless(MAX_ATTEMPTS):
        raise PawtagError(f"{left} photos could not be finished: {work.worker.last_error}")
    return work.worker.counts


async def _stop_when_drained(work: FolderRunner, stop: asyncio.Event) -> None:
    """Work off the folder; where it holds more than the backlog, scan again for the rest."""
    try:
        while work.source.count_hopeless(MAX_ATTEMPTS) is None:
            if work.source.is_drained and not await work.source.scan_rest():
                break
            await asyncio.sleep(DRAIN_CHECK_S)
    finally:
        stop.set()
