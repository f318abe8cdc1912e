"""What a daemon works off of S3: queues, pushed events, and a bucket's listing, each with its own pipeline."""

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path

from pawtag.app.s3_runners import PushWork, QueueWork, RenewalWork, ScanWork
from pawtag.config import Settings
from pawtag.domain.errors import ConfigError
from pawtag.domain.freshness import FreshnessPolicy
from pawtag.domain.ports import PhotoSource
from pawtag.domain.records import now
from pawtag.images import ImageLimits
from pawtag.inference.tagger import Tagger
from pawtag.pipeline.worker import Pipeline
from pawtag.s3.client import Client
from pawtag.s3.enqueue import AT_A_TIME, Pages
from pawtag.s3.inventory import Inventory
from pawtag.s3.listing import WARM, Listing
from pawtag.s3.listing_feed import ListingSupply, NamedSupply
from pawtag.s3.object_source import ObjectSource
from pawtag.s3.objects import Objects
from pawtag.s3.push_inbox import Inbox
from pawtag.s3.queue_source import QueueSource
from pawtag.s3.resync import Sweep
from pawtag.s3.sqs_queue import Mailbox
from pawtag.state import DeadLetters, ResumePoint

RESCAN_S = 300.0
TRIES = 5
STATE, DEAD_LETTERS = "s3", "dead-letters.jsonl"


def queue_works(settings: Settings, tagger: Tagger) -> list[QueueWork]:
    """One work for each queue. Raises ConfigError without a region."""
    works = []
    for url in settings.s3.queue_urls:
        mailbox = mailbox_of(settings, url)
        objects = objects_of(settings)
        source = QueueSource(mailbox, objects, settings.s3, tagger.identity.by)
        works.append(QueueWork(source, _pipeline(settings, source, objects, tagger)))
    return works


def push_works(settings: Settings, tagger: Tagger) -> list[PushWork]:
    """The work on the bucket itself: where no queue tells of it, or where sweeps are asked for. Raises ConfigError."""
    own = settings.s3
    if own.bucket is None or (own.queue_urls and own.rescan_s is None):
        return []
    state, name = state_of(settings), _file_name(own.bucket)
    inbox = Inbox(own, state / f"pushed-{name}.journal", DeadLetters(state / DEAD_LETTERS))
    objects = objects_of(settings)
    source = ObjectSource(f"bucket {own.bucket}", inbox, objects)
    listing = Listing(Client("s3", own, most_connections=2), own, (own.bucket, own.prefix))
    checkpoint = ResumePoint(state, "sweep", own.bucket, own.prefix, str(own.endpoint_url))
    sweep = Sweep(listing, inbox, checkpoint, own.rescan_s or RESCAN_S)
    return [PushWork(source, _pipeline(settings, source, objects, tagger), inbox, sweep)]


def renewal_works(settings: Settings, tagger: Tagger, uris: Collection[str]) -> list[RenewalWork]:
    """The work on photos that another model tagged, where there are any. Raises ConfigError."""
    if not uris:
        return []
    supply, objects = NamedSupply(uris), objects_of(settings)
    source = ObjectSource("photos that the fallback tagged", supply, objects)
    return [RenewalWork(_pipeline(settings, source, objects, tagger), supply)]


def scan_work(
    settings: Settings, tagger: Tagger, uri: tuple[str, str], classes: Sequence[str], checkpoint: ResumePoint
) -> ScanWork:
    """The work on a bucket's listing, below a prefix. Raises ConfigError."""
    supply = ListingSupply(listing_of(settings, uri, classes), checkpoint)
    objects = objects_of(settings)
    source = ObjectSource(f"bucket {uri[0]}", supply, objects, tries=TRIES)
    return ScanWork(source, _pipeline(settings, source, objects, tagger), supply)


def listing_of(settings: Settings, uri: tuple[str, str], classes: Sequence[str]) -> Listing:
    """A bucket's listing below a prefix; `classes`: storage classes that are read besides the warm ones."""
    return Listing(Client("s3", settings.s3, most_connections=2), settings.s3, uri, WARM | set(classes))


def pages_of(settings: Settings, uri: tuple[str, str], classes: Sequence[str], manifest: str | None) -> Pages:
    """A bucket's photos below a prefix, from its listing, or from the inventory of that manifest. Raises ConfigError."""
    if manifest is None:
        return listing_of(settings, uri, classes)
    inventory = Inventory(Client("s3", settings.s3, most_connections=2), settings.s3, manifest, WARM | set(classes))
    if inventory.bucket != uri[0]:
        raise ConfigError(f"{manifest} is an inventory of {inventory.bucket}, not of {uri[0]}.")
    return inventory


def mailbox_of(settings: Settings, url: str) -> Mailbox:
    """A queue. Raises ConfigError."""
    sqs = Client("sqs", settings.s3, most_connections=max(AT_A_TIME, settings.s3.concurrency + 2))
    return Mailbox(sqs, url, settings.s3, DeadLetters(state_of(settings) / DEAD_LETTERS))


def objects_of(settings: Settings) -> Objects:
    """Photos of the store, and the sink of their records. Raises ConfigError."""
    limits = ImageLimits(settings.limits.max_file_bytes, settings.limits.max_pixels)
    most = max(AT_A_TIME, 2 * settings.s3.concurrency + 2)  # a photo's body is open while its tags are asked for
    return Objects(Client("s3", settings.s3, most_connections=most), settings.s3, limits)


def state_of(settings: Settings) -> Path:
    """Where the notes about S3 are kept."""
    return settings.state.dir / STATE


def _pipeline(settings: Settings, source: PhotoSource, objects: Objects, tagger: Tagger) -> Pipeline:
    judge = FreshnessPolicy(tagger.identity, now())
    return Pipeline(source, objects, tagger, judge=judge, in_hand=settings.s3.concurrency)


def _file_name(bucket: str) -> str:
    return hashlib.sha256(bucket.encode()).hexdigest()[:16]
