"""Watching a folder: native events, a scan at the start and periodically, and a root that may come and go."""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from pawtag.config import FolderSettings
from pawtag.domain.backoff import Backoff
from pawtag.domain.ports import SourceState
from pawtag.folder.event_reader import EventReader, WatchListener
from pawtag.folder.observer import NativeObserver
from pawtag.folder.place import Place
from pawtag.folder.polled_folders import PolledFolders
from pawtag.folder.root_monitor import RootMonitor, RootStatus
from pawtag.folder.scanner import BuildScan, Scanner
from pawtag.folder.tuning import FolderTuning
from pawtag.folder.walk import Walk, is_folder_within
from pawtag.folder.watch import Watch, WatchEndedError
from pawtag.log import log_state_change
from pawtag.mounts import is_on_network

log = logging.getLogger(__name__)

ROOT_BACKOFF = Backoff(first_s=1.0, max_s=30.0)
# A slow scan makes the pause longer: RESCAN_PAUSE_FACTOR times as long as the scan took, at most MAX_SLOW_PAUSE_S.
RESCAN_PAUSE_FACTOR, MAX_SLOW_PAUSE_S = 20, 900.0
WATCH_LIMIT_ADVICE = "raise sysctl fs.inotify.max_user_watches and fs.inotify.max_user_instances"


class FolderWatcher:
    """Watches the photos below `root`. `build_scan` is called from threads. `places` must be mounted before a scan."""

    def __init__(
        self,
        root: Path,
        settings: FolderSettings,
        build_scan: BuildScan,
        listener: WatchListener,
        *,
        places: Sequence[Place] = (),
        tuning: FolderTuning | None = None,
    ) -> None:
        """Nothing is read before `run` or `scan`."""
        self.root, self._settings, self._places = root, settings, places
        self._listener, self._tuning = listener, tuning or FolderTuning()
        self._scanner = Scanner(root, settings, build_scan, listener.on_found)
        self._is_counted = False
        self._requested: set[Path] = set()
        self._wake = asyncio.Event()
        self._events = EventReader(root, settings, listener, self._request_wanted, self._tuning.max_backlog)
        self._polled = PolledFolders(min(settings.rescan_s, settings.stable_s), self.scan)
        self._polling_reason: str | None = None
        self._unreadable: list[str] = []
        self.state = SourceState(f"folder {root}", "running")

    async def run(self) -> None:
        """Watch and scan until cancelled. While the root is unavailable, try again with growing waits."""
        failures = 0
        while True:
            started = time.monotonic()
            try:
                await self._run_while_present()
            except WatchEndedError as error:
                log.warning("the watch of %s has ended: %s; starting it again", self.root, error)
            except OSError as error:
                folder = error.filename or self.root
                self._set_unavailable(
                    f"the folder {folder} cannot be watched ({error.strerror or error}): mount it or make it readable"
                )
            except Exception as error:  # without its watcher the daemon would miss new photos
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
        if folder is None:
            await asyncio.to_thread(self._check_places)
        count, walk = await self._scanner.scan(folder or self.root, self._polled.networks)
        if folder is None:
            self._count_skipped_once(walk)
            self._unreadable = walk.unreadable
            self._set_available(self._describe_lack())
        return count

    def _count_skipped_once(self, walk: Walk) -> None:
        """Only the first scan counts what is skipped: later scans meet the same files."""
        if not self._is_counted:
            self._is_counted = True
            for reason, count in walk.skipped.items():
                self._listener.on_skipped(reason, count)

    def _describe_lack(self) -> str | None:
        """Why a part of the folder is not read or not watched as it should be; None if there is no such part."""
        if fault := self._polled.find_fault():
            return fault
        if self._unreadable:
            return f"{len(self._unreadable)} folders cannot be read, for example {self._unreadable[0]}"
        if self._polled.unwatched:
            found = (
                f"{len(self._polled.unwatched)} folders below {self.root} are polled, "
                f"for example {self._polled.unwatched[0]}"
            )
            return f"{found}, because the system grants no more file events: {WATCH_LIMIT_ADVICE}"
        return self._polling_reason

    async def _run_while_present(self) -> None:
        """Watch and scan. Raises OSError when the root is gone, WatchEndedError when the watch must start again."""
        monitor = RootMonitor(self.root, self._tuning.root_check_interval_s, self._note_stalled)
        status = await monitor.look_first()
        await asyncio.to_thread(self._check_places)
        async with AsyncExitStack() as stack:
            observer = await self._start_observer(stack, status) if await self._is_native() else None
            pause_s = self._settings.rescan_s if observer else min(self._settings.rescan_s, self._settings.stable_s)
            tasks = [asyncio.create_task(each, name="folder-watch") for each in (monitor.run(), self._events.run())]
            for task in tasks:
                stack.push_async_callback(_cancel, task)
            stack.push_async_callback(self._polled.close)
            while True:
                self._requested.clear()
                started = time.monotonic()
                if observer:
                    await asyncio.to_thread(observer.retry_unwatched)
                await self.scan()
                took_s = time.monotonic() - started
                watch = Watch(status, monitor, observer, tasks, self._is_wanted)
                await self._pause(_stretch_pause(pause_s, took_s), watch)

    def _check_places(self) -> None:
        for place in self._places:
            place.check()

    async def _is_native(self) -> bool:
        if self._settings.observer != "auto":
            return self._settings.observer == "native"
        return not await asyncio.to_thread(is_on_network, self.root)

    async def _start_observer(self, stack: AsyncExitStack, status: RootStatus) -> NativeObserver | None:
        """The observer of native events; None if the system has no watches left: then the folder is polled."""
        networks = [mount for mount in status.mounts if mount.is_network and self._is_wanted(mount.point)]
        self._polled.set_networks([mount.point for mount in networks])
        try:
            observer = NativeObserver(self.root, self._settings, self._events.hints, self._is_watchable)
            await asyncio.to_thread(stack.enter_context, observer)
        except OSError as error:
            if not await asyncio.to_thread(self.root.is_dir):
                raise
            self._polling_reason = (
                f"{self.root} is polled, because the system grants no file events ({error.strerror or error}): "
                + WATCH_LIMIT_ADVICE
            )
            return None
        self._polling_reason = None
        return observer

    def _is_wanted(self, folder: str) -> bool:
        return is_folder_within(folder, self.root, self._settings)

    def _is_watchable(self, folder: str) -> bool:
        return self._is_wanted(folder) and folder not in self._polled.networks

    async def _pause(self, pause_s: float, watch: Watch) -> None:
        """Wait for the next rescan. New folders, and those that are polled, are scanned meanwhile."""
        until_s = time.monotonic() + pause_s
        while time.monotonic() < until_s and self.root not in self._requested:
            watch.require_life()
            self._polled.unwatched = watch.list_unwatched()
            self._polled.scan_due()
            if self.state.state != "unavailable":
                self._set_available(self._describe_lack())
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

    def _request_wanted(self, folder: str | None) -> None:
        if folder is None or self._is_wanted(folder):
            self.request_scan(Path(folder) if folder else None)

    def _note_stalled(self, *, is_stalled: bool) -> None:
        if is_stalled:
            self._set_unavailable(f"the folder {self.root} does not answer: check its server or disk")
        else:
            self.request_scan()

    def _set_unavailable(self, reason: str) -> None:
        self._set_state(SourceState(self.state.name, "unavailable", reason))

    def _set_available(self, reason: str | None) -> None:
        self._set_state(SourceState(self.state.name, "degraded" if reason else "running", reason))

    def _set_state(self, state: SourceState) -> None:
        log_state_change(log, self.state, state)
        self.state = state


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _stretch_pause(pause_s: float, took_s: float) -> float:
    """The pause after a scan that took so long."""
    return max(pause_s, min(RESCAN_PAUSE_FACTOR * took_s, MAX_SLOW_PAUSE_S))
