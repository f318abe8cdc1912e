"""The folder as a source of photos: events and scans say when to look, the folder itself says what is there."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from pawtag.config import FolderSettings
from pawtag.domain.ports import SourceState
from pawtag.domain.records import Event, PhotoRef
from pawtag.folder.backlog import Backlog
from pawtag.folder.event_reader import OnSkipped, WatchListener, ignore_skipped
from pawtag.folder.hints import Change
from pawtag.folder.photo_file import PhotoFile
from pawtag.folder.place import Place
from pawtag.folder.restless import RestlessPhotos
from pawtag.folder.scanner import BuildScan
from pawtag.folder.sidecars import Sidecars
from pawtag.folder.stability import StabilityTracker, StabilityWaits
from pawtag.folder.tuning import FolderTuning
from pawtag.folder.walk import FoundPhoto, find_photo
from pawtag.folder.watcher import FolderWatcher
from pawtag.pipeline.threaded_photo import ThreadedPhoto

log = logging.getLogger(__name__)

MAX_THREADS = 8  # that read photos and sidecars


class FolderSource:
    """The photos below a folder that need a record; see ports.PhotoSource. Lives on the event loop."""

    def __init__(
        self,
        root: Path,
        settings: FolderSettings,
        build_scan: BuildScan,
        *,
        sidecars: Sidecars,
        max_bytes: int,
        places: Sequence[Place] = (),
        on_skipped: OnSkipped = ignore_skipped,
        on_gone: Callable[[str], None] = lambda _path: None,
        tuning: FolderTuning | None = None,
    ) -> None:
        """Nothing is read before `watch` or `scan`. `build_scan` is called from threads, `on_skipped` on the loop.

        `places` must be mounted before anything is scanned.
        """
        self._sidecars, self._max_bytes, self._settle_s = sidecars, max_bytes, settings.settle_s
        self._threads = ThreadPoolExecutor(min(settings.concurrency, MAX_THREADS), thread_name_prefix="folder")
        self._tuning = tuning or FolderTuning()
        listener = WatchListener(self._add_found, self._add_event, on_skipped)
        self._watcher = FolderWatcher(root, settings, build_scan, listener, places=places, tuning=self._tuning)
        waits = StabilityWaits(settings.settle_s, settings.stable_s, self._tuning.held_s, self._tuning.snapshot_s)
        self._on_gone = on_gone
        self._unstable: StabilityTracker[PhotoRef] = StabilityTracker(waits)
        self._restless = RestlessPhotos()
        self._reported_gone: set[str] = set()
        self._changed_at: dict[str, float] = {}
        self._finished: deque[str] = deque()
        self._backlog = Backlog(self._tuning.max_backlog)
        self._attempts: dict[str, int] = {}
        self._in_flight: set[str] = set()
        self._wake = asyncio.Event()
        self._is_watching = False

    @property
    def state(self) -> SourceState:
        """The state of the folder."""
        return self._watcher.state

    @property
    def pending(self) -> int:
        """How many photos are known to be pending."""
        return len(self._backlog) + len(self._finished)

    @property
    def is_drained(self) -> bool:
        """Whether nothing known is pending, in flight or unstable."""
        return not (self.pending or self._in_flight or len(self._unstable))

    def count_exhausted(self, attempts: int) -> int | None:
        """How many photos are left, if each has failed `attempts` times or is never finished; otherwise None."""
        failed = {path for path, count in self._attempts.items() if count >= attempts}
        hopeless = [path for path in failed | self._restless.named if path in self._unstable]
        is_all = not self.pending and not self._in_flight and len(hopeless) == len(self._unstable)
        return len(hopeless) if is_all and hopeless else None

    @asynccontextmanager
    async def watch(self) -> AsyncIterator["FolderSource"]:
        """The source, which watches and scans until the context ends."""
        watching = asyncio.create_task(self._watcher.run(), name="folder-watcher")
        self._is_watching = True
        try:
            yield self
        finally:
            self._is_watching = False
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def scan(self) -> int:
        """Scan the folder once; returns how many photos need a record. Raises OSError."""
        count = await self._watcher.scan()
        await asyncio.sleep(0)  # the loop takes in the scanning thread's last chunk
        return count

    async def scan_rest(self) -> bool:
        """Scan again if the backlog was too small for the last scan; returns whether it scanned."""
        if not self._backlog.is_truncated:
            return False
        self._backlog.is_truncated = False
        await self.scan()
        return True

    async def events(self, stop: asyncio.Event) -> AsyncGenerator[Event, None]:
        """Finished photos until `stop` is set. New ones come before the backlog."""
        stopping = asyncio.create_task(stop.wait(), name="folder-stop")
        stopping.add_done_callback(lambda _: self._wake.set())
        try:
            while not stop.is_set():
                self._wake.clear()
                await self._check_unstable()
                if event := self._next():
                    yield event
                else:
                    await self._sleep()
        finally:
            stopping.cancel()

    @asynccontextmanager
    async def open(self, ref: PhotoRef) -> AsyncIterator[ThreadedPhoto]:
        """The file with its sidecar."""
        photo = PhotoFile(ref, self._sidecars, self._max_bytes, partial(self._find_age, ref.uri), self._tuning)
        yield ThreadedPhoto(photo, self._threads)

    def rescan(self) -> None:
        """Scan the whole folder as soon as possible."""
        self._watcher.request_scan()

    async def ack(self, event: Event) -> None:
        """The photo has its record, or needs none."""
        path = event.ref.uri
        self._in_flight.discard(path)
        self._attempts.pop(path, None)
        self._changed_at.pop(path, None)
        self._restless.forget(path)
        self._wake.set()

    async def retry(self, event: Event, delay_s: float) -> None:
        """Look at the photo again after `delay_s`."""
        self._attempts[event.ref.uri] = event.attempt + 1
        await self.postpone(event, delay_s)

    async def postpone(self, event: Event, delay_s: float) -> None:
        """Look at the photo again after `delay_s`. If it was postponed often, wait longer, and name it in the log."""
        path = event.ref.uri
        self._in_flight.discard(path)
        delay_s = self._restless.stretch(path, delay_s) if delay_s else 0.0
        self._unstable.postpone(path, time.monotonic(), delay_s)
        self._wake.set()

    def _find_age(self, path: str) -> float | None:
        """Seconds since the file was seen to change; None if that was not seen, or long ago."""
        changed_at_s = self._changed_at.get(path)
        return None if changed_at_s is None else time.monotonic() - changed_at_s

    def _add_found(self, photos: list[FoundPhoto]) -> None:
        new = [each for each in photos if each.ref.uri not in self._unstable and each.ref.uri not in self._in_flight]
        self._backlog.add([each.ref for each in new if each.is_stable(self._tuning.stable_age_s)])
        for each in new:
            if not each.is_stable(self._tuning.stable_age_s):
                self._add_event(each.ref.uri, Change.SEEN, each.ref)
        self._wake.set()

    def _add_event(self, path: str, change: Change, version: PhotoRef | None) -> None:
        now_s = time.monotonic()
        if path not in self._unstable and len(self._unstable) + len(self._finished) >= self._tuning.max_backlog:
            self._backlog.is_truncated = True  # a scan finds it later
            return
        self._wake.set()
        if change is Change.GONE:
            self._reported_gone.add(path)
            self._unstable.mark_gone(path, now_s)
            return
        self._remember_change(path, now_s)
        if change is Change.CLOSED:
            self._unstable.mark_closed(path, now_s)
        elif change is Change.WRITTEN:
            self._unstable.mark_held(path, version, now_s)
        else:
            self._unstable.mark_changed(path, version, now_s)

    def _remember_change(self, path: str, now_s: float) -> None:
        """Note when the file changed, and drop the oldest entries that do not matter any more."""
        self._changed_at.pop(path, None)
        self._changed_at[path] = now_s
        while now_s - next(iter(self._changed_at.values())) > self._tuning.held_s:
            del self._changed_at[next(iter(self._changed_at))]

    def _next(self) -> Event | None:
        while (path := self._finished.popleft() if self._finished else self._backlog.take()) is not None:
            if path in self._unstable:
                continue  # it has changed since, and comes again when it is finished
            if path in self._in_flight:
                self._unstable.postpone(path, time.monotonic(), self._settle_s)
            else:
                self._in_flight.add(path)
                return Event(PhotoRef(path), attempt=self._attempts.get(path, 0))
        if self._backlog.is_truncated and not self._in_flight and self._is_watching:
            self._backlog.is_truncated = False
            self._watcher.request_scan()
        return None

    async def _check_unstable(self) -> None:
        paths = self._unstable.pop_due(time.monotonic())
        if not paths:
            return
        gone = []
        photos = await asyncio.to_thread(lambda: [(path, find_photo(path)) for path in paths])
        for path, found in photos:
            if found and self._unstable.confirm(path, found.ref, time.monotonic()):
                self._finished.append(path)
            elif found is None and self._unstable.confirm_gone(path, time.monotonic()):
                self._forget(path)
                gone += [path] if path in self._reported_gone else []
                self._on_gone(path)
            self._reported_gone.discard(path)
        await asyncio.to_thread(self._set_corrections_aside, gone)

    def _set_corrections_aside(self, paths: list[str]) -> None:
        for path in paths:
            if self._sidecars.set_correction_aside(path):
                log.info("%s is gone; its correction is kept for exactly this photo", path, extra={"uri": path})

    def _forget(self, path: str) -> None:
        self._changed_at.pop(path, None)
        self._attempts.pop(path, None)
        self._restless.forget(path)

    async def _sleep(self) -> None:
        """Until something happens, or an unstable file is due."""
        due_s = self._unstable.next_due_s()
        try:
            await asyncio.wait_for(self._wake.wait(), None if due_s is None else max(0.0, due_s - time.monotonic()))
        except TimeoutError:
            return
