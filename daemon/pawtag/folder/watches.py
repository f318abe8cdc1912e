"""Chooses the folders that get a native watch: watchdog's recursive watch without skipped folders, up to a limit."""

import errno
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from watchdog.observers.inotify import InotifyFullEmitter, InotifyObserver, InotifyWatchGroup

MAX_WATCHES = Path("/proc/sys/fs/inotify/max_user_watches")
# pawtag takes half of the limit: other programs of the user need watches, too.
MAX_SHARE = 2
UNKNOWN_LIMIT = 1_000_000  # the limit cannot be read: the system refuses when it is reached
# If a tree grows during the walk, watchdog sets a watch twice and warns about it on stderr.
warnings.filterwarnings("ignore", message="Callback with id", category=RuntimeWarning)
LIMIT_ERRORS = (errno.ENOSPC, errno.ENOMEM, errno.EMFILE)


class WatchSelection:
    """The folders below the root that get a watch, and those that were refused one. Called from watchdog's threads."""

    def __init__(self, root: Path, is_wanted: Callable[[str], bool]) -> None:
        """`is_wanted`: whether a folder below the root gets a watch at all."""
        self._root, self._is_wanted = os.fsencode(root), is_wanted
        self._max_watches = _read_max_watches() // MAX_SHARE
        self._denied: set[str] = set()
        self._top: list[str] | None = None
        self._group: InotifyWatchGroup | None = None

    def is_wanted(self, path: bytes) -> bool:
        """Whether the folder gets a watch."""
        return path == self._root or self._is_wanted(os.fsdecode(path))

    def has_room(self, path: bytes, watches: int) -> bool:
        """Whether one more watch is allowed when there are `watches` already. The root always gets its own."""
        return path == self._root or watches < self._max_watches

    def deny(self, path: bytes) -> None:
        """The system, or the limit, grants no watch for the folder."""
        self._denied.add(os.fsdecode(path))
        self._top = None

    def attach(self, group: InotifyWatchGroup) -> None:
        """The watches that follow this selection."""
        self._group = group

    def retry(self) -> None:
        """Try again to watch what was denied: the limit may have been raised, and folders may be gone."""
        denied, self._denied, self._top = sorted(self._denied), set(), None
        if self._group is None:
            return
        with self._group._lock:  # noqa: SLF001 - as watchdog itself does
            for path in denied:
                if os.path.isdir(path):  # noqa: PTH112 - a name may be any bytes
                    self._group._add_all_callbacks(os.fsencode(path))  # noqa: SLF001

    def list_denied(self) -> list[str]:
        """The highest folders without a watch."""
        if self._top is None:
            self._top = _find_top(self._denied.copy())
        return self._top


def _find_top(paths: set[str]) -> list[str]:
    top: list[str] = []
    for path in sorted(paths, key=lambda path: path.split(os.sep)):
        if not top or not path.startswith(top[-1] + os.sep):
            top.append(path)
    return top


class SelectiveWatchGroup(InotifyWatchGroup):
    """watchdog's watches below one root, without those that the selection does not want.

    It overrides two private methods of watchdog. In 7.x only these decide what is watched, and there they silently
    ignore a watch that the system refuses below the root.
    """

    selection: WatchSelection

    def _add_all_callbacks(self, path: bytes) -> None:
        if not self.selection.is_wanted(path):
            return
        self._add_callback(path)
        if not self.is_recursive or not os.path.isdir(path):  # noqa: PTH112 - a name may be any bytes
            return
        for folder, names, _ in os.walk(path):
            places = {name: os.path.join(folder, name) for name in names}  # noqa: PTH118
            names[:] = [name for name, place in places.items() if self.selection.is_wanted(place)]
            for name in names:
                if not os.path.islink(places[name]):  # noqa: PTH114
                    self._add_callback(places[name])

    def _add_callback(self, path: bytes) -> None:
        if not self.selection.has_room(path, len(self._active_callbacks_by_watch)):
            self.selection.deny(path)
            return
        try:
            wd = self._inotify_fd.add_callback(path, self.event_mask, self._callback, self._id)
        except OSError as error:
            if path == self.path:
                raise
            if error.errno in LIMIT_ERRORS:
                self.selection.deny(path)
            return
        self._active_callbacks_by_path[path] = wd
        self._active_callbacks_by_watch[wd] = path


class SelectiveEmitter(InotifyFullEmitter):
    """watchdog's emitter with such a group."""

    def __init__(self, *arguments: Any, selection: WatchSelection, **more: Any) -> None:
        """See watchdog."""
        super().__init__(*arguments, **more)
        self._selection = selection

    def on_thread_start(self) -> None:
        """Set the watches. Raises OSError if the root gets none."""
        group = type("Group", (SelectiveWatchGroup,), {"selection": self._selection})
        self._inotify = group(
            self._inotify_fd,
            os.fsencode(self.watch.path),
            is_recursive=self.watch.is_recursive,
            event_mask=self.get_event_mask_from_filter(),
        )
        self._selection.attach(self._inotify)


class SelectiveObserver(InotifyObserver):
    """watchdog's observer with such emitters."""

    def __init__(self, selection: WatchSelection) -> None:
        """Full events distinguish a file that was moved in from one that was created."""
        super().__init__(generate_full_events=True)
        self._emitter_class = SelectiveEmitter
        self._emitter_kwargs["selection"] = selection


def _read_max_watches() -> int:
    try:
        return int(MAX_WATCHES.read_text())
    except (OSError, ValueError):
        return UNKNOWN_LIMIT
