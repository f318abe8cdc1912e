"""Runners of S3's sources: queues, pushed events, photos to tag again, and a bucket's listing."""

import asyncio
from dataclasses import dataclass

from pawtag.app.runner import run_in_background
from pawtag.pipeline.worker import Worker
from pawtag.s3.listing_feed import ListingFeed, UriFeed
from pawtag.s3.object_source import ObjectSource
from pawtag.s3.push_inbox import PushInbox
from pawtag.s3.queue_source import QueueSource
from pawtag.s3.resync import Resync


@dataclass(frozen=True, slots=True)
class QueueRunner:
    """The photos that a queue's messages name."""

    source: QueueSource
    worker: Worker

    @property
    def pending(self) -> int:
        """The approximate number of messages in the queue."""
        return self.source.pending

    async def run(self, stop: asyncio.Event) -> None:
        """Receive and tag until `stop` is set."""
        async with self.source.open():
            await self.worker.run(stop)


@dataclass(frozen=True, slots=True)
class PushRunner:
    """The photos that a store's pushed events and the resync name."""

    source: ObjectSource
    worker: Worker
    inbox: PushInbox
    resync: Resync

    @property
    def pending(self) -> int:
        """How many photos are pending."""
        return len(self.inbox)

    async def run(self, stop: asyncio.Event) -> None:
        """Accept, resync and tag until `stop` is set."""
        async with self.inbox.open(), run_in_background(self.resync.run(self.source.report_fault), "resync"):
            await self.worker.run(stop)


@dataclass(frozen=True, slots=True)
class RetagRunner:
    """The photos of the re-tag list."""

    worker: Worker
    feed: UriFeed

    @property
    def pending(self) -> int:
        """How many photos are pending."""
        return len(self.feed)

    async def run(self, stop: asyncio.Event) -> None:
        """Tag them, or stop when `stop` is set."""
        await self.worker.run(stop)


@dataclass(frozen=True, slots=True)
class ListingRunner:
    """The photos of a bucket's listing. `pawtag s3 scan` drives it."""

    source: ObjectSource
    worker: Worker
    feed: ListingFeed
