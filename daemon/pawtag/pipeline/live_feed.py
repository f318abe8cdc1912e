"""The live feed: what happens now, for readers who may be slow."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from pawtag.domain.outcomes import Outcome

MAX_QUEUED = 1000


class Missed:
    """Told to a reader that fell behind: outcomes were left out, and what it shows must be read again."""


class LiveFeed:
    """An observer with a bounded queue for each reader. Lives on the event loop."""

    def __init__(self, max_queued: int = MAX_QUEUED) -> None:
        """No reader yet."""
        self._max_queued = max_queued
        self._readers: set[asyncio.Queue[Outcome | Missed]] = set()

    def __call__(self, outcome: Outcome) -> None:
        """Queue one outcome for each reader. Where a queue is full, its reader starts again."""
        for queue in self._readers:
            if queue.full():
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(Missed())
            queue.put_nowait(outcome)

    @contextmanager
    def read(self) -> Iterator[AsyncIterator[Outcome | Missed]]:
        """What happens while the context lasts."""
        queue: asyncio.Queue[Outcome | Missed] = asyncio.Queue(self._max_queued)
        self._readers.add(queue)
        try:
            yield _iterate(queue)
        finally:
            self._readers.discard(queue)


async def _iterate(queue: asyncio.Queue[Outcome | Missed]) -> AsyncIterator[Outcome | Missed]:
    while True:
        yield await queue.get()
