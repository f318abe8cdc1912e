"""Checks that a root is still the same folder, in a thread of its own: a network mount may never answer."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pawtag.mounts import Mount, list_mounts_below

STALL_S = 20.0


@dataclass(frozen=True, slots=True)
class RootStatus:
    """Device and inode of the root, and what is mounted below it."""

    identity: tuple[int, int]
    mounts: tuple[Mount, ...]


class OnStalled(Protocol):
    """Called when a root stops answering, and when it answers again."""

    def __call__(self, *, is_stalled: bool) -> None:
        """Called on the event loop."""


class RootMonitor:
    """Looks at a root now and then while `run` runs."""

    def __init__(self, root: Path, interval_s: float, on_stalled: OnStalled) -> None:
        """Nothing is looked at yet."""
        self._root, self._interval_s, self._on_stalled = root, interval_s, on_stalled
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="folder-check")
        self.status: RootStatus | None = None
        self.fault: OSError | None = None

    async def look_first(self) -> RootStatus:
        """The root as it is now. Raises OSError if it is gone."""
        await self._look_watched()
        if self.fault:
            raise self.fault
        assert self.status
        return self.status

    async def _look(self) -> None:
        self.status = await asyncio.get_running_loop().run_in_executor(self._thread, read_root_status, self._root)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        try:
            while True:
                await asyncio.sleep(self._interval_s)
                await self._look_watched()
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def _look_watched(self) -> None:
        looking = asyncio.ensure_future(self._look())
        _, pending = await asyncio.wait({looking}, timeout=STALL_S)
        if pending:
            self._on_stalled(is_stalled=True)
        try:
            await looking
            self.fault = None
        except OSError as error:
            self.fault = error
        if pending:
            self._on_stalled(is_stalled=False)


def read_root_status(root: Path) -> RootStatus:
    """Raises OSError if the root is gone."""
    status = root.stat()
    return RootStatus((status.st_dev, status.st_ino), list_mounts_below(root))
