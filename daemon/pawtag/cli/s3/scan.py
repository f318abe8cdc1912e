"""pawtag s3 scan: brings a bucket up to date from this machine; goes on where it was killed."""

import argparse
import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from tqdm import tqdm

from pawtag.app import s3_wiring
from pawtag.config import Settings
from pawtag.config.labels_file import load_labels
from pawtag.domain.errors import ConfigError, PawtagError
from pawtag.inference import model_loader
from pawtag.s3.address import parse_uri
from pawtag.s3.cost_estimate import CostEstimate
from pawtag.s3.listing import Listing
from pawtag.state import ResumePoint

DEFAULT_PHOTOS_PER_S = 20.0
SPARE_THREADS = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `s3 scan`."""
    parser.add_argument("uri", metavar="s3://BUCKET/PREFIX", help="what to bring up to date")
    parser.add_argument("--dry-run", action="store_true", help="only list, and say what it would cost")
    add_common_arguments(parser)
    parser.add_argument(
        "--per-second",
        type=float,
        default=DEFAULT_PHOTOS_PER_S,
        metavar="N",
        help="--dry-run: photos a second (default: 20)",
    )


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of `enqueue`, too."""
    parser.add_argument(
        "--storage-class", action="append", default=[], metavar="CLASS", help="also photos of this colder class"
    )
    parser.add_argument("--restart", action="store_true", help="not from where an earlier run was ended")


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Bring it up to date; a photo that cannot be tagged is a result, not a failure."""
    uri = parse_uri(arguments.uri)
    settings = select_bucket(settings, uri)
    if arguments.dry_run:
        listing = s3_wiring.build_listing(settings, uri, arguments.storage_class)
        _preview(listing, arguments, settings)
        return 0
    loaded = load_wanted_model(settings)
    state, fingerprint = s3_wiring.s3_state_dir(settings), loaded.tagger.identity.fingerprint
    resume_point = ResumePoint(
        state, "scan", arguments.uri, str(settings.s3.endpoint_url), fingerprint, *arguments.storage_class
    )
    announce_resume(resume_point, anew=arguments.restart)
    asyncio.run(_scan(settings, loaded, uri, arguments.storage_class, resume_point))
    return 0


def select_bucket(settings: Settings, uri: tuple[str, str]) -> Settings:
    """The settings for that bucket and prefix alone."""
    return settings.model_copy(update={"s3": settings.s3.model_copy(update={"bucket": uri[0], "prefix": uri[1]})})


def load_wanted_model(settings: Settings) -> model_loader.LoadedModel:
    """The model that the settings ask for. Raises ConfigError where only its fallback is here.

    What a fallback tags in a bucket stays so until another scan, and each tag written costs.
    """
    loaded = model_loader.load_model(settings, load_labels(settings.labels.file))
    name = loaded.tagger.identity.model
    if name.fallback:
        raise ConfigError(
            f"The model {name.wanted} is not on this machine: run 'pawtag model pull' first, or say --model embedded."
        )
    return loaded


def announce_resume(resume_point: ResumePoint, *, anew: bool) -> None:
    """Say where the work goes on, if it does."""
    if anew:
        resume_point.forget()
    if resume_point.position:
        print(
            f"going on behind {resume_point.position!r}, as of {resume_point.saved_at} (--restart: from the beginning)"
        )


def summarise_skipped(skipped: Counter[str]) -> str:
    """What was passed over, for people."""
    classes = sorted(set(skipped) - {"not-a-photo", "not-the-newest", "sent", "current", "unseen"})
    parts = [f"{skipped['not-a-photo']} objects are no photos"] if skipped["not-a-photo"] else []
    return ", ".join(parts + [f"{skipped[name]} lie in {name} (--storage-class reads them)" for name in classes])


async def _scan(
    settings: Settings,
    loaded: model_loader.LoadedModel,
    uri: tuple[str, str],
    classes: list[str],
    resume_point: ResumePoint,
) -> None:
    threads = ThreadPoolExecutor(settings.s3.concurrency + SPARE_THREADS)
    asyncio.get_running_loop().set_default_executor(threads)
    async with loaded.tagger.run():
        work = s3_wiring.build_listing_runner(settings, loaded.tagger, uri, classes, resume_point)
        listing = s3_wiring.build_listing(settings, uri, classes)
        with _bar(listing, resume_point) as bar:
            work.feed.on_finished = bar.update
            try:
                await work.worker.run(asyncio.Event())
            finally:
                resume_point.save()
    counts = work.worker.counts
    print(
        f"{work.feed.looked_at} photos: {counts.tagged} tagged, {counts.no_pet} without a pet, {counts.failed} failed"
    )
    if passed_over := summarise_skipped(work.feed.skipped):
        print(passed_over)
    if work.source.has_ended:
        resume_point.forget()
    if work.source.given_up:
        raise PawtagError(
            f"{work.source.given_up} photos could not be finished: {work.worker.last_error} Run it again to try them."
        )


@contextmanager
def _bar(listing: Listing, resume_point: ResumePoint) -> Iterator["tqdm[None]"]:
    """A progress bar that has a total once a second listing, which runs ahead, has counted: time left needs it."""
    ended = threading.Event()
    with tqdm(unit=" photos", disable=None, dynamic_ncols=True) as bar:

        def count() -> None:
            total = 0
            with suppress(PawtagError):  # the scan itself meets the same fault, and names it
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
        size_bytes += sum(ref.size_bytes for ref in page.photos)
        skipped += page.skipped
    cost = CostEstimate(keys, photos)
    print(f"{photos} photos of {keys} objects, {size_bytes / 1e9:.1f} GB")
    if passed_over := summarise_skipped(skipped):
        print(passed_over)
    print(f"at most {cost.lists} requests that list, {cost.reads} that read, {photos} that write tags")
    print(f"at AWS's list prices (us-east-1) ${cost.price:,.2f} if all are new, ${cost.price_current:,.2f} if none is")
    if arguments.storage_class:
        print("reading colder storage classes costs more than that: see AWS's prices for retrieval")
    if settings.s3.output != "sidecar":
        print(f"the tags then cost ${cost.tags_a_month:,.2f} a month")
    per_s = arguments.per_second
    hours = ", ".join(f"{number} daemons {cost.hours(number * per_s):,.1f}" for number in (1, 4, 16))
    print(f"hours at {per_s:g} photos a second each: {hours}")
