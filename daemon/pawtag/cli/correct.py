"""pawtag correct: write corrections into records; a correction stays, even if the model finds something else."""

import argparse
import asyncio
import csv
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from pawtag import log
from pawtag.app.outputs import build_announcer, build_outputs
from pawtag.app.photo_access import PhotoAccess
from pawtag.cli.fallback import warn_of_fallback
from pawtag.config import Settings
from pawtag.config.labels_file import load_labels
from pawtag.domain.corrections import parse_corrections
from pawtag.domain.errors import ConfigError, PawtagError
from pawtag.domain.labels import Labels
from pawtag.domain.ports import OpenPhoto
from pawtag.domain.records import OBJECT_SCHEME, Corrections
from pawtag.inference.model_loader import load_model
from pawtag.inference.tagger import Tagger
from pawtag.log import escape_unprintable
from pawtag.pipeline.reconciler import Reconciler
from pawtag.pipeline.recording import summarise
from pawtag.state.database import StateDatabase

FILE_COLUMN = "file"
SEPARATOR = "/"  # between several labels of one group, as in object tags


@dataclass(frozen=True, slots=True)
class Correction:
    """The corrections of one photo; `by_group` None removes them."""

    place: str
    by_group: Corrections | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `correct`."""
    parser.add_argument("places", nargs="*", metavar="FILE", help="photos: files, or s3://BUCKET/KEY")
    parser.add_argument(
        "--species", metavar="LABELS", help="the right species; for two write cat/dog, for no pet write none"
    )
    parser.add_argument("--coat", metavar="LABELS", help="the right coat; 'none' for no tag")
    parser.add_argument(
        "--group",
        action="append",
        default=[],
        metavar="NAME=LABELS",
        help="the right labels of another group; may be repeated",
    )
    parser.add_argument(
        "--from",
        dest="table",
        type=Path,
        metavar="CSV",
        help="a table of corrections, with the columns file, species, coat",
    )
    parser.add_argument(
        "--undo",
        action="store_true",
        help="remove the corrections of the files, or with --from of all files in the table",
    )


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Write the corrections into sidecars and tags; exit code 1 if one photo cannot be corrected."""
    log.configure_logging(settings.log.model_copy(update={"level": "warning"}))
    labels = load_labels(settings.labels.file)
    corrections = list(_list_corrections(arguments, labels))
    loaded = load_model(settings, labels)
    warn_of_fallback(loaded.identity)
    with closing(StateDatabase(settings.state.dir)) as database:
        return asyncio.run(_correct_all(corrections, arguments, settings, Tagger(loaded, settings.limits), database))


def _list_corrections(arguments: argparse.Namespace, labels: Labels) -> Iterator[Correction]:
    """The corrections that the command line, or the table, asks for. Raises ConfigError."""
    given = {"species": arguments.species, "coat": arguments.coat, **_parse_groups(arguments.group)}
    chosen = {group: value for group, value in given.items() if value is not None}
    if bool(chosen) == (arguments.undo or arguments.table is not None):
        raise ConfigError("Give either labels (--species dog), or a table (--from CSV), or --undo.")
    if arguments.table:
        for correction in _read_table(arguments.table, labels):
            yield replace(correction, by_group=None) if arguments.undo else correction
        return
    if not arguments.places:
        raise ConfigError("Name the photos: 'pawtag correct FILE... --species dog'.")
    by_group = None if arguments.undo else _parse_labels(chosen, labels)
    yield from (Correction(place, by_group) for place in arguments.places)


def _parse_groups(options: list[str]) -> dict[str, str]:
    pairs = [option.partition("=") for option in options]
    if any(not (name and sign) for name, sign, _ in pairs):
        raise ConfigError("--group needs NAME=LABELS, such as --group place=indoors.")
    return {name: value for name, _, value in pairs}


def _parse_labels(chosen: dict[str, str], labels: Labels) -> Corrections:
    """Raises ConfigError for an unknown label or group: on the command line, it is a typing mistake."""
    parsed = parse_corrections({group: value.split(SEPARATOR) for group, value in chosen.items()}, labels)
    if parsed.problems or parsed.by_group is None:
        raise ConfigError(" ".join(parsed.problems))
    return parsed.by_group


def _read_table(table: Path, labels: Labels) -> list[Correction]:
    try:
        rows = list(csv.DictReader(table.read_text("utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"The table {table} cannot be read: {error}.") from error
    if not rows or FILE_COLUMN not in rows[0]:
        raise ConfigError(f"The table {table} needs a first line with the columns file, species, coat.")
    return [_read_row(table, number, row, labels) for number, row in enumerate(rows, 2)]


def _read_row(table: Path, number: int, row: dict[str, str | None], labels: Labels) -> Correction:
    """A relative path is relative to the table; an empty cell leaves its group as it is."""
    if None in row:
        raise ConfigError(f"{table}, line {number}: it has more cells than the first line.")
    file, chosen = (
        row[FILE_COLUMN] or "",
        {group: value for group, value in row.items() if value and group != FILE_COLUMN},
    )
    if not file or not chosen:
        raise ConfigError(f"{table}, line {number}: it needs a file, and at least one label.")
    place = file if file.startswith(OBJECT_SCHEME) else str(table.parent / file)
    try:
        return Correction(place, _parse_labels(chosen, labels))
    except ConfigError as error:
        raise ConfigError(f"{table}, line {number}: {error}") from error


async def _correct_all(
    corrections: list[Correction],
    arguments: argparse.Namespace,
    settings: Settings,
    tagger: Tagger,
    database: StateDatabase,
) -> int:
    code, is_checked = 0, False
    reconciler = Reconciler(tagger, build_outputs(settings, database), announcer=build_announcer(settings, database))
    with ThreadPoolExecutor(1) as threads:
        access = PhotoAccess(settings, threads, arguments.s3_tuning)
        async with tagger.run():
            for correction in corrections:
                try:
                    async with access.open(correction.place) as photo:
                        await access.owe_retag(correction.place, tagger.identity, database)
                        is_checked = is_checked or await _check_labels(photo, reconciler, correction.place)
                        record = await reconciler.correct(photo, correction.by_group)
                    print(f"{escape_unprintable(correction.place)}: {summarise(record)}")
                except (PawtagError, OSError) as error:
                    code, reason = 1, error.strerror if isinstance(error, OSError) else error
                    print(f"pawtag: {escape_unprintable(f'{correction.place}: {reason}')}", file=sys.stderr)
    return code


async def _check_labels(photo: OpenPhoto, reconciler: Reconciler, place: str) -> bool:
    """Warn if the photo was tagged with another model or labels. False for a photo without a record, which cannot say.

    The first photo with a record stands for all: a look costs a request for each object.
    """
    stamp = (await photo.look()).stamp
    if stamp is None or not stamp.describes(photo.version):
        return False
    if reconciler.build_policy().supersedes(stamp):
        text = f"{place} was tagged with another model or other labels; this command tags it again with its own"
        print(f"pawtag: {escape_unprintable(text)} (--model, --labels, --config)", file=sys.stderr)
    return True
