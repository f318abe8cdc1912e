"""pawtag tag: tag files now, and print the tags."""

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path

from pawtag import log
from pawtag.cli.fallback import warn_of_fallback
from pawtag.config import Settings
from pawtag.config.labels_file import load_labels
from pawtag.domain.errors import ConfigError, GoneError, PermanentError, TemporaryError
from pawtag.domain.records import PhotoInfo, SourceInfo, TagRecord, describe_bytes
from pawtag.folder.walk import read_photo
from pawtag.inference.model_loader import load_model
from pawtag.inference.tagger import Tagger
from pawtag.log import escape_unprintable
from pawtag.pipeline.recording import build_failed_record, build_record, summarise

STDIN = "-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `tag`."""
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="photos to tag; '-' reads one photo from standard input"
    )
    parser.add_argument("--json", action="store_true", help="print one record per line, in the order of the files")


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Tag and print each file in the order given; exit code 1 if one of them fails."""
    log.configure_logging(settings.log)
    _check_files(arguments.files)
    loaded = load_model(settings, load_labels(settings.labels.file))
    warn_of_fallback(loaded.identity)
    return asyncio.run(_tag_all(arguments.files, settings, Tagger(loaded, settings.limits), as_json=arguments.json))


def _check_files(names: list[str]) -> None:
    for name in names:
        if name.startswith("s3:"):
            raise ConfigError(f"{name} is not a file: run 'pawtag s3 scan' to tag the photos of a bucket.")
        if Path(name).is_dir():
            raise ConfigError(f"{name} is a folder: 'pawtag scan' tags the photos in it.")


async def _tag_all(names: list[str], settings: Settings, tagger: Tagger, *, as_json: bool) -> int:
    code = 0
    async with tagger.run():
        ahead = asyncio.Semaphore(settings.folder.concurrency)
        tasks = [
            asyncio.create_task(_build_record(name, settings, tagger, ahead), name=f"tag {name!r}") for name in names
        ]
        for name, task in zip(names, tasks, strict=True):
            record = await task
            code = max(code, int(record.status == "failed"))
            print(_format_line(name, record, as_json=as_json), flush=True)
    return code


def _format_line(name: str, record: TagRecord, *, as_json: bool) -> str:
    if as_json:
        return json.dumps(record.to_document(), ensure_ascii=False)
    return f"{escape_unprintable(name)}: {summarise(record)}"


async def _build_record(name: str, settings: Settings, tagger: Tagger, ahead: asyncio.Semaphore) -> TagRecord:
    base = None if name == STDIN else os.fsencode(Path(name).name).decode("utf-8", "replace")
    photo, source = PhotoInfo(name=base), SourceInfo(kind="request")
    async with ahead:
        try:
            data = await asyncio.to_thread(_read_bytes, name, settings.limits.max_file_bytes)
            photo = describe_bytes(data, base)
            return build_record(await tagger.tag(data, photo=photo), base, source)
        except PermanentError as error:
            return build_failed_record(error, photo, tagger.identity, source)
        except (GoneError, TemporaryError) as error:
            return build_failed_record(PermanentError("unreadable", str(error)), photo, tagger.identity, source)


def _read_bytes(name: str, limit: int) -> bytes:
    if name == STDIN:
        return sys.stdin.buffer.read(limit + 1)
    return read_photo(os.path.realpath(name), limit).data
