"""Decides when a file is finished. Pure: the caller reports what it sees and when, and asks which files are due."""

import heapq
from dataclasses import dataclass
from typing import Generic, TypeVar

Version = TypeVar("Version")
MAX_STALE = 1000
MAX_RESTLESS = 10_000
MAX_HELD_FACTOR = 6


@dataclass(frozen=True, slots=True)
class StabilityWaits:
    """How many seconds without a change a file needs to count as finished.

    `settle_s`: for a file that was closed after writing, or moved in. `stable_s`: for any other file. `held_s`: for a
    file that a writer has open, counted from the last write; closing the file ends this wait. After six times `held_s`
    such a file is read even if the writer still writes. `snapshot_s`: a file that keeps changing is read as it is after
    this time. This wait doubles each time, up to `max_snapshot_s`.
    """

    settle_s: float
    stable_s: float
    held_s: float = 600.0
    snapshot_s: float = 60.0
    max_snapshot_s: float = 900.0


@dataclass(slots=True)
class _Entry(Generic[Version]):
    version: Version | None
    due_s: float
    is_closed: bool
    is_held: bool = False
    since_s: float = 0.0
    """Since when the file keeps changing."""
    held_since_s: float = 0.0


class StabilityTracker(Generic[Version]):
    """Files that are not finished yet, by path. Times are seconds of the caller's monotonic clock."""

    def __init__(self, waits: StabilityWaits) -> None:
        """Start with no file."""
        self._waits = waits
        self._files: dict[str, _Entry[Version]] = {}
        self._order: list[tuple[float, str]] = []
        self._snapshots: dict[str, int] = {}

    def __len__(self) -> int:
        """How many files are not finished yet."""
        return len(self._files)

    def __contains__(self, path: str) -> bool:
        """Whether the file is not finished yet."""
        return path in self._files

    def mark_closed(self, path: str, now_s: float) -> None:
        """The file was closed after writing, or moved in."""
        self._mark(path, _Entry(None, now_s + self._waits.settle_s, is_closed=True), now_s)

    def mark_changed(self, path: str, version: Version | None, now_s: float) -> None:
        """The file is new, or has changed."""
        before = self._files.get(path)
        if before is not None and before.is_held:
            self.mark_held(path, version, now_s)
        else:
            self._mark(path, _Entry(version, now_s + self._waits.stable_s, is_closed=False), now_s)

    def mark_held(self, path: str, version: Version | None, now_s: float) -> None:
        """A writer has the file open; it will close it."""
        self._mark(path, _Entry(version, now_s + self._waits.held_s, is_closed=False, is_held=True), now_s)

    def mark_gone(self, path: str, now_s: float) -> None:
        """The file was reported as deleted or moved away: check it soon."""
        if path not in self._files:
            self._mark(path, _Entry(None, now_s + self._waits.settle_s, is_closed=True), now_s)

    def postpone(self, path: str, now_s: float, delay_s: float) -> None:
        """Look at the file again after `delay_s`. A change that is reported meanwhile takes precedence."""
        if path not in self._files:
            self._schedule(path, _Entry(None, now_s + delay_s, is_closed=True, since_s=now_s + delay_s))

    def forget(self, path: str) -> None:
        """The file does not matter any more."""
        self._files.pop(path, None)
        self._snapshots.pop(path, None)

    def pop_due(self, now_s: float) -> list[str]:
        """The files to look at now. The caller answers each with `confirm` or `confirm_gone`."""
        paths = []
        while self._order and self._order[0][0] <= now_s:
            due_s, path = heapq.heappop(self._order)
            entry = self._files.get(path)
            if entry is not None and entry.due_s == due_s:
                paths.append(path)
        return paths

    def confirm(self, path: str, version: Version, now_s: float) -> bool:
        """Whether the file is finished. `version`: its version when it was due. An unfinished file stays tracked."""
        entry = self._files.get(path)
        if entry is None or entry.due_s > now_s:  # forgotten, or changed meanwhile
            return False
        is_at_rest = entry.is_closed or entry.version == version
        has_time = now_s < entry.held_since_s + MAX_HELD_FACTOR * self._waits.held_s
        has_time = has_time if entry.is_held else now_s < self._find_snapshot_time(path, entry)
        if not is_at_rest and has_time:
            self.mark_changed(path, version, now_s)
            return False
        self._note_rest(path, is_at_rest=is_at_rest and entry.due_s < self._find_snapshot_time(path, entry))
        del self._files[path]
        return True

    def confirm_gone(self, path: str, now_s: float) -> bool:
        """Whether to forget a file that was missing when it was due: yes, unless it was reported again since then."""
        entry = self._files.get(path)
        if entry is not None and entry.due_s > now_s:
            return False
        self.forget(path)
        return True

    def next_due_s(self) -> float | None:
        """When the next file is due; None if there is none."""
        while self._order:
            due_s, path = self._order[0]
            entry = self._files.get(path)
            if entry is not None and entry.due_s == due_s:
                return due_s
            heapq.heappop(self._order)
        return None

    def _mark(self, path: str, entry: _Entry[Version], now_s: float) -> None:
        """Schedule the file after a change. A file that keeps changing becomes due in the end: see StabilityWaits."""
        before = self._files.get(path)
        entry.since_s, entry.held_since_s = (before.since_s, before.held_since_s) if before else (now_s, now_s)
        if before and not before.is_held:
            entry.held_since_s = now_s
        elif before and not entry.is_held and now_s - before.held_since_s > self._waits.stable_s:
            entry.since_s = now_s  # a slow writer, not one that writes again and again
        if entry.is_held:
            entry.due_s = max(now_s, min(entry.due_s, entry.held_since_s + MAX_HELD_FACTOR * self._waits.held_s))
        else:
            entry.due_s = max(now_s, min(entry.due_s, self._find_snapshot_time(path, entry)))
        self._schedule(path, entry)

    def _find_snapshot_time(self, path: str, entry: _Entry[Version]) -> float:
        wait_s = self._waits.snapshot_s * float(2 ** min(self._snapshots.get(path, 0), 10))
        return entry.since_s + max(min(wait_s, self._waits.max_snapshot_s), self._waits.stable_s)

    def _note_rest(self, path: str, *, is_at_rest: bool) -> None:
        if is_at_rest or len(self._snapshots) > MAX_RESTLESS:
            self._snapshots.pop(path, None)
        else:
            self._snapshots[path] = self._snapshots.get(path, 0) + 1

    def _schedule(self, path: str, entry: _Entry[Version]) -> None:
        self._files[path] = entry
        heapq.heappush(self._order, (entry.due_s, path))
        if len(self._order) > MAX_STALE + 2 * len(self._files):  # a file that changes all the time leaves many behind
            self._order = [(each.due_s, name) for name, each in self._files.items()]
            heapq.heapify(self._order)
