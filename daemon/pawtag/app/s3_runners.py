"""Runners of the S3 sources: queues, photos that still need a record ("owed"), and the listing of a bucket."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

from pawtag.app.runner import run_in_background
from pawtag.domain.records import OBJECT_SCHEME
from pawtag.pipeline.worker import Worker
from pawtag.s3.listing_feed import ListingFeed
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

    def owns(self, uri: str) -> bool:
        """False: the owed runner owns all objects."""
        del uri
        return False

    def rescan(self) -> None:
        """Does nothing: the owed runner tags objects again."""
        self.source.rescan()

    async def run(self, stop: asyncio.Event) -> None:
        """Receive and tag until `stop` is set."""
        async with self.source.serve():
            await self.worker.run(stop)


@dataclass(frozen=True, slots=True)
class OwedRunner:
    """The photos that still need a record: pushed by the store, found by the resync, or to be tagged again."""

    source: ObjectSource
    worker: Worker
    inbox: PushInbox
    resync: Resync | None

    @property
    def pending(self) -> int:
        """How many photos are pending."""
        return len(self.inbox)

    def owns(self, uri: str) -> bool:
        """Whether the photo is an object."""
        return uri.startswith(OBJECT_SCHEME)

    def rescan(self) -> None:
        """Tag the photos again that the fallback has tagged."""
        self.source.rescan()

    async def run(self, stop: asyncio.Event) -> None:
        """Accept, resync and tag until `stop` is set."""
        async with AsyncExitStack() as stack:
            stack.callback(self.source.close)
            await stack.enter_async_context(self.inbox.open())
            if self.resync:
                resyncing = run_in_background(self.resync.run(self.source.report_fault), "resync")
                await stack.enter_async_context(resyncing)
            await self.worker.run(stop)


@dataclass(frozen=True, slots=True)
class ListingRunner:
    """The photos of a bucket's listing. `pawtag s3 scan` drives it."""

    source: ObjectSource
    worker: Worker
    feed: ListingFeed
