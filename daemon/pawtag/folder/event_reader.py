"""Reads native events: a thread looks at the files, and the event loop gets the results."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pawtag.config import FolderSettings
from pawtag.domain.records import PhotoRef
from pawtag.folder.hints import Change, Hints
from pawtag.folder.observer import TELLS_CLOSE
from pawtag.folder.scanner import OnFound
from pawtag.folder.walk import NOT_A_PHOTO, find_photo, is_other_file, is_within

OnEvent = Callable[[str, Change, PhotoRef | None], None]
OnSkipped = Callable[[str, int], None]


def ignore_skipped(_reason: str, _count: int) -> None:
    """For callers that do not count what is skipped."""


@dataclass(frozen=True, slots=True)
class WatchListener:
    """The watcher's callbacks. All are called on the event loop.

    `on_found` gets photos of a scan that need a record. `on_event` gets the path of an event, the change, and the
    version of the file if it exists. `on_skipped` gets a reason and a count.
    """

    on_found: OnFound
    on_event: OnEvent
    on_skipped: OnSkipped = ignore_skipped


class EventReader:
    """Takes hints, and passes on those about photos below `root`."""

    def __init__(
        self,
        root: Path,
        settings: FolderSettings,
        listener: WatchListener,
        request_scan: Callable[[str | None], None],
        max_paths: int,
    ) -> None:
        """Nothing is read before `run`. `request_scan` gets each new folder, or None if everything must be scanned."""
        self._root, self._settings, self._listener, self._request_scan = root, settings, listener, request_scan
        self._loop, self._hinted = asyncio.get_running_loop(), asyncio.Event()
        self.hints = Hints(lambda: self._loop.call_soon_threadsafe(self._hinted.set), max_paths)

    async def run(self) -> None:
        """Pass on what events say, until cancelled."""
        while True:
            await self._hinted.wait()
            self._hinted.clear()
            changes, folders = self.hints.take()
            for path, change, version in await asyncio.to_thread(self._look_at, changes):
                if change is Change.OTHER:
                    self._listener.on_skipped(NOT_A_PHOTO, 1)
                else:
                    self._listener.on_event(path, change, version)
            for folder in folders:
                self._request_scan(folder)

    def _look_at(self, changes: dict[str, Change]) -> list[tuple[str, Change, PhotoRef | None]]:
        """In a thread: the changes of photos, with the versions of those that are there."""
        looked: list[tuple[str, Change, PhotoRef | None]] = []
        for path, change in changes.items():
            if is_within(path, self._root, self._settings):
                looked += _look_at_photo(path, change)
            elif change is Change.CLOSED and is_other_file(os.path.basename(path)):  # noqa: PTH119 - any bytes
                looked.append((path, Change.OTHER, None))
        return looked


def _look_at_photo(path: str, change: Change) -> list[tuple[str, Change, PhotoRef | None]]:
    if change in (Change.CLOSED, Change.GONE):
        return [(path, change, None)]
    found = find_photo(path)
    if found is None:
        return []
    is_begun = found.ref.size_bytes == 0 and TELLS_CLOSE  # its writer has only opened it
    return [(path, Change.WRITTEN if is_begun else change, found.ref)]
