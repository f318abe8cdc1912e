"""Folders below a watched root that send no events, and are scanned often instead."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

log = logging.getLogger(__name__)

# A slow scan makes the pause longer: PAUSE_FACTOR times as long as the scan took, but at most MAX_PAUSE_S.
PAUSE_FACTOR, MAX_PAUSE_S = 20, 900.0
STALL_S = 60.0
UNWATCHED = "folders without a watch"


class PolledFolders:
    """Scans each network file system in its own task, because one may hang. Folders without a watch share one task."""

    def __init__(self, interval_s: float, scan: Callable[[Path], Awaitable[object]]) -> None:
        """None yet. `interval_s`: the pause between two scans of one; `scan` may raise OSError."""
        self._interval_s, self._scan = interval_s, scan
        self._due_s: dict[str, float] = {}
        self._scans: dict[str, tuple[float, asyncio.Task[None]]] = {}
        self._faults: dict[str, str] = {}
        self.networks: frozenset[str] = frozenset()
        self.unwatched: list[str] = []

    def find_fault(self) -> str | None:
        """What is wrong with a polled folder: its scan does not end, or it cannot be read. None if nothing is wrong."""
        late_s = time.monotonic() - STALL_S
        stalled = (name for name, (started_s, _) in self._scans.items() if started_s < late_s and name != UNWATCHED)
        if name := next(stalled, None):
            return f"{name} does not answer: check its server"
        return next((f"{name} cannot be read ({reason})" for name, reason in self._faults.items()), None)

    def set_networks(self, points: Sequence[str]) -> None:
        """Set the mount points of network file systems; the log names new ones."""
        for point in sorted(set(points) - self.networks):
            log.info("%s is a network file system, and is polled every %g s", point, self._interval_s)
        self.networks = frozenset(points)
        self._faults = {name: fault for name, fault in self._faults.items() if name in self.networks}

    def scan_due(self) -> None:
        """Begin the scans that are due."""
        now_s = time.monotonic()
        for name in (*self.networks, *([UNWATCHED] if self.unwatched else [])):
            if self._due_s.get(name, 0.0) <= now_s and name not in self._scans:
                folders = self.unwatched if name == UNWATCHED else [name]
                self._scans[name] = (now_s, asyncio.create_task(self._scan_all(name, folders), name=f"poll {name}"))

    async def close(self) -> None:
        """Cancel the scans. The thread of a scan that hangs is abandoned."""
        tasks = [task for _, task in self._scans.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _scan_all(self, name: str, folders: Sequence[str]) -> None:
        started_s = time.monotonic()
        try:
            for folder in folders:
                await self._scan_one(name, folder)
        finally:
            now_s = time.monotonic()
            self._scans.pop(name, None)
            self._due_s[name] = now_s + max(self._interval_s, min(PAUSE_FACTOR * (now_s - started_s), MAX_PAUSE_S))

    async def _scan_one(self, name: str, folder: str) -> None:
        try:
            await self._scan(Path(folder))
            self._faults.pop(name, None)
        except OSError as error:
            log.debug("the folder %s cannot be scanned: %s", folder, error)
            if name in self.networks:
                self._faults[name] = error.strerror or str(error)
