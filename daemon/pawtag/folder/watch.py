"""A running watch: the root, the mounts below it, and the threads and tasks that observe them."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pawtag.folder.observer import NativeObserver
from pawtag.folder.root_monitor import RootMonitor, RootStatus
from pawtag.mounts import Mount


class WatchEndedError(Exception):
    """The watch must start again, although the root still exists."""


@dataclass(frozen=True, slots=True)
class Watch:
    """`status`: the root at its beginning. `is_wanted`: whether a folder below it is scanned."""

    status: RootStatus
    monitor: RootMonitor
    observer: NativeObserver | None
    tasks: Sequence[asyncio.Task[None]]
    is_wanted: Callable[[str], bool]

    def list_unwatched(self) -> list[str]:
        """The highest folders for which the system grants no watch."""
        return self.observer.list_unwatched() if self.observer else []

    def require_life(self) -> None:
        """Raise OSError if the root is gone, WatchEndedError if the watch does not work any more."""
        if self.monitor.fault:
            raise self.monitor.fault
        now = self.monitor.status or self.status
        if now.identity != self.status.identity:
            raise WatchEndedError("the folder was replaced")
        if self._list_wanted(now) != self._list_wanted(self.status):
            raise WatchEndedError("file systems were mounted or unmounted below it")
        if self.observer and not self.observer.is_alive:
            raise WatchEndedError("no events arrive any more")
        if task := next((task for task in self.tasks if task.done()), None):
            raise WatchEndedError(f"a task of it has failed ({_describe_end(task)})")

    def _list_wanted(self, status: RootStatus) -> list[Mount]:
        return [mount for mount in status.mounts if self.is_wanted(mount.point)]


def _describe_end(task: asyncio.Task[None]) -> str:
    return repr(task.exception()) if not task.cancelled() else "it was cancelled"
