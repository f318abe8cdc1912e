"""When is a file finished? A pure tracker: the caller reports what it sees and when, and asks."""

import heapq
from dataclasses import dataclass
from typing import Generic, TypeVar

Version = TypeVar("Version")
MAX_STALE = 1000


@dataclass(slots=True)
class _Entry(Generic[Version]):
    version: Version | None
    due_s: float
    is_closed: bool


class StabilityTracker(Generic[Version]):
    """Files that are not finished yet, by path. Times are seconds of the caller's monotonic clock.

    A file that was closed after writing, or moved in, is finished `settle_s` after the last change;
    any other, once its version has not changed for `stable_s`.
    """

    def __init__(self, settle_s: float, stable_s: float) -> None:
        """Start with no file."""
        self._settle_s, self._stable_s = settle_s, stable_s
        self._files: dict[str, _Entry[Version]] = {}
        self._order: list[tuple[float, str]] = []

    def __len__(self) -> int:
        """How many files are not finished yet."""
        return len(self._files)

    def __contains__(self, path: str) -> bool:
        """Whether the file is not finished yet."""
        return path in self._files

    def mark_closed(self, path: str, now_s: float) -> None:
        """The file was closed after writing, or moved in."""
        self._schedule(path, _Entry(None, now_s + self._settle_s, is_closed=True))

    def mark_changed(self, path: str, version: Version | None, now_s: float) -> None:
        """The file is new, or has changed."""
        self._schedule(path, _Entry(version, now_s + self._stable_s, is_closed=False))

    def postpone(self, path: str, now_s: float, delay_s: float) -> None:
        """Look at the file again after `delay_s`. A change that is reported meanwhile takes precedence."""
        if path not in self._files:
            self._schedule(path, _Entry(None, now_s + delay_s, is_closed=True))

    def forget(self, path: str) -> None:
        """The file is gone."""
        self._files.pop(path, None)

    def pop_due(self, now_s: float) -> list[str]:
        """The files to look at now. The caller answers each with `confirm` or `forget`."""
        paths = []
        while self._order and self._order[0][0] <= now_s:
            due_s, path = heapq.heappop(self._order)
            entry = self._files.get(path)
            if entry is not None and entry.due_s == due_s:
                paths.append(path)
        return paths

    def confirm(self, path: str, version: Version, now_s: float) -> bool:
        """Whether the file, with `version` when it was due, is finished. If not, it is tracked further."""
        entry = self._files.get(path)
        if entry is None or entry.due_s > now_s:  # forgotten, or changed meanwhile
            return False
        if entry.is_closed or entry.version == version:
            del self._files[path]
            return True
        self.mark_changed(path, version, now_s)
        return False

    def next_due_s(self) -> float | None:
        """When the next file is due; None if there is none."""
        while self._order:
            due_s, path = self._order[0]
            entry = self._files.get(path)
            if entry is not None and entry.due_s == due_s:
                return due_s
            heapq.heappop(self._order)
        return None

    def _schedule(self, path: str, entry: _Entry[Version]) -> None:
        self._files[path] = entry
        heapq.heappush(self._order, (entry.due_s, path))
        if len(self._order) > MAX_STALE + 2 * len(self._files):  # a file that changes all the time leaves many behind
            self._order = [(each.due_s, name) for name, each in self._files.items()]
            heapq.heapify(self._order)
