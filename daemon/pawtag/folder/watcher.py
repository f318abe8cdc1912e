"""Keeping a folder watched: native events, scans at the start and now and then, and the root when it comes and goes."""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from pawtag.config import FolderSettings
from pawtag.domain.ports import SourceState
from pawtag.domain.records import PhotoRef
from pawtag.folder.observer import NativeObserver, supports_native_events
from pawtag.folder.walk import NOT_A_PHOTO, FoundPhoto, Walk, find_photo, is_folder_within, is_other_file, is_within

log = logging.getLogger(__name__)

ROOT_CHECK_INTERVAL_S = 2.0
MAX_ROOT_DELAY_S = 30.0
MIN_PAUSE_PER_SCAN = 20
SCAN_CHUNK = 500
WATCH_LIMIT_ADVICE = "allow more: sysctl fs.inotify.max_user_watches and fs.inotify.max_user_instances"

Needs = Callable[[PhotoRef], bool]
Found = Callable[[list[FoundPhoto]], None]
Hinted = Callable[[str, PhotoRef | None], None]
Skipped = Callable[[str, int], None]


def ignore_skipped(_reason: str, _count: int) -> None:
    """Nobody counts what is skipped."""


@dataclass(frozen=True, slots=True)
class WatchListener:
    """Who hears of photos: `found` of those of a scan that need a record, `hinted` of that of an event.

    Both are called on the event loop. A hint's version is None where the file was closed after writing, or moved
    in. `skipped(reason, count)` hears from threads of what is no photo.
    """

    on_found: Found
    on_event: Hinted
    on_skipped: Skipped = ignore_skipped


class FolderWatcher:
    """Tells of photos below `root`. `needs` is asked from a thread."""

    def __init__(self, root: Path, settings: FolderSettings, needs: Needs, hearing: WatchListener) -> None:
        """Nothing is looked at before `keep` or `scan`."""
        self.root, self._settings, self._needs = root, settings, needs
        self._listener = hearing
        self._is_counted = False
        self._loop = asyncio.get_running_loop()
        self._requested: set[Path] = set()
        self._wake = asyncio.Event()
        self._polling_reason: str | None = None
        self._ended = threading.Event()
        self.state = SourceState(f"folder {root}", "running")

    async def run(self) -> None:
        """Watch and scan until cancelled; where the folder is lost, look for it with growing waits."""
        delay_s = 1.0
        while True:
            started = time.monotonic()
            try:
                await self._run_while_present()
            except OSError as error:
                self._set_unavailable(
                    f"{self.root} cannot be watched ({error.strerror or error}); make it readable or mount it again"
                )
            except Exception as error:  # a dead watch would be a blind daemon
                log.exception("Watching %s failed", self.root)
                self._set_unavailable(f"{self.root} is not watched: {error}")
            delay_s = 1.0 if time.monotonic() - started > MAX_ROOT_DELAY_S else delay_s
            await asyncio.sleep(delay_s)
            delay_s = min(MAX_ROOT_DELAY_S, 2 * delay_s)

    def request_scan(self, folder: Path | None = None) -> None:
        """Scan `folder` (everything, without one) as soon as that may be."""
        self._requested.add(folder or self.root)
        self._wake.set()

    async def scan(self, folder: Path | None = None) -> int:
        """Look through a folder once; how many photos were found to need a record. Raises OSError."""
        walk = Walk(folder or self.root, self._settings)
        try:
            found = await asyncio.to_thread(self._scan_in_thread, walk)
        except asyncio.CancelledError:
            self._ended.set()  # the thread is to end too, however much it has before it
            raise
        for unreadable in walk.unreadable:
            log.warning("The folder %s cannot be read; its photos wait until it can.", unreadable)
        if folder is None:
            self._count_skipped_once(walk)
            self._set_available(
                f"{len(walk.unreadable)} folders cannot be read" if walk.unreadable else self._polling_reason
            )
        return found

    def _count_skipped_once(self, walk: Walk) -> None:
        """What is no photo is counted by the first scan; later scans meet the same files again."""
        if not self._is_counted:
            self._is_counted = True
            for reason, count in walk.skipped.items():
                self._listener.on_skipped(reason, count)

    def _scan_in_thread(self, walk: Walk) -> int:
        """In a thread: hand what needs a record to the loop, some at a time."""
        count, some = 0, []
        for seen in walk:
            if self._ended.is_set():
                break
            if self._needs(seen.ref):
                some.append(seen)
                count += 1
            if len(some) >= SCAN_CHUNK:
                self._loop.call_soon_threadsafe(self._listener.on_found, some)
                some = []
        self._loop.call_soon_threadsafe(self._listener.on_found, some)
        return count

    async def _run_while_present(self) -> None:
        """Raises OSError when the root is gone, or another, or its events end."""
        identity = _read_identity(self.root)
        native = self._settings.observer == "native" or (
            self._settings.observer == "auto" and supports_native_events(self.root.resolve())
        )
        async with AsyncExitStack() as stack:
            observer = await self._start_observer(stack) if native else None
            pause_s = self._settings.rescan_s if observer else min(self._settings.rescan_s, self._settings.stable_s)
            while True:
                self._requested.clear()
                started = time.monotonic()
                await self.scan()
                took_s = time.monotonic() - started
                await self._pause(max(pause_s, MIN_PAUSE_PER_SCAN * took_s), identity, observer)

    async def _start_observer(self, stack: AsyncExitStack) -> NativeObserver | None:
        """Native events for the folder; None where the system has no watches left: then it is polled."""
        try:
            observer = NativeObserver(self.root, self._settings, self._handle_event, self._request_from_thread)
            await asyncio.to_thread(stack.enter_context, observer)
        except OSError as error:
            if not self.root.is_dir():
                raise
            self._polling_reason = (
                f"no file events ({error.strerror or error}): the folder is polled; {WATCH_LIMIT_ADVICE}"
            )
            log.warning("%s", self._polling_reason)
            return None
        self._polling_reason = None
        return observer

    async def _pause(self, pause_s: float, identity: tuple[int, int], observer: NativeObserver | None) -> None:
        """Until everything is to be scanned again; new folders are scanned meanwhile."""
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
                    self._wake.wait(), min(ROOT_CHECK_INTERVAL_S, max(0.01, until_s - time.monotonic()))
                )
            except TimeoutError:
                continue

    async def _scan_requested(self) -> None:
        while self._requested and self.root not in self._requested:
            folder = self._requested.pop()
            try:
                await self.scan(folder)
            except OSError:
                log.debug("%s was gone before it could be scanned", folder)

    def _handle_event(self, path: str, closed: bool) -> None:
        """From watchdog's thread: a file there may have changed."""
        if is_within(path, self.root, self._settings):
            seen = None if closed else find_photo(path)
            if closed or seen:
                self._loop.call_soon_threadsafe(self._listener.on_event, path, seen.ref if seen else None)
        elif closed and is_other_file(os.path.basename(path)):  # noqa: PTH119 - a name may be any bytes
            self._listener.on_skipped(NOT_A_PHOTO, 1)

    def _request_from_thread(self, folder: str | None) -> None:
        if folder and not is_folder_within(folder, self.root, self._settings):
            return
        self._loop.call_soon_threadsafe(self.request_scan, Path(folder) if folder else None)

    def _set_unavailable(self, reason: str) -> None:
        if self.state.state != "unavailable":
            log.error("%s", reason)
        self.state = SourceState(self.state.name, "unavailable", reason)

    def _set_available(self, reason: str | None) -> None:
        if self.state.state == "unavailable":
            log.info("%s is there again", self.root)
        self.state = SourceState(self.state.name, "degraded" if reason else "running", reason)


def _read_identity(root: Path) -> tuple[int, int]:
    status = root.stat()
    return status.st_dev, status.st_ino
