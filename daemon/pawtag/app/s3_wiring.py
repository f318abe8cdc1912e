"""Wiring of S3: from the settings to sources, workers and their runners."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pawtag.app.pipeline_parts import PipelineParts
from pawtag.app.s3_runners import ListingRunner, OwedRunner, QueueRunner
from pawtag.config import Settings
from pawtag.domain.errors import ConfigError
from pawtag.domain.outcomes import PhotoSkipped
from pawtag.domain.ports import PhotoSource
from pawtag.images import ImageLimits
from pawtag.pipeline.worker import Worker
from pawtag.s3.client import Client
from pawtag.s3.enqueue import LOOKUP_THREADS, Pages
from pawtag.s3.inventory import Inventory
from pawtag.s3.listing import DEFAULT_STORAGE_CLASSES, Listing
from pawtag.s3.listing_feed import ListingFeed
from pawtag.s3.object_source import ObjectSource
from pawtag.s3.objects import Objects
from pawtag.s3.push_inbox import PushInbox
from pawtag.s3.queue_source import QueueSource
from pawtag.s3.resync import Resync
from pawtag.s3.sqs_queue import SqsQueue
from pawtag.s3.tuning import S3Tuning
from pawtag.state.database import StateDatabase
from pawtag.state.dead_letters import DeadLetters
from pawtag.state.owed import OwedPhotos
from pawtag.state.resume_point import ResumePoint

OWED_SOURCE = "photos to tag again"  # the source's name if only queues announce new photos


@dataclass(frozen=True, slots=True)
class S3Wiring:
    """Builds the parts of S3. Every method that makes a client raises ConfigError for settings that boto3 refuses."""

    settings: Settings
    tuning: S3Tuning = field(default_factory=S3Tuning)
    on_error: Callable[[str, str], None] = lambda _operation, _code: None
    """Called for each error of a store or a queue, with the operation and the error code."""

    def build_queue_runners(self, parts: PipelineParts) -> list[QueueRunner]:
        """One runner for each queue."""
        runners = []
        for url in self.settings.s3.queue_urls:
            source = QueueSource(
                self.build_queue(url, parts.database),
                self.build_objects(),
                self.settings.s3,
                lambda: parts.tagger.identity.fingerprint,
                on_skipped=lambda skipped: _publish_skipped(parts, skipped),
                tuning=self.tuning,
            )
            runners.append(QueueRunner(source, self._build_worker(source, parts)))
        return runners

    def build_owed_runner(self, parts: PipelineParts) -> OwedRunner:
        """The runner of photos that still need a record. It lists the bucket without a queue, or with s3.rescan_s."""
        s3 = self.settings.s3
        inbox = PushInbox(
            s3,
            OwedPhotos(parts.database, self.owed_source),
            DeadLetters(parts.database),
            is_fallback=lambda: parts.tagger.identity.model.fallback,
            on_skipped=lambda skipped: _publish_skipped(parts, skipped),
        )
        name = f"bucket {s3.bucket}" if self.accepts_pushes else OWED_SOURCE
        source = ObjectSource(name, inbox, self.build_objects())
        resync = self._build_resync(inbox, parts) if self.accepts_pushes else None
        return OwedRunner(source, self._build_worker(source, parts), inbox, resync)

    @property
    def owed_source(self) -> str:
        """The key of the store in `OwedPhotos`: another store may have a bucket of the same name."""
        s3 = self.settings.s3
        place = [s3.bucket, s3.prefix] if s3.bucket else sorted(s3.queue_urls)
        return json.dumps([s3.endpoint_url, *place])

    @property
    def accepts_pushes(self) -> bool:
        """Whether the bucket itself is a source: it has no queue, or s3.rescan_s asks for a resync."""
        s3 = self.settings.s3
        return s3.bucket is not None and not (s3.queue_urls and s3.rescan_s is None)

    def build_listing_runner(
        self, parts: PipelineParts, uri: tuple[str, str], classes: Sequence[str], resume_point: ResumePoint
    ) -> ListingRunner:
        """The runner of a bucket's listing, below a prefix."""
        feed = ListingFeed(self.build_listing(uri, classes), resume_point)
        source = ObjectSource(f"bucket {uri[0]}", feed, self.build_objects(), max_attempts=self.tuning.scan_attempts)
        return ListingRunner(source, self._build_worker(source, parts), feed)

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

    def build_queue(self, url: str, database: StateDatabase) -> SqsQueue:
        """A queue with its local dead letters."""
        connections = max(LOOKUP_THREADS, self.settings.s3.concurrency + 2)
        return SqsQueue(self.build_client("sqs", connections), url, self.settings.s3, DeadLetters(database))

    def build_objects(self) -> Objects:
        """The photos of the store."""
        limits = ImageLimits(self.settings.limits.max_file_bytes, self.settings.limits.max_pixels)
        # A photo's body is open while its tags are read: two connections for each.
        connections = max(LOOKUP_THREADS, 2 * self.settings.s3.concurrency + 2)
        return Objects(self.build_client("s3", connections), self.settings.s3, limits)

    def build_client(self, service: str, max_connections: int = 2) -> Client:
        """A client of one service."""
        client = Client(service, self.settings.s3, max_connections=max_connections, tuning=self.tuning)
        client.on_error = self.on_error
        return client

    def build_resume_point(self, database: StateDatabase, job: str, *parameters: str) -> ResumePoint:
        """The resume point of a job. Raises TemporaryError if it cannot be read."""
        return ResumePoint(database, job, *parameters, save_interval_s=self.tuning.save_interval_s)

    def _build_resync(self, inbox: PushInbox, parts: PipelineParts) -> Resync:
        s3 = self.settings.s3
        bucket = str(s3.bucket)
        resume_point = self.build_resume_point(parts.database, "resync", bucket, s3.prefix, str(s3.endpoint_url))
        listing = Listing(self.build_client("s3"), s3, (bucket, s3.prefix))
        return Resync(
            listing,
            inbox,
            resume_point,
            s3.rescan_s or self.tuning.rescan_s,
            on_skipped=lambda skipped: _publish_skipped(parts, skipped),
        )

    def _build_worker(self, source: PhotoSource, parts: PipelineParts) -> Worker:
        owed = OwedPhotos(parts.database, self.owed_source)
        return parts.build_worker(source, concurrency=self.settings.s3.concurrency, owed=owed)


def _publish_skipped(parts: PipelineParts, skipped: Counter[str]) -> None:
    for reason, count in skipped.items():
        parts.observers.publish(PhotoSkipped(reason, count))
