"""What runs S3's sources: queues, pushed events, photos to tag again, and a bucket's listing."""

import asyncio
from dataclasses import dataclass

from pawtag.pipeline.worker import Worker
from pawtag.s3.listing_feed import ListingFeed, UriFeed
from pawtag.s3.object_source import ObjectSource
from pawtag.s3.push_inbox import PushInbox
from pawtag.s3.queue_source import QueueSource
from pawtag.s3.resync import Resync


@dataclass(frozen=True, slots=True)
class QueueRunner:
    """A queue's source and the pipeline that works it off."""

    source: QueueSource
    worker: Worker

    @property
    def pending(self) -> int:
        """About how many messages the queue holds."""
        return self.source.pending

    async def run(self, stop: asyncio.Event) -> None:
        """Receive and tag."""
        async with self.source.open():
            await self.worker.run(stop)


@dataclass(frozen=True, slots=True)
class PushRunner:
    """The events that a store pushes, and what sweeps find, with the pipeline that works them off."""

    source: ObjectSource
    worker: Worker
    inbox: PushInbox
    sweep: Resync

    @property
    def pending(self) -> int:
        """How many photos are known to wait."""
        return len(self.inbox)

    async def run(self, stop: asyncio.Event) -> None:
        """Take in and tag."""
        async with self.inbox.open():
            sweeping = asyncio.create_task(self.sweep.run(self.source.report_fault), name="sweep")
            try:
                await self.worker.run(stop)
            finally:
                sweeping.cancel()
                await asyncio.gather(sweeping, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class RetagRunner:
    """Photos that are to be looked at once more, and the pipeline that does."""

    worker: Worker
    feed: UriFeed

    @property
    def pending(self) -> int:
        """How many wait for their turn."""
        return len(self.feed)

    async def run(self, stop: asyncio.Event) -> None:
        """Tag them."""
        await self.worker.run(stop)


@dataclass(frozen=True, slots=True)
class ListingRunner:
    """A bucket's listing and the pipeline that brings it up to date."""

    source: ObjectSource
    worker: Worker
    feed: ListingFeed
