"""The gate that holds the backlog back while interactive requests are being answered."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

# Even with many interactive requests, the backlog gets one decode and one batch in this time.
MAX_WAIT_S = 1.0


class InteractiveGate:
    """Counts interactive requests; the backlog waits until there is none, but not longer than a second."""

    def __init__(self, max_wait_s: float = MAX_WAIT_S) -> None:
        """Open: there is no request."""
        self.max_wait_s = max_wait_s
        self._requests = 0
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()

    @contextmanager
    def track_request(self) -> Iterator[None]:
        """Hold the backlog back while the context lasts."""
        self._requests += 1
        try:
            yield
        finally:
            self._requests -= 1
            self.wake()

    def wake(self) -> None:
        """Let those who wait look again."""
        self._changed.set()

    async def wait_for_turn(self) -> None:
        """Wait until one more photo of the backlog may be decoded. With requests, one photo a second may pass."""
        async with self._turn:
            await self.wait(asyncio.get_running_loop().time() + self.max_wait_s)

    async def wait(self, deadline_s: float, is_overtaken: Callable[[], bool] = lambda: False) -> None:
        """Wait until there is no request, until `is_overtaken`, or until the event loop's clock says `deadline_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline_s):
                while self._requests and not is_overtaken():
                    self._changed.clear()
                    await self._changed.wait()
