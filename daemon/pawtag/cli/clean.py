"""pawtag clean: remove what pawtag wrote for a folder or into a bucket, and nothing else."""

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
from pawtag.folder.cleanup import WrittenFile, find_written_files, forget_outputs, remove_file
from pawtag.folder.sidecars import Sidecars
from pawtag.state.database import StateDatabase


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `clean`."""
    parser.add_argument("place", metavar="DIR", help="a folder or s3://BUCKET/PREFIX")
    parser.add_argument("--dry-run", action="store_true", help="only print what clean would remove")
    parser.add_argument(
        "--corrected",
        action="store_true",
        help="also remove records with corrections, and records into which other programs have written",
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
        if not arguments.dry_run:
            _remove_unsettled(sidecars, settings)
    except OSError as error:
        raise PawtagError(f"The folder {error.filename} cannot be read: {error.strerror}.") from error
    return 0


def remove_files(
    found: Iterable[WrittenFile], sidecars: Sidecars, settings: Settings, *, dry_run: bool, with_user_content: bool
) -> None:
    """Remove the files, and what outputs wrote for their photos. Print how many files there are.

    With `dry_run`, only print the files. A file with content of people stays, unless `with_user_content` is true. What
    outputs wrote for its photo is removed in both cases.
    """
    with closing(StateDatabase(settings.state.dir)) as database:
        removal = OutputRemoval(settings, database)
        asyncio.run(_remove_files(found, sidecars, removal, dry_run=dry_run, with_user_content=with_user_content))


async def _remove_files(
    found: Iterable[WrittenFile], sidecars: Sidecars, removal: OutputRemoval, *, dry_run: bool, with_user_content: bool
) -> None:
    removed = kept = failed = 0
    for written in found:
        is_kept = written.has_user_content and not with_user_content
        if not dry_run and not await _take_back(written, sidecars, removal, is_kept=is_kept):
            failed += 1
            continue
        kept, removed = kept + is_kept, removed + (not is_kept)
        if dry_run:
            _print_planned(written, is_kept=is_kept)
    print(f"{'files to remove' if dry_run else 'files removed'}: {removed}")
    if kept:
        print(
            f"sidecars kept, with corrections or keys of other programs: {kept} ('pawtag clean --corrected' removes them)"
        )
    if failed:
        raise PawtagError(f"{failed} files could not be removed; check the permissions of their folders.")


def _print_planned(written: WrittenFile, *, is_kept: bool) -> None:
    if not is_kept:
        print(log.escape_unprintable(str(written.path)))
    for output in written.outputs.values():
        if written.photo and isinstance(output, dict) and output.get("file"):
            print(log.escape_unprintable(f"{Path(written.photo).with_name(str(output['file']))}: what pawtag added"))


def _remove_unsettled(sidecars: Sidecars, settings: Settings) -> None:
    with closing(StateDatabase(settings.state.dir)) as database:
        asyncio.run(OutputRemoval(settings, database).remove_unsettled(sidecars.root))


async def _take_back(written: WrittenFile, sidecars: Sidecars, removal: OutputRemoval, *, is_kept: bool) -> bool:
    """Remove first what the outputs wrote, then the record, which lists it. Return whether both worked.

    A record that is kept no longer lists the outputs.
    """
    try:
        if written.photo:
            await removal.remove(PhotoRef(written.photo), written.outputs)
    except PawtagError as error:
        print(f"pawtag: {log.escape_unprintable(str(error))}", file=sys.stderr)
        return False
    return forget_outputs(written) if is_kept else remove_file(written, sidecars)
