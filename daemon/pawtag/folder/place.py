"""A folder that may be a mount point: whether what is there now is what was there before."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pawtag.mounts import find_mount

SAVE_INTERVAL_S = 86_400.0  # what is remembered goes after a month without a word


class Remembered(Protocol):
    """One text that outlives the process; empty if there is none."""

    position: str

    def save(self) -> None:
        """Keep it."""


class Place:
    """Refuses an empty folder on another file system than that on which it held something: it is not mounted."""

    def __init__(self, folder: Path, remembered: Remembered, is_empty: Callable[[], bool]) -> None:
        """`remembered` holds the file system; `is_empty` reads the folder."""
        self._folder, self._remembered, self._is_empty = folder, remembered, is_empty
        self._device: int | None = None
        self._saved_at_s = -SAVE_INTERVAL_S

    def check(self) -> None:
        """Raises OSError for an empty folder that was on another file system. Remembers that of a folder with content."""
        here, before, now_s = self._describe(), self._remembered.position, time.monotonic()
        if here != before or now_s - self._saved_at_s > SAVE_INTERVAL_S:
            if not self._is_empty():
                self._remembered.position, self._saved_at_s = here, now_s
                self._remembered.save()
            elif before not in ("", here):
                raise FileNotFoundError(0, "it is empty, and was on another file system: mount it", str(self._folder))
        self._device = self._read_device()

    def check_device(self) -> None:
        """The same, as cheaply as each write can bear. Raises OSError."""
        if not self._remembered.position or self._read_device() != self._device:
            self.check()

    def _describe(self) -> str:
        mount = find_mount(self._folder)
        if mount is None:
            return "unknown"
        source = mount.source if mount.is_network else ""  # a disk may be /dev/sda now, and /dev/sdb after a restart
        return f"{mount.kind} {source} {mount.root} {mount.point}"

    def _read_device(self) -> int | None:
        try:
            return self._folder.stat().st_dev
        except FileNotFoundError:
            return None


def is_empty_folder(folder: Path) -> bool:
    """Whether nothing is in the folder, or it is not there."""
    try:
        with os.scandir(folder) as entries:
            return next((entry for entry in entries if entry.name != "lost+found"), None) is None
    except FileNotFoundError:
        return True
