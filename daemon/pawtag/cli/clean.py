"""pawtag clean: removes exactly what pawtag wrote for a folder, or into a bucket."""

import argparse
from collections.abc import Iterable
from pathlib import Path

from pawtag import log
from pawtag.app import wiring
from pawtag.cli.s3 import clean as clean_s3
from pawtag.config import Settings
from pawtag.domain.errors import ConfigError, PawtagError
from pawtag.folder.cleanup import WrittenFile, find_written_files, remove_file
from pawtag.folder.sidecars import Sidecars


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `clean`."""
    parser.add_argument("place", metavar="DIR", help="the folder, or s3://BUCKET/PREFIX, to clean of records and tags")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    parser.add_argument(
        "--corrected", action="store_true", help="also those that hold your corrections, or other programs' keys"
    )


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Remove them; photos and everybody else's files stay."""
    log.configure_logging(settings.log)
    if arguments.place.startswith("s3:"):
        return clean_s3.execute(arguments, settings)
    folder = Path(arguments.place)
    if not folder.is_dir():
        raise ConfigError(f"There is no folder {folder}.")
    sidecars = wiring.build_sidecars(settings, folder.resolve())
    try:
        remove_files(
            find_written_files(sidecars, settings.folder),
            sidecars,
            dry_run=arguments.dry_run,
            yours=arguments.corrected,
        )
    except OSError as error:
        raise PawtagError(f"The folder {error.filename} cannot be read: {error.strerror}.") from error
    return 0


def remove_files(found: Iterable[WrittenFile], sidecars: Sidecars, *, dry_run: bool, yours: bool) -> None:
    """Remove what was found, or with `dry_run` name it, and say how many there were."""
    removed = left = failed = 0
    for trace in found:
        if trace.has_user_content and not yours:
            left += 1
        elif dry_run or remove_file(trace, sidecars):
            removed += 1
            if dry_run:
                print(log.escape_unprintable(str(trace.path)))
        else:
            failed += 1
    print(f"{removed} files {'would be' if dry_run else 'were'} removed")
    if left:
        print(f"{left} sidecars hold corrections of yours, or other programs' keys; they stay")
    if failed:
        raise PawtagError(f"{failed} files could not be removed; see who may write there.")
