"""Native file events as hints: watchdog's observer, reduced to what may have changed."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from pawtag.config import FolderSettings
from pawtag.folder.hints import Change, Hints

if TYPE_CHECKING:
    from pawtag.folder.watches import WatchSelection

WATCHED_EVENTS = [
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
]
OVERFLOW_LOGGER = "watchdog.observers.inotify_c"
# Only Linux reports when a file is closed. There, a modification means that a writer has the file open.
TELLS_CLOSE = sys.platform == "linux"
CHANGES: dict[type[FileSystemEvent], Change] = {
    FileCreatedEvent: Change.SEEN,
    FileModifiedEvent: Change.WRITTEN if TELLS_CLOSE else Change.SEEN,
    FileClosedEvent: Change.CLOSED,
}


class NativeObserver:
    """Watches `root` while its context lasts, and fills `hints` from watchdog's threads.

    `is_wanted`: whether a folder below the root gets a watch. Raises OSError if the root cannot be watched.
    """

    def __init__(self, root: Path, settings: FolderSettings, hints: Hints, is_wanted: Callable[[str], bool]) -> None:
        """Prepare to watch."""
        self._root, self._recursive = root, settings.recursive
        self._handler, self._overflow = _Handler(hints), _Overflow(hints)
        self._observer, self._selection = _create_observer(root, is_wanted)

    def __enter__(self) -> Self:
        """Start watching."""
        logging.getLogger(OVERFLOW_LOGGER).addHandler(self._overflow)
        try:
            self._observer.schedule(
                self._handler, str(self._root), recursive=self._recursive, event_filter=WATCHED_EVENTS
            )
            self._observer.start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop watching."""
        self._stop()

    @property
    def is_alive(self) -> bool:
        """Whether events still arrive: watchdog's threads end silently when something in them fails."""
        reader = getattr(self._observer, "_inotify_fd", self._observer)
        return all(thread.is_alive() for thread in (self._observer, reader, *self._observer.emitters))

    def list_unwatched(self) -> list[str]:
        """The highest folders below the root for which the system grants no watch."""
        return self._selection.list_denied() if self._selection else []

    def retry_unwatched(self) -> None:
        """Try to watch them again. Blocks."""
        if self._selection:
            self._selection.retry()

    def _stop(self) -> None:
        logging.getLogger(OVERFLOW_LOGGER).removeHandler(self._overflow)
        self._observer.stop()
        if self._observer.is_alive():
            self._observer.join(timeout=5)


class _Handler(FileSystemEventHandler):
    """Only notes hints: an exception here would end watchdog's dispatch for good."""

    def __init__(self, hints: Hints) -> None:
        self._hints = hints

    def dispatch(self, event: FileSystemEvent) -> None:
        source, target = os.fsdecode(event.src_path), os.fsdecode(event.dest_path)
        if isinstance(event, (DirCreatedEvent, DirMovedEvent)):
            folder = target if isinstance(event, DirMovedEvent) else source
            if folder:
                self._hints.add_folder(folder)  # its files may be older than its watch
            return
        if isinstance(event, (FileDeletedEvent, FileMovedEvent)) and source:
            self._hints.add(source, Change.GONE)
        if isinstance(event, FileMovedEvent) and target:
            self._hints.add(target, Change.CLOSED)
        elif change := CHANGES.get(type(event)):
            self._hints.add(source, change)


class _Overflow(logging.Handler):
    """watchdog reports a full event queue only in its log."""

    def __init__(self, hints: Hints) -> None:
        super().__init__(logging.WARNING)
        self._hints = hints

    def emit(self, record: logging.LogRecord) -> None:
        if "overflow" in record.getMessage():
            self._hints.add_folder(None)


def _create_observer(root: Path, is_wanted: Callable[[str], bool]) -> tuple[BaseObserver, "WatchSelection | None"]:
    """The observer of the system, and on Linux which folders it watches."""
    if sys.platform == "linux":
        from pawtag.folder.watches import SelectiveObserver, WatchSelection

        selection = WatchSelection(root, is_wanted)
        return SelectiveObserver(selection), selection
    return Observer(), None
