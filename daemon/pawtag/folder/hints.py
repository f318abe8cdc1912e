"""Hints from events: files that may have changed, until the reader takes them. Bounded; a rescan finds the others."""

import threading
from collections.abc import Callable
from enum import Enum


class Change(Enum):
    """What an event says of a file."""

    SEEN = "it is new, or changed"
    WRITTEN = "somebody writes into it, and will close it"
    CLOSED = "it was closed after writing, or moved in"
    GONE = "it was deleted, or moved away"
    OTHER = "a file that is no photo was closed or moved in"


class Hints:
    """The latest change of each path, and the folders to scan. Filled by threads, taken by one reader.

    `wake` is called for the first hint after each `take`. None among the folders means that everything must be scanned.
    """

    def __init__(self, wake: Callable[[], object], max_paths: int) -> None:
        """Empty."""
        self._wake, self._max_paths = wake, max_paths
        self._lock = threading.Lock()
        self._changes: dict[str, Change] = {}
        self._folders: set[str | None] = set()

    def add(self, path: str, change: Change) -> None:
        """A file may have changed."""
        with self._lock:
            is_first = not (self._changes or self._folders)
            if path in self._changes or len(self._changes) < self._max_paths:
                self._changes[path] = change
            else:
                self._folders.add(None)
        if is_first:
            self._wake()

    def add_folder(self, folder: str | None) -> None:
        """A folder has to be scanned; None: everything."""
        with self._lock:
            is_first = not (self._changes or self._folders)
            self._folders.add(folder if len(self._folders) < self._max_paths else None)
        if is_first:
            self._wake()

    def take(self) -> tuple[dict[str, Change], set[str | None]]:
        """Return all hints, and forget them."""
        with self._lock:
            taken = self._changes, self._folders
            self._changes, self._folders = {}, set()
        return taken
