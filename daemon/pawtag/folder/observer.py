"""Native file events as hints: watchdog's observer, reduced to two callbacks."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

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

Hint = Callable[[str, bool], None]
Rescan = Callable[[str | None], None]


class NativeObserver:
    """Watches `root` while its context lasts.

    Calls `hint(path, closed)` for files, `rescan(folder)` for new folders, `rescan(None)` after an overflow.
    Both are called from watchdog's threads. Raises OSError if the root cannot be watched.
    """

    def __init__(self, root: Path, settings: FolderSettings, hint: Hint, rescan: Rescan) -> None:
        """Prepare to watch."""
        self._root, self._recursive = root, settings.recursive
        self._handler, self._overflow = _Handler(hint, rescan), _Overflow(rescan)
        self._observer = _create_observer()

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

    def _stop(self) -> None:
        logging.getLogger(OVERFLOW_LOGGER).removeHandler(self._overflow)
        self._observer.stop()
        if self._observer.is_alive():
            self._observer.join(timeout=5)


class _Handler(FileSystemEventHandler):
    """Only passes hints on: an exception here would end watchdog's dispatch for good."""

    def __init__(self, hint: Hint, rescan: Rescan) -> None:
        self._hint, self._rescan = hint, rescan

    def dispatch(self, event: FileSystemEvent) -> None:
        if isinstance(event, (DirCreatedEvent, DirMovedEvent)):
            # Its files may be older than its watch.
            folder = event.dest_path if isinstance(event, DirMovedEvent) else event.src_path
            if folder:
                self._rescan(os.fsdecode(folder))
            return
        path = event.dest_path if isinstance(event, FileMovedEvent) else event.src_path
        if path:
            self._hint(os.fsdecode(path), isinstance(event, (FileClosedEvent, FileMovedEvent)))


class _Overflow(logging.Handler):
    """watchdog reports a full event queue only in its log."""

    def __init__(self, rescan: Rescan) -> None:
        super().__init__(logging.WARNING)
        self._rescan = rescan

    def emit(self, record: logging.LogRecord) -> None:
        if "overflow" in record.getMessage():
            self._rescan(None)


def _create_observer() -> BaseObserver:
    if sys.platform == "linux":
        from watchdog.observers.inotify import InotifyObserver

        # Full events distinguish a file that was moved in from one that was created.
        return InotifyObserver(generate_full_events=True)
    return Observer()
