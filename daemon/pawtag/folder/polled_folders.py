"""Folders below a watched root that send no events, and are scanned often instead, each for itself."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

log = logging.getLogger(__name__)

# The pause between two scans is at least so many times as long as one takes.
PAUSE_FACTOR, MAX_PAUSE_S = 20, 900.0
STALL_S = 60.0


class PolledFolders:
    """Network file systems, and folders for which the system grants no watch. One that hangs does not stop the others."""

    def __init__(self, interval_s: float, scan: Callable[[Path], Awaitable[object]]) -> None:
        """None yet. `interval_s`: the pause between two scans of one; `scan` may raise OSError."""
        self._interval_s, self._scan = interval_s, scan
        self._due_s: dict[Path, float] = {}
        self._scans: dict[Path, tuple[float, asyncio.Task[None]]] = {}
        self.networks: frozenset[str] = frozenset()
        self.unwatched: list[str] = []

    @property
    def stalled(self) -> list[str]:
        """The folders whose scan does not end."""
        late_s = time.monotonic() - STALL_S
        return sorted(str(folder) for folder, (started_s, _) in self._scans.items() if started_s < late_s)

    def set_networks(self, points: Sequence[str]) -> None:
        """The mount points of network file systems; new ones are said in the log."""
        for point in sorted(set(points) - self.networks):
            log.info("%s is a network file system, and is polled every %g s", point, self._interval_s)
        self.networks = frozenset(points)
        self._keep()

    def set_unwatched(self, folders: list[str]) -> None:
        """The folders without a watch."""
        self.unwatched = folders
        self._keep()

    def scan_due(self) -> None:
        """Begin the scans that are due."""
        now_s = time.monotonic()
        for folder, due_s in self._due_s.items():
            if due_s <= now_s and folder not in self._scans:
                task = asyncio.create_task(self._scan_one(folder), name=f"poll {folder}")
                self._scans[folder] = (now_s, task)

    async def close(self) -> None:
        """End the scans; one that hangs is left to its thread."""
        tasks = [task for _, task in self._scans.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _scan_one(self, folder: Path) -> None:
        started_s = time.monotonic()
        try:
            await self._scan(folder)
        except OSError as error:
            log.debug("the folder %s cannot be scanned: %s", folder, error)
        finally:
            now_s = time.monotonic()
            self._scans.pop(folder, None)
            if folder in self._due_s:
                pause_s = max(self._interval_s, min(PAUSE_FACTOR * (now_s - started_s), MAX_PAUSE_S))
                self._due_s[folder] = now_s + pause_s

    def _keep(self) -> None:
        folders = {Path(folder) for folder in (*self.networks, *self.unwatched)}
        self._due_s = {folder: self._due_s.get(folder, 0.0) for folder in folders}
