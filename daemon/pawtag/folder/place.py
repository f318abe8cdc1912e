"""A folder that may be a mount point: checks that it is on the same file system as before."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pawtag.mounts import find_mount

SAVE_INTERVAL_S = 86_400.0  # the state deletes a row that was not saved for a month


class Remembered(Protocol):
    """A text that is kept when the process ends; empty if there is none."""

    position: str

    def save(self) -> None:
        """Keep it."""


class Place:
    """Refuses a folder that is empty now and was on another file system when it had content: it is not mounted."""

    def __init__(self, folder: Path, remembered: Remembered, is_empty: Callable[[], bool]) -> None:
        """`remembered` holds the file system; `is_empty` reads the folder."""
        self._folder, self._remembered, self._is_empty = folder, remembered, is_empty
        self._device: int | None = None
        self._saved_at_s = -SAVE_INTERVAL_S

    def check(self) -> None:
        """Remember the file system of a folder with content.

        Raises OSError if the folder is empty and was on another file system.
        """
        here, before, now_s = self._describe(), self._remembered.position, time.monotonic()
        if here != before or now_s - self._saved_at_s > SAVE_INTERVAL_S:
            if not self._is_empty():
                self._remembered.position, self._saved_at_s = here, now_s
                self._remembered.save()
            elif before not in ("", here):
                raise FileNotFoundError(0, "it is empty, and was on another file system: mount it", str(self._folder))
        self._device = self._read_device()

    def check_device(self) -> None:
        """A cheap check for each write: it runs `check` only if the device has changed. Raises OSError."""
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
