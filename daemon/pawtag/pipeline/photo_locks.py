"""One lock for each photo: if two sources name the same photo, one waits for the other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class PhotoLocks:
    """Locks by URI, which exist as long as somebody holds or awaits them. Lives on the event loop."""

    def __init__(self) -> None:
        """Nothing is locked."""
        self._locks: dict[str, asyncio.Lock] = {}
        self._users: dict[str, int] = {}

    @asynccontextmanager
    async def hold(self, uri: str) -> AsyncIterator[None]:
        """Hold the photo's lock while the context lasts."""
        lock = self._locks.setdefault(uri, asyncio.Lock())
        self._users[uri] = self._users.get(uri, 0) + 1
        try:
            async with lock:
                yield
        finally:
            self._users[uri] -= 1
            if not self._users[uri]:
                del self._users[uri], self._locks[uri]
