"""pawtag clean: removes exactly what pawtag wrote for a folder, or into a bucket."""

import argparse
import asyncio
import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from pawtag import log
from pawtag.app import wiring
from pawtag.app.outputs import OutputRemoval
from pawtag.cli.s3 import clean as clean_s3
from pawtag.config import Settings
from pawtag.domain.errors import ConfigError, PawtagError
from pawtag.domain.records import PhotoRef
from pawtag.folder.cleanup import WrittenFile, find_written_files, remove_file
from pawtag.folder.sidecars import Sidecars
from pawtag.state.database import StateDatabase


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `clean`."""
    parser.add_argument("place", metavar="DIR", help="a folder or s3://BUCKET/PREFIX")
    parser.add_argument("--dry-run", action="store_true", help="only print what would be removed")
    parser.add_argument(
        "--corrected", action="store_true", help="also records with your corrections, or other programs' keys"
    )


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Remove it. Photos and files of others stay."""
    log.configure_logging(settings.log)
    if arguments.place.startswith("s3:"):
        return clean_s3.execute(arguments, settings)
    folder = Path(arguments.place)
    if not folder.is_dir():
        raise ConfigError(f"The folder {folder} does not exist.")
    sidecars = wiring.build_sidecars(settings, folder.resolve())
    found = find_written_files(sidecars, settings.folder)
    try:
        remove_files(found, sidecars, settings, dry_run=arguments.dry_run, with_user_content=arguments.corrected)
    except OSError as error:
        raise PawtagError(f"The folder {error.filename} cannot be read: {error.strerror}.") from error
    return 0


def remove_files(
    found: Iterable[WrittenFile], sidecars: Sidecars, settings: Settings, *, dry_run: bool, with_user_content: bool
) -> None:
    """Remove the files, and what outputs wrote beside them; with `dry_run` name them. Print how many there are."""
    with closing(StateDatabase(settings.state.dir)) as database:
        removal = OutputRemoval(settings, database)
        asyncio.run(_remove_files(found, sidecars, removal, dry_run=dry_run, with_user_content=with_user_content))


async def _remove_files(
    found: Iterable[WrittenFile], sidecars: Sidecars, removal: OutputRemoval, *, dry_run: bool, with_user_content: bool
) -> None:
    removed = kept = failed = 0
    for written in found:
        if written.has_user_content and not with_user_content:
            kept += 1
        elif dry_run:
            removed += 1
            print(log.escape_unprintable(str(written.path)))
        elif await _remove_with_outputs(written, sidecars, removal):
            removed += 1
        else:
            failed += 1
    print(f"{removed} files {'would be' if dry_run else 'were'} removed")
    if kept:
        print(f"{kept} sidecars hold corrections of yours, or other programs' keys; they stay")
    if failed:
        raise PawtagError(f"{failed} files could not be removed; check the permissions of their folders.")


async def _remove_with_outputs(written: WrittenFile, sidecars: Sidecars, removal: OutputRemoval) -> bool:
    """The record goes last: it knows what the outputs wrote."""
    try:
        await removal.remove(PhotoRef(written.photo), written.outputs)
    except PawtagError as error:
        print(f"pawtag: {log.escape_unprintable(str(error))}", file=sys.stderr)
        return False
    return remove_file(written, sidecars)
