"""pawtag scan: brings a folder up to date once."""

import argparse
import asyncio
from pathlib import Path

from tqdm import tqdm

from pawtag import app, labels, loading, log
from pawtag.config import Settings
from pawtag.errors import ConfigError, PawtagError
from pawtag.folder.walk import Walk
from pawtag.pipeline import Counts

DRAIN_CHECK_S = 0.1
TRIES = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `scan`."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder to bring up to date")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be tagged")


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Bring the folder up to date; a photo that cannot be tagged is a result, not a failure."""
    quiet = settings.log.model_copy(update={"level": "warning"}) if settings.log.level == "info" else settings.log
    log.set_up(quiet)
    root = arguments.folder.resolve()
    if not root.is_dir():
        raise ConfigError(f"There is no folder {arguments.folder}.")
    loaded = loading.load(settings, labels.load(settings.labels.file))
    if arguments.dry_run:
        return asyncio.run(_preview(root, settings, loaded))
    counts = asyncio.run(_scan(root, settings, loaded))
    print(f"{counts.tagged} tagged, {counts.no_pet} without a pet, {counts.failed} failed")
    return 0


async def _preview(root: Path, settings: Settings, loaded: loading.Loaded) -> int:
    work, count = app.folder_work(settings, root, loaded.tagger), 0
    for seen in Walk(root, settings.folder, tidy=False):
        if work.needs(seen.ref):
            count += 1
            print(ascii(seen.ref.uri)[1:-1] if not seen.ref.uri.isprintable() else seen.ref.uri)
    print(f"{count} photos would be tagged")
    return 0


async def _scan(root: Path, settings: Settings, loaded: loading.Loaded) -> Counts:
    async with loaded.tagger.running():
        work, stop = app.folder_work(settings, root, loaded.tagger), asyncio.Event()
        with tqdm(unit=" photos", disable=None, dynamic_ncols=True) as bar:
            work.pipeline.on_record = lambda _ref, _record: bar.update()
            try:
                bar.total = await work.source.scan()
                async with app.background(_stop_when_drained(work, stop), "drain"):
                    await work.pipeline.run(stop)
            except OSError as error:
                raise PawtagError(f"The folder {root} cannot be read: {error.strerror}.") from error
    if left := work.source.unfinished(TRIES):
        raise PawtagError(f"{left} photos could not be finished: {work.pipeline.last_fault}")
    return work.pipeline.counts


async def _stop_when_drained(work: app.FolderWork, stop: asyncio.Event) -> None:
    """Work off the folder; where it holds more than the backlog, scan again for the rest."""
    try:
        while work.source.unfinished(TRIES) is None:
            if work.source.is_drained and not await work.source.scan_rest():
                break
            await asyncio.sleep(DRAIN_CHECK_S)
    finally:
        stop.set()
