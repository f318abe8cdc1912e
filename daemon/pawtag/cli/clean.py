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
    try:
        remove_files(
            find_written_files(sidecars, settings.folder),
            sidecars,
            dry_run=arguments.dry_run,
            with_user_content=arguments.corrected,
        )
    except OSError as error:
        raise PawtagError(f"The folder {error.filename} cannot be read: {error.strerror}.") from error
    return 0


def remove_files(found: Iterable[WrittenFile], sidecars: Sidecars, *, dry_run: bool, with_user_content: bool) -> None:
    """Remove the files, or with `dry_run` name them, and print how many there are."""
    removed = kept = failed = 0
    for written in found:
        if written.has_user_content and not with_user_content:
            kept += 1
        elif dry_run or remove_file(written, sidecars):
            removed += 1
            if dry_run:
                print(log.escape_unprintable(str(written.path)))
        else:
            failed += 1
    print(f"{removed} files {'would be' if dry_run else 'were'} removed")
    if kept:
        print(f"{kept} sidecars hold corrections of yours, or other programs' keys; they stay")
    if failed:
        raise PawtagError(f"{failed} files could not be removed; check the permissions of their folders.")
