"""What a daemon works off of S3: queues, pushed events, and a bucket's listing, each with its own pipeline."""

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path

from pawtag.app.s3_runners import ListingRunner, PushRunner, QueueRunner, RetagRunner
from pawtag.clock import utc_timestamp
from pawtag.config import Settings
from pawtag.domain.errors import ConfigError
from pawtag.domain.freshness import FreshnessPolicy
from pawtag.domain.ports import PhotoSource
from pawtag.images import ImageLimits
from pawtag.inference.tagger import Tagger
from pawtag.pipeline.worker import Worker
from pawtag.s3.client import Client
from pawtag.s3.enqueue import LOOKUP_THREADS, Pages
from pawtag.s3.inventory import Inventory
from pawtag.s3.listing import DEFAULT_STORAGE_CLASSES, Listing
from pawtag.s3.listing_feed import ListingFeed, UriFeed
from pawtag.s3.object_source import ObjectSource
from pawtag.s3.objects import Objects
from pawtag.s3.push_inbox import PushInbox
from pawtag.s3.queue_source import QueueSource
from pawtag.s3.resync import Resync
from pawtag.s3.sqs_queue import SqsQueue
from pawtag.state import DeadLetters, ResumePoint

DEFAULT_RESCAN_S = 300.0
MAX_ATTEMPTS = 5
STATE_FOLDER, DEAD_LETTERS_FILE = "s3", "dead-letters.jsonl"


def build_queue_runners(settings: Settings, tagger: Tagger) -> list[QueueRunner]:
    """One work for each queue. Raises ConfigError without a region."""
    runners = []
    for url in settings.s3.queue_urls:
        queue = build_queue(settings, url)
        objects = build_objects(settings)
        source = QueueSource(queue, objects, settings.s3, tagger.identity.fingerprint)
        runners.append(QueueRunner(source, _build_worker(settings, source, objects, tagger)))
    return runners


def build_push_runners(settings: Settings, tagger: Tagger) -> list[PushRunner]:
    """The work on the bucket itself: where no queue tells of it, or where sweeps are asked for. Raises ConfigError."""
    own = settings.s3
    if own.bucket is None or (own.queue_urls and own.rescan_s is None):
        return []
    state, name = s3_state_dir(settings), _digest_name(own.bucket)
    inbox = PushInbox(own, state / f"pushed-{name}.journal", DeadLetters(state / DEAD_LETTERS_FILE))
    objects = build_objects(settings)
    source = ObjectSource(f"bucket {own.bucket}", inbox, objects)
    listing = Listing(Client("s3", own, max_connections=2), own, (own.bucket, own.prefix))
    resume_point = ResumePoint(state, "sweep", own.bucket, own.prefix, str(own.endpoint_url))
    sweep = Resync(listing, inbox, resume_point, own.rescan_s or DEFAULT_RESCAN_S)
    return [PushRunner(source, _build_worker(settings, source, objects, tagger), inbox, sweep)]


def build_retag_runners(settings: Settings, tagger: Tagger, uris: Collection[str]) -> list[RetagRunner]:
    """The work on photos that another model tagged, where there are any. Raises ConfigError."""
    if not uris:
        return []
    feed, objects = UriFeed(uris), build_objects(settings)
    source = ObjectSource("photos that the fallback tagged", feed, objects)
    return [RetagRunner(_build_worker(settings, source, objects, tagger), feed)]


def build_listing_runner(
    settings: Settings, tagger: Tagger, uri: tuple[str, str], classes: Sequence[str], resume_point: ResumePoint
) -> ListingRunner:
    """The work on a bucket's listing, below a prefix. Raises ConfigError."""
    feed = ListingFeed(build_listing(settings, uri, classes), resume_point)
    objects = build_objects(settings)
    source = ObjectSource(f"bucket {uri[0]}", feed, objects, max_attempts=MAX_ATTEMPTS)
    return ListingRunner(source, _build_worker(settings, source, objects, tagger), feed)


def build_listing(settings: Settings, uri: tuple[str, str], classes: Sequence[str]) -> Listing:
    """A bucket's listing below a prefix; `classes`: storage classes that are read besides the warm ones."""
    return Listing(
        Client("s3", settings.s3, max_connections=2), settings.s3, uri, DEFAULT_STORAGE_CLASSES | set(classes)
    )


def open_pages(settings: Settings, uri: tuple[str, str], classes: Sequence[str], manifest: str | None) -> Pages:
    """A bucket's photos below a prefix, from its listing, or from the inventory of that manifest. Raises ConfigError."""
    if manifest is None:
        return build_listing(settings, uri, classes)
    inventory = Inventory(
        Client("s3", settings.s3, max_connections=2), settings.s3, manifest, DEFAULT_STORAGE_CLASSES | set(classes)
    )
    if inventory.bucket != uri[0]:
        raise ConfigError(f"{manifest} is an inventory of {inventory.bucket}, not of {uri[0]}.")
    return inventory


def build_queue(settings: Settings, url: str) -> SqsQueue:
    """A queue. Raises ConfigError."""
    sqs = Client("sqs", settings.s3, max_connections=max(LOOKUP_THREADS, settings.s3.concurrency + 2))
    return SqsQueue(sqs, url, settings.s3, DeadLetters(s3_state_dir(settings) / DEAD_LETTERS_FILE))


def build_objects(settings: Settings) -> Objects:
    """Photos of the store, and the sink of their records. Raises ConfigError."""
    limits = ImageLimits(settings.limits.max_file_bytes, settings.limits.max_pixels)
    most = max(LOOKUP_THREADS, 2 * settings.s3.concurrency + 2)  # a photo's body is open while its tags are asked for
    return Objects(Client("s3", settings.s3, max_connections=most), settings.s3, limits)


def s3_state_dir(settings: Settings) -> Path:
    """Where the notes about S3 are kept."""
    return settings.state.dir / STATE_FOLDER


def _build_worker(settings: Settings, source: PhotoSource, objects: Objects, tagger: Tagger) -> Worker:
    policy = FreshnessPolicy(tagger.identity, utc_timestamp())
    return Worker(source, objects, tagger, policy=policy, concurrency=settings.s3.concurrency)


def _digest_name(bucket: str) -> str:
    return hashlib.sha256(bucket.encode()).hexdigest()[:16]
