"""Scans a folder in a thread: returns photos that need a record in chunks, and logs folders that cannot be read."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from pawtag.config import FolderSettings
from pawtag.folder.walk import FoundPhoto, Walk

log = logging.getLogger(__name__)

CHUNK_PHOTOS = 500

# Gives the photos that a scan finds in a walk. A thread calls it and iterates over the result.
BuildScan = Callable[[Walk], Iterable[FoundPhoto]]
OnFound = Callable[[list[FoundPhoto]], None]


class Scanner:
    """Scans `root` or a folder below it. `on_found` is called on the event loop."""

    def __init__(self, root: Path, settings: FolderSettings, build_scan: BuildScan, on_found: OnFound) -> None:
        """Nothing is read yet."""
        self._root, self._settings, self._build_scan, self._on_found = root, settings, build_scan, on_found
        self._loop = asyncio.get_running_loop()
        self._named: set[str] = set()

    async def scan(self, folder: Path, passed_over: frozenset[str] = frozenset()) -> tuple[int, Walk]:
        """Scan `folder`; returns how many photos need a record, and the walk with its counts. Raises OSError."""
        ended = threading.Event()
        walk = Walk(
            folder, self._settings, is_ended=ended.is_set, top=self._root, passed_over=passed_over - {str(folder)}
        )
        try:
            count = await asyncio.to_thread(self._scan_in_thread, walk)
        except asyncio.CancelledError:
            ended.set()  # the thread must end, too
            raise
        for unreadable in set(walk.unreadable) - self._named:
            log.warning(
                "the folder %s cannot be read: grant pawtag's user read access", unreadable, extra={"uri": unreadable}
            )
        self._named = {path for path in self._named if not path.startswith(str(folder))} | set(walk.unreadable)
        return count, walk

    def _scan_in_thread(self, walk: Walk) -> int:
        count = 0
        chunk: list[FoundPhoto] = []
        for found in self._build_scan(walk):
            chunk.append(found)
            count += 1
            if len(chunk) >= CHUNK_PHOTOS:
                self._loop.call_soon_threadsafe(self._on_found, chunk)
                chunk = []
        self._loop.call_soon_threadsafe(self._on_found, chunk)
        return count
