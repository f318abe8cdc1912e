"""pawtag s3 scan: tag, on this machine, all photos of a bucket that have no record or an old one; a second run resumes the first."""

import argparse
import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

from tqdm import tqdm

from pawtag.app.outputs import build_announcer, build_outputs
from pawtag.app.pipeline_parts import PipelineParts
from pawtag.app.s3_runners import ListingRunner
from pawtag.app.s3_wiring import S3Wiring
from pawtag.cli.s3.bucket_job import (
    add_job_arguments,
    announce_resume,
    load_wanted_model,
    select_bucket,
    summarise_skipped,
)
from pawtag.cli.scan_report import ScanReport, build_scan_observers
from pawtag.config import Settings
from pawtag.domain.errors import PawtagError
from pawtag.inference.tagger import Tagger
from pawtag.s3.address import parse_uri
from pawtag.s3.cost_estimate import CostEstimate
from pawtag.s3.listing import Listing
from pawtag.state.database import StateDatabase
from pawtag.state.resume_point import ResumePoint

DEFAULT_PHOTOS_PER_S = 20.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `s3 scan`."""
    add_job_arguments(parser)
    parser.add_argument("--dry-run", action="store_true", help="only list the bucket, and estimate the cost")
    parser.add_argument("--strict", action="store_true", help="exit with code 1 if a photo cannot be tagged")
    parser.add_argument(
        "--per-second",
        type=float,
        default=DEFAULT_PHOTOS_PER_S,
        metavar="N",
        help="with --dry-run: the photos per second of one daemon, to estimate the duration (default: 20)",
    )


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Tag what needs a record. A photo that cannot be tagged is a result, not a failure of the scan."""
    uri = parse_uri(arguments.uri)
    settings = select_bucket(settings, uri)
    wiring = S3Wiring(settings, arguments.s3_tuning)
    listing = wiring.build_listing(uri, arguments.storage_class)
    if arguments.dry_run:
        _preview(listing, arguments, settings)
        return 0
    loaded, report = load_wanted_model(settings), ScanReport()
    job = (arguments.uri, str(settings.s3.endpoint_url), loaded.identity.fingerprint, *arguments.storage_class)
    with closing(StateDatabase(settings.state.dir)) as database:
        tagger, observers = Tagger(loaded, settings.limits), build_scan_observers(settings, report)
        announcer = build_announcer(settings, database)
        parts = PipelineParts(tagger, database, observers, build_outputs(settings, database), announcer=announcer)
        resume_point = wiring.build_resume_point(database, "scan", *job)
        announce_resume(resume_point, restart=arguments.restart)
        runner = asyncio.run(_scan(wiring, parts, listing, resume_point, arguments.storage_class))
        _report(runner, report, resume_point)
    return int(arguments.strict and report.has_failures)


async def _scan(
    wiring: S3Wiring, parts: PipelineParts, listing: Listing, resume_point: ResumePoint, classes: list[str]
) -> ListingRunner:
    async with parts.tagger.run():
        uri = (listing.bucket, listing.prefix)
        runner = wiring.build_listing_runner(parts, uri, classes, resume_point)
        with _open_bar(listing, resume_point) as bar:
            runner.feed.on_finished = bar.update
            try:
                await runner.worker.run(asyncio.Event())
            finally:
                resume_point.save()
    return runner


def _report(runner: ListingRunner, report: ScanReport, resume_point: ResumePoint) -> None:
    """Print the result, and forget the resume point of a complete scan. Raises PawtagError for photos given up."""
    source = runner.source
    print(f"{runner.feed.finished} photos: {report.format()}")
    if skipped := summarise_skipped(runner.feed.skipped):
        print(skipped)
    if source.has_ended:
        resume_point.forget()
    if source.given_up:
        unfinished = f"{len(source.given_up)} photos could not be finished: {runner.worker.last_error}"
        raise PawtagError(f"{unfinished} Run the scan again to retry them.")


@contextmanager
def _open_bar(listing: Listing, resume_point: ResumePoint) -> Iterator["tqdm[None]"]:
    """A progress bar. Its total, and so the time left, comes from a second listing that runs ahead."""
    ended = threading.Event()
    with tqdm(unit=" photos", disable=None, dynamic_ncols=True) as bar:

        def count() -> None:
            total = 0
            with suppress(PawtagError):  # the scan meets and names the same fault
                for page in listing.pages(resume_point.position):
                    total += len(page.photos)
                    if ended.is_set():
                        return
                bar.total = total

        if not bar.disable:
            threading.Thread(target=count, name="count", daemon=True).start()
        try:
            yield bar
        finally:
            ended.set()


def _preview(listing: Listing, arguments: argparse.Namespace, settings: Settings) -> None:
    keys, photos, size_bytes, skipped = 0, 0, 0, Counter[str]()
    for page in listing.pages():
        keys += len(page.photos) + page.skipped.total()
        photos += len(page.photos)
        size_bytes += sum(ref.size_bytes or 0 for ref in page.photos)
        skipped += page.skipped
    print(f"{photos} photos of {keys} objects, {size_bytes / 1e9:.1f} GB")
    if text := summarise_skipped(skipped):
        print(text)
    _print_costs(CostEstimate(keys, photos), arguments, settings)


def _print_costs(cost: CostEstimate, arguments: argparse.Namespace, settings: Settings) -> None:
    print(f"at most {cost.lists} LIST requests, {cost.reads} GET requests, {cost.photos} PUT requests")
    new, current = f"${cost.cost_usd:,.2f} if all are new", f"${cost.cost_current_usd:,.2f} if all have a record"
    print(f"at AWS's list prices (us-east-1) {new}, {current}")
    if arguments.storage_class:
        print("colder storage classes cost more: see AWS's prices for retrieval")
    if settings.s3.output != "sidecar":
        print(f"the tags then cost ${cost.tags_usd_per_month:,.2f} a month")
    per_s = arguments.per_second
    hours = ", ".join(f"{number} daemons {cost.hours(number * per_s):,.1f}" for number in (1, 4, 16))
    print(f"duration in hours, at {per_s:g} photos per second for each daemon: {hours}")
