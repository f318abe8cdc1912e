"""pawtag status: print the state of the running daemon; with PATH, explain the state of photos, without a daemon."""

import argparse
import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict

from pawtag import log
from pawtag.app.outputs import build_outputs
from pawtag.app.photo_access import PhotoAccess
from pawtag.cli.daemon_status import ask_daemon, format_status
from pawtag.config import Settings
from pawtag.config.labels_file import load_labels
from pawtag.domain.explanation import Explanation
from pawtag.inference.model_loader import load_model
from pawtag.inference.tagger import Tagger
from pawtag.pipeline.reconciler import Reconciler
from pawtag.state.database import StateDatabase
from pawtag.state.dead_letters import DeadLetters


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `status`."""
    parser.add_argument(
        "places", nargs="*", metavar="PATH", help="photos: files, or s3://BUCKET/KEY (default: ask the daemon)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    parser.add_argument("--dead-letters", action="store_true", help="print the messages that pawtag could not use")


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Without photos, ask the daemon. With photos, explain each one in the given order; this needs no daemon."""
    if not arguments.places and not arguments.dead_letters:
        status = ask_daemon(settings.server)
        print(json.dumps(status, ensure_ascii=True) if arguments.json else format_status(status))
        return 0
    quiet = settings.log.model_copy(update={"level": "error"}) if settings.log.level == "info" else settings.log
    log.configure_logging(quiet)
    with closing(StateDatabase(settings.state.dir)) as database:
        if arguments.dead_letters:
            for letter in DeadLetters(database).list_letters():
                print(json.dumps(letter, ensure_ascii=False))
        if arguments.places:
            for found in asyncio.run(_explain_all(arguments, settings, database)):
                print(_format(found, as_json=arguments.json))
    return 0


async def _explain_all(arguments: argparse.Namespace, settings: Settings, database: StateDatabase) -> list[Explanation]:
    loaded = load_model(settings, load_labels(settings.labels.file))
    reconciler = Reconciler(Tagger(loaded, settings.limits), build_outputs(settings, database))
    with ThreadPoolExecutor(1) as threads:
        access = PhotoAccess(settings, threads, arguments.s3_tuning)
        return [await access.explain(place, reconciler, database) for place in arguments.places]


def _format(found: Explanation, *, as_json: bool) -> str:
    if as_json:
        return json.dumps(asdict(found), ensure_ascii=True)
    code = f" ({found.code})" if found.code else ""
    since = f", since {found.since}" if found.since else ""
    return f"{log.escape_unprintable(found.uri)}: {found.state}{code}{since}: {found.reason}"
