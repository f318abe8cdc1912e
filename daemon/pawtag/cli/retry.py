"""pawtag retry: tag failed photos again, in this process."""

import argparse
import asyncio
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import get_args

from pawtag import log
from pawtag.app import wiring
from pawtag.app.outputs import build_announcer, build_outputs
from pawtag.app.photo_access import PhotoAccess
from pawtag.app.pipeline_parts import PipelineParts, build_suspects
from pawtag.cli.fallback import warn_of_fallback
from pawtag.config import Settings
from pawtag.config.labels_file import load_labels
from pawtag.domain.errors import ErrorCode, GoneError, PawtagError
from pawtag.domain.records import OBJECT_SCHEME
from pawtag.folder.walk import Walk
from pawtag.inference.model_loader import load_model
from pawtag.inference.tagger import Tagger
from pawtag.log import escape_unprintable
from pawtag.pipeline.recording import summarise
from pawtag.state.database import StateDatabase
from pawtag.state.results import RecentResults


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `retry`."""
    parser.add_argument(
        "places", nargs="*", metavar="PATH", help="photos: files, or s3://BUCKET/KEY (default: all that failed)"
    )
    parser.add_argument("--code", choices=get_args(ErrorCode), help="retry only photos that failed with this code")


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Tag them; exit code 1 if one fails again."""
    log.configure_logging(settings.log.model_copy(update={"level": "warning"}))
    loaded = load_model(settings, load_labels(settings.labels.file))
    warn_of_fallback(loaded.identity)
    with closing(StateDatabase(settings.state.dir)) as database:
        tagger = Tagger(loaded, settings.limits)
        suspects = build_suspects([], settings.limits, tagger)
        parts = PipelineParts(
            tagger,
            database,
            outputs=build_outputs(settings, database),
            suspects=suspects,
            announcer=build_announcer(settings, database),
        )
        return asyncio.run(_retry_all(arguments, settings, parts))


async def _retry_all(arguments: argparse.Namespace, settings: Settings, parts: PipelineParts) -> int:
    counts, reconciler = {"tagged": 0, "failed": 0}, parts.build_reconciler()
    with ThreadPoolExecutor(1) as threads:
        access = PhotoAccess(settings, threads, arguments.s3_tuning)
        async with parts.tagger.run():
            for place in arguments.places or list(_list_failed(settings, parts)):
                try:
                    async with access.open(place) as photo:
                        await access.owe_retag(place, parts.tagger.identity, parts.database)
                        record = await reconciler.retry(photo, arguments.code)
                except GoneError:
                    continue
                except (PawtagError, OSError) as error:
                    counts["failed"] += 1
                    reason = error.strerror if isinstance(error, OSError) else error
                    print(f"pawtag: {escape_unprintable(f'{place}: {reason}')}", file=sys.stderr)
                    continue
                if record is None and arguments.places:
                    print(f"{escape_unprintable(place)}: its record has no failure, or another error code")
                elif record:
                    counts["failed" if record.error else "tagged"] += 1
                    print(f"{escape_unprintable(place)}: {summarise(record)}")
    print(f"{counts['tagged']} of {sum(counts.values())} failed photos are tagged now")
    if not (arguments.places or sum(counts.values())):
        print(f"looked in {wiring.resolve_folder(settings) or 'state.db'}; set folder.path for another folder")
    return int(counts["failed"] > 0)


def _list_failed(settings: Settings, parts: PipelineParts) -> Iterator[str]:
    """The photos of the folder whose record says that they failed, and the objects that failed lately."""
    root = wiring.resolve_folder(settings)
    if root is not None and root.is_dir():
        failed: list[str] = []
        runner = wiring.build_folder_runner(settings, root, parts, on_failed=lambda ref, _stamp: failed.append(ref.uri))
        for _ in runner.build_scan(Walk(root, settings.folder, removes_temporary=False)):
            pass  # photos that need a record are left to the daemon or to a scan
        yield from failed
    failed_lately = RecentResults(parts.database).list_uris("failed")
    yield from (uri for uri in failed_lately if uri.startswith(OBJECT_SCHEME))
