"""A limit for the bytes of photos that are in memory at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class MemoryLimiter:
    """Grants bytes up to a total. A request larger than the total is granted when nothing else is."""

    def __init__(self, total_bytes: int) -> None:
        """A limiter of `total_bytes`, all of them free."""
        self._total_bytes = total_bytes
        self._taken_bytes = 0
        self._freed = asyncio.Condition()

    @asynccontextmanager
    async def acquire(self, size_bytes: int) -> AsyncIterator[None]:
        """Wait for `size_bytes`, and hold them while the context lasts."""
        async with self._freed:
            await self._freed.wait_for(lambda: self._has_room(size_bytes))
            self._taken_bytes += size_bytes
        try:
            yield
        finally:
            async with self._freed:
                self._taken_bytes -= size_bytes
                self._freed.notify_all()

    def _has_room(self, size_bytes: int) -> bool:
        return self._taken_bytes == 0 or self._taken_bytes + size_bytes <= self._total_bytes
