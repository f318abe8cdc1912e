"""Wiring of S3: from the settings to sources, workers and their runners."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
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
from pawtag.s3.tuning import S3Tuning
from pawtag.state import DeadLetters, ResumePoint

STATE_FOLDER, DEAD_LETTERS_FILE = "s3", "dead-letters.jsonl"


@dataclass(frozen=True, slots=True)
class S3Wiring:
    """Builds the parts of S3. Every method that makes a client raises ConfigError for settings that boto3 refuses."""

    settings: Settings
    tuning: S3Tuning = field(default_factory=S3Tuning)

    def build_queue_runners(self, tagger: Tagger) -> list[QueueRunner]:
        """One runner for each queue."""
        s3, runners = self.settings.s3, []
        for url in s3.queue_urls:
            objects = self.build_objects()
            source = QueueSource(self.build_queue(url), objects, s3, tagger.identity.fingerprint, self.tuning)
            runners.append(QueueRunner(source, self._build_worker(source, objects, tagger)))
        return runners

    def build_push_runners(self, tagger: Tagger) -> list[PushRunner]:
        """The runner of the bucket itself, if it has no queue or s3.rescan_s asks for a resync."""
        s3 = self.settings.s3
        if s3.bucket is None or (s3.queue_urls and s3.rescan_s is None):
            return []
        journal = self.state_dir / f"pushed-{_digest(s3.bucket)}.journal"
        inbox = PushInbox(s3, journal, DeadLetters(self.state_dir / DEAD_LETTERS_FILE))
        objects = self.build_objects()
        source = ObjectSource(f"bucket {s3.bucket}", inbox, objects)
        resume_point = self.build_resume_point("resync", s3.bucket, s3.prefix, str(s3.endpoint_url))
        listing = Listing(self.build_client("s3"), s3, (s3.bucket, s3.prefix))
        resync = Resync(listing, inbox, resume_point, s3.rescan_s or self.tuning.rescan_s)
        return [PushRunner(source, self._build_worker(source, objects, tagger), inbox, resync)]

    def build_retag_runners(self, tagger: Tagger, uris: Collection[str]) -> list[RetagRunner]:
        """The runner of photos that another model tagged, if there are any."""
        if not uris:
            return []
        feed, objects = UriFeed(uris), self.build_objects()
        source = ObjectSource("photos to tag again", feed, objects)
        return [RetagRunner(self._build_worker(source, objects, tagger), feed)]

    def build_listing_runner(
        self, tagger: Tagger, uri: tuple[str, str], classes: Sequence[str], resume_point: ResumePoint
    ) -> ListingRunner:
        """The runner of a bucket's listing, below a prefix."""
        feed = ListingFeed(self.build_listing(uri, classes), resume_point)
        objects = self.build_objects()
        source = ObjectSource(f"bucket {uri[0]}", feed, objects, max_attempts=self.tuning.scan_attempts)
        return ListingRunner(source, self._build_worker(source, objects, tagger), feed)

    def build_listing(self, uri: tuple[str, str], classes: Sequence[str]) -> Listing:
        """A bucket's listing below a prefix. `classes`: storage classes to read besides the default ones."""
        return Listing(self.build_client("s3"), self.settings.s3, uri, DEFAULT_STORAGE_CLASSES | set(classes))

    def open_pages(self, uri: tuple[str, str], classes: Sequence[str], manifest: str | None) -> Pages:
        """A bucket's photos below a prefix, from its listing or from the inventory of that manifest."""
        if manifest is None:
            return self.build_listing(uri, classes)
        allowed = DEFAULT_STORAGE_CLASSES | set(classes)
        inventory = Inventory(self.build_client("s3"), self.settings.s3, manifest, allowed)
        if inventory.bucket != uri[0]:
            raise ConfigError(f"{manifest} is an inventory of {inventory.bucket}, not of {uri[0]}.")
        return inventory

    def build_queue(self, url: str) -> SqsQueue:
        """A queue with its local dead letters."""
        connections = max(LOOKUP_THREADS, self.settings.s3.concurrency + 2)
        dead_letters = DeadLetters(self.state_dir / DEAD_LETTERS_FILE)
        return SqsQueue(self.build_client("sqs", connections), url, self.settings.s3, dead_letters)

    def build_objects(self) -> Objects:
        """The photos of the store, and the sink of their records."""
        limits = ImageLimits(self.settings.limits.max_file_bytes, self.settings.limits.max_pixels)
        # A photo's body is open while its tags are read: two connections for each.
        connections = max(LOOKUP_THREADS, 2 * self.settings.s3.concurrency + 2)
        return Objects(self.build_client("s3", connections), self.settings.s3, limits)

    def build_client(self, service: str, max_connections: int = 2) -> Client:
        """A client of one service."""
        return Client(service, self.settings.s3, max_connections=max_connections, tuning=self.tuning)

    def build_resume_point(self, job: str, *parameters: str) -> ResumePoint:
        """The resume point of a job. Raises PawtagError if its file cannot be read."""
        return ResumePoint(self.state_dir, job, *parameters, save_interval_s=self.tuning.save_interval_s)

    @property
    def state_dir(self) -> Path:
        """The folder of the state of S3."""
        return self.settings.state.dir / STATE_FOLDER

    def _build_worker(self, source: PhotoSource, objects: Objects, tagger: Tagger) -> Worker:
        policy = FreshnessPolicy(tagger.identity, utc_timestamp())
        return Worker(source, objects, tagger, policy=policy, concurrency=self.settings.s3.concurrency)


def _digest(bucket: str) -> str:
    return hashlib.sha256(bucket.encode()).hexdigest()[:16]
