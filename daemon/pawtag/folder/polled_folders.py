"""Folders below a watched root that send no events, and are scanned often instead."""

import logging
from collections.abc import Sequence
from pathlib import Path

log = logging.getLogger(__name__)

# The pause between two scans is at least so many times as long as one takes.
PAUSE_FACTOR, MAX_PAUSE_S = 20, 900.0


class PolledFolders:
    """Network file systems, and folders for which the system grants no watch. Times: the caller's monotonic clock."""

    def __init__(self, interval_s: float) -> None:
        """None yet. `interval_s`: the pause between two scans of one."""
        self._interval_s = interval_s
        self._due_s: dict[Path, float] = {}
        self.networks: frozenset[str] = frozenset()
        self.unwatched: list[str] = []

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

    def take_due(self, now_s: float) -> set[Path]:
        """The folders to scan now."""
        return {folder for folder, due_s in self._due_s.items() if due_s <= now_s}

    def note_scan(self, folder: Path, now_s: float, took_s: float) -> None:
        """The folder was scanned, which took so long."""
        if folder in self._due_s:
            self._due_s[folder] = now_s + max(self._interval_s, min(PAUSE_FACTOR * took_s, MAX_PAUSE_S))

    def _keep(self) -> None:
        folders = {Path(folder) for folder in (*self.networks, *self.unwatched)}
        self._due_s = {folder: self._due_s.get(folder, 0.0) for folder in folders}
