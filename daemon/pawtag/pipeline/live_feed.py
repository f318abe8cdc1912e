"""The live feed: what happens now, for readers who may be slow."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Item = TypeVar("Item")
MAX_QUEUED = 1000


class Missed:
    """Sent to a reader that was too slow: it missed items, and must read its list again."""


class Closed:
    """Told to each reader at the end."""


class LiveFeed(Generic[Item]):
    """A bounded queue for each reader. Lives on the event loop."""

    def __init__(self, max_queued: int = MAX_QUEUED) -> None:
        """No reader yet."""
        self._max_queued = max_queued
        self._readers: set[asyncio.Queue[Item | Missed | Closed]] = set()
        self._is_closed = False

    def __call__(self, item: Item | Closed) -> None:
        """Queue one item for each reader. A full queue is emptied, and its reader must start again."""
        for queue in self._readers:
            if queue.full():
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(Missed())
            queue.put_nowait(item)

    @property
    def is_read(self) -> bool:
        """Whether there is a reader."""
        return bool(self._readers)

    def close(self) -> None:
        """End all readers, and those to come."""
        self._is_closed = True
        self(Closed())

    @contextmanager
    def read(self) -> Iterator[AsyncIterator[Item | Missed]]:
        """What happens while the context lasts; it ends with the feed."""
        queue: asyncio.Queue[Item | Missed | Closed] = asyncio.Queue(self._max_queued)
        self._readers.add(queue)
        if self._is_closed:
            queue.put_nowait(Closed())
        try:
            yield _iterate(queue)
        finally:
            self._readers.discard(queue)


async def _iterate(queue: asyncio.Queue[Item | Missed | Closed]) -> AsyncIterator[Item | Missed]:
    while not isinstance(item := await queue.get(), Closed):
        yield item
