"""How many bytes of photos may be in memory at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class MemoryLimiter:
    """Lets work begin while there is room for its bytes; what is larger than all the room begins alone."""

    def __init__(self, total_bytes: int) -> None:
        """Room for `total_bytes`, all of it free."""
        self._total_bytes = total_bytes
        self._taken_bytes = 0
        self._freed = asyncio.Condition()

    @asynccontextmanager
    async def acquire(self, size_bytes: int) -> AsyncIterator[None]:
        """Hold `size_bytes` while the context lasts; wait for them first."""
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
