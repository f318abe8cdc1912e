"""Watching a folder: native events, a scan at the start and periodically, and a root that may come and go."""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from pawtag.config import FolderSettings
from pawtag.domain.backoff import Backoff
from pawtag.domain.ports import SourceState
from pawtag.domain.records import PhotoRef
from pawtag.files import is_on_network
from pawtag.folder.observer import NativeObserver
from pawtag.folder.tuning import FolderTuning
from pawtag.folder.walk import NOT_A_PHOTO, FoundPhoto, Walk, find_photo, is_folder_within, is_other_file, is_within
from pawtag.log import log_state_change

log = logging.getLogger(__name__)

ROOT_BACKOFF = Backoff(first_s=1.0, max_s=30.0)
# The pause between two rescans is at least so many times as long as the scan took, up to a quarter of an hour.
RESCAN_PAUSE_FACTOR, MAX_SLOW_PAUSE_S = 20, 900.0
SCAN_CHUNK_PHOTOS = 500
WATCH_LIMIT_ADVICE = "raise sysctl fs.inotify.max_user_watches and fs.inotify.max_user_instances"

# What a scan finds below a walk; it is called, and worked off, in a thread.
BuildScan = Callable[[Walk], Iterable[FoundPhoto]]
OnFound = Callable[[list[FoundPhoto]], None]
OnEvent = Callable[[str, PhotoRef | None], None]
OnSkipped = Callable[[str, int], None]


def ignore_skipped(_reason: str, _count: int) -> None:
    """For callers that do not count what is skipped."""


@dataclass(frozen=True, slots=True)
class WatchListener:
    """What the watcher calls.

    All on the event loop: `on_found` with photos of a scan that need a record, `on_event` with the path of an event
    and the version of the file (None after a close or a move), `on_skipped` with a reason and a count.
    """

    on_found: OnFound
    on_event: OnEvent
    on_skipped: OnSkipped = ignore_skipped


class FolderWatcher:
    """Watches the photos below `root`. `build_scan` is called from threads."""

    def __init__(
        self,
        root: Path,
        settings: FolderSettings,
        build_scan: BuildScan,
        listener: WatchListener,
        tuning: FolderTuning | None = None,
    ) -> None:
        """Nothing is read before `run` or `scan`."""
        self.root, self._settings, self._build_scan = root, settings, build_scan
        self._listener, self._tuning = listener, tuning or FolderTuning()
        self._is_counted = False
        self._loop = asyncio.get_running_loop()
        self._requested: set[Path] = set()
        self._wake = asyncio.Event()
        self._polling_reason: str | None = None
        self._ended = threading.Event()
        self.state = SourceState(f"folder {root}", "running")

    async def run(self) -> None:
        """Watch and scan until cancelled. While the root is unavailable, try again with growing waits."""
        failures = 0
        while True:
            started = time.monotonic()
            try:
                await self._run_while_present()
            except OSError as error:
                self._set_unavailable(
                    f"the folder {self.root} cannot be watched ({error.strerror or error}): mount it or make it readable"
                )
            except Exception as error:  # without its watcher the daemon would be blind
                log.exception("unexpected error while %s was watched", self.root)
                self._set_unavailable(f"the folder {self.root} is not watched: {error}")
            failures = 0 if time.monotonic() - started > ROOT_BACKOFF.max_s else failures
            await asyncio.sleep(ROOT_BACKOFF.delay_s(failures))
            failures += 1

    def request_scan(self, folder: Path | None = None) -> None:
        """Scan `folder`, or the whole root, as soon as possible."""
        self._requested.add(folder or self.root)
        self._wake.set()

    async def scan(self, folder: Path | None = None) -> int:
        """Scan a folder once; returns how many photos need a record. Raises OSError."""
        walk = Walk(folder or self.root, self._settings, is_ended=self._ended.is_set)
        try:
            found = await asyncio.to_thread(self._scan_in_thread, walk)
        except asyncio.CancelledError:
            self._ended.set()  # the thread must end, too
            raise
        for unreadable in walk.unreadable:
            log.warning(
                "the folder %s cannot be read: grant pawtag's user read access", unreadable, extra={"uri": unreadable}
            )
        if folder is None:
            self._count_skipped_once(walk)
            self._set_available(
                f"{len(walk.unreadable)} folders cannot be read" if walk.unreadable else self._polling_reason
            )
        return found

    def _count_skipped_once(self, walk: Walk) -> None:
        """Only the first scan counts what is skipped: later scans meet the same files."""
        if not self._is_counted:
            self._is_counted = True
            for reason, count in walk.skipped.items():
                self._listener.on_skipped(reason, count)

    def _scan_in_thread(self, walk: Walk) -> int:
        """In a thread: pass photos that need a record to the loop, in chunks."""
        count = 0
        chunk: list[FoundPhoto] = []
        for found in self._build_scan(walk):
            chunk.append(found)
            count += 1
            if len(chunk) >= SCAN_CHUNK_PHOTOS:
                self._loop.call_soon_threadsafe(self._listener.on_found, chunk)
                chunk = []
        self._loop.call_soon_threadsafe(self._listener.on_found, chunk)
        return count

    async def _run_while_present(self) -> None:
        """Raises OSError when the root is gone or replaced, or when its events end."""
        identity = _read_identity(self.root)
        native = self._settings.observer == "native" or (
            self._settings.observer == "auto" and not is_on_network(self.root)
        )
        async with AsyncExitStack() as stack:
            observer = await self._start_observer(stack) if native else None
            pause_s = self._settings.rescan_s if observer else min(self._settings.rescan_s, self._settings.stable_s)
            while True:
                self._requested.clear()
                started = time.monotonic()
                await self.scan()
                took_s = time.monotonic() - started
                await self._pause(_stretch_pause(pause_s, took_s), identity, observer)

    async def _start_observer(self, stack: AsyncExitStack) -> NativeObserver | None:
        """The observer of native events; None if the system has no watches left: then the folder is polled."""
        try:
            observer = NativeObserver(self.root, self._settings, self._handle_event, self._request_from_thread)
            await asyncio.to_thread(stack.enter_context, observer)
        except OSError as error:
            if not self.root.is_dir():
                raise
            self._polling_reason = (
                f"{self.root} is polled, for the system grants no file events ({error.strerror or error}): "
                + WATCH_LIMIT_ADVICE
            )
            return None
        self._polling_reason = None
        return observer

    async def _pause(self, pause_s: float, identity: tuple[int, int], observer: NativeObserver | None) -> None:
        """Wait for the next rescan. New folders are scanned meanwhile."""
        until_s = time.monotonic() + pause_s
        while time.monotonic() < until_s and self.root not in self._requested:
            if _read_identity(self.root) != identity:
                raise FileNotFoundError(0, "it was replaced")
            if observer and not observer.is_alive:
                raise OSError(0, "its events ended")
            await self._scan_requested()
            self._wake.clear()
            try:
                await asyncio.wait_for(
                    self._wake.wait(), min(self._tuning.root_check_interval_s, max(0.01, until_s - time.monotonic()))
                )
            except TimeoutError:
                continue

    async def _scan_requested(self) -> None:
        while self._requested and self.root not in self._requested:
            folder = self._requested.pop()
            try:
                await self.scan(folder)
            except OSError:
                log.debug("the folder %s is gone", folder)

    def _handle_event(self, path: str, closed: bool) -> None:
        """From watchdog's thread: a file may have changed."""
        if is_within(path, self.root, self._settings):
            found = None if closed else find_photo(path)
            if closed or found:
                self._loop.call_soon_threadsafe(self._listener.on_event, path, found.ref if found else None)
        elif closed and is_other_file(os.path.basename(path)):  # noqa: PTH119 - a name may be any bytes
            self._loop.call_soon_threadsafe(self._listener.on_skipped, NOT_A_PHOTO, 1)

    def _request_from_thread(self, folder: str | None) -> None:
        if folder and not is_folder_within(folder, self.root, self._settings):
            return
        self._loop.call_soon_threadsafe(self.request_scan, Path(folder) if folder else None)

    def _set_unavailable(self, reason: str) -> None:
        self._set_state(SourceState(self.state.name, "unavailable", reason))

    def _set_available(self, reason: str | None) -> None:
        self._set_state(SourceState(self.state.name, "degraded" if reason else "running", reason))

    def _set_state(self, state: SourceState) -> None:
        log_state_change(log, self.state, state)
        self.state = state


def _stretch_pause(pause_s: float, took_s: float) -> float:
    """The pause after a scan that took so long."""
    return max(pause_s, min(RESCAN_PAUSE_FACTOR * took_s, MAX_SLOW_PAUSE_S))


def _read_identity(root: Path) -> tuple[int, int]:
    status = root.stat()
    return status.st_dev, status.st_ino
