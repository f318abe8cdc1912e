"""The folder as a source of photos: hints and scans decide when to look, the folder itself what there is."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pawtag.config import FolderSettings
from pawtag.domain.ports import SourceState
from pawtag.domain.records import Event, Payload, PhotoRef, SourceInfo
from pawtag.folder.backlog import Backlog
from pawtag.folder.stability import StabilityTracker
from pawtag.folder.walk import FoundPhoto, find_photo, read_photo
from pawtag.folder.watcher import FolderWatcher, Needs, Skipped, WatchListener, ignore_skipped

log = logging.getLogger(__name__)

FRESH_S = 60.0


class FolderSource:
    """Photos below a folder that need a record; see ports.PhotoSource. Lives on the event loop."""

    def __init__(
        self, root: Path, settings: FolderSettings, needs: Needs, *, max_bytes: int, skipped: Skipped = ignore_skipped
    ) -> None:
        """Nothing is looked at before `watching` or `scan`. `needs(ref)` and `skipped` are called from threads."""
        self._max_bytes, self._settle_s = max_bytes, settings.settle_s
        self._watch = FolderWatcher(root, settings, needs, WatchListener(self._add_found, self._add_event, skipped))
        self._unstable: StabilityTracker[PhotoRef] = StabilityTracker(settings.settle_s, settings.stable_s)
        self._changed_at: dict[str, float] = {}
        self._ready: deque[str] = deque()
        self._backlog = Backlog()
        self._attempts: dict[str, int] = {}
        self._in_flight: set[str] = set()
        self._wake = asyncio.Event()
        self._is_watching = False

    @property
    def state(self) -> SourceState:
        """How the folder is now."""
        return self._watch.state

    @property
    def pending(self) -> int:
        """How many photos are known to wait."""
        return len(self._backlog) + len(self._ready)

    @property
    def is_drained(self) -> bool:
        """Whether nothing that is known waits or is in hand."""
        return not (self.pending or self._in_flight or len(self._unstable))

    def count_hopeless(self, tries: int) -> int | None:
        """How many photos are left, where all that is left has failed `tries` times; else None."""
        hopeless = [path for path, count in self._attempts.items() if count >= tries and path in self._unstable]
        is_all = not self.pending and not self._in_flight and len(hopeless) == len(self._unstable)
        return len(hopeless) if is_all and hopeless else None

    @asynccontextmanager
    async def watch(self) -> AsyncIterator["FolderSource"]:
        """The source, watching and scanning until the context ends."""
        keeping = asyncio.create_task(self._watch.run(), name="folder-watch")
        self._is_watching = True
        try:
            yield self
        finally:
            self._is_watching = False
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    async def scan(self) -> int:
        """Look through the folder once; how many photos need a record. Raises OSError."""
        count = await self._watch.scan()
        await asyncio.sleep(0)  # what the scanning thread handed over last is taken in now
        return count

    async def scan_rest(self) -> bool:
        """Scan again where the backlog could not hold all that was found; whether it did."""
        if not self._backlog.is_cut:
            return False
        self._backlog.is_cut = False
        await self.scan()
        return True

    async def events(self, stop: asyncio.Event) -> AsyncIterator[Event]:
        """Finished photos, those that just came before the backlog, until `stop` is set."""
        stopping = asyncio.create_task(stop.wait(), name="folder-stop")
        stopping.add_done_callback(lambda _: self._wake.set())
        try:
            while not stop.is_set():
                self._wake.clear()
                await self._check_due()
                if event := self._next():
                    yield event
                else:
                    await self._sleep()
        finally:
            stopping.cancel()

    def describe_source(self, ref: PhotoRef) -> SourceInfo:
        """What a record says of the file: which version of it was read."""
        return SourceInfo(kind="folder", mtime_ns=ref.mtime_ns)

    async def read(self, event: Event) -> Payload:
        """The photo's bytes as they are now; see `walk.read` for the errors."""
        path = event.ref.uri
        payload = await asyncio.to_thread(read_photo, path, self._max_bytes)
        changed_at = self._changed_at.get(path)
        return Payload(payload.ref, payload.data, changed_at is not None and time.monotonic() - changed_at < FRESH_S)

    async def ack(self, event: Event) -> None:
        """The photo has its record, or is owed none."""
        path = event.ref.uri
        self._in_flight.discard(path)
        self._attempts.pop(path, None)
        self._wake.set()

    async def retry(self, event: Event, delay_s: float) -> None:
        """Look at the photo again in `delay_s` seconds."""
        path = event.ref.uri
        self._in_flight.discard(path)
        self._attempts[path] = event.attempt + 1
        self._unstable.postpone(path, time.monotonic(), delay_s)
        self._wake.set()

    async def reject(self, event: Event, reason: str) -> None:
        """Leave the photo until the next scan."""
        log.error("%s is left alone: %s", event.ref.uri, reason)
        await self.ack(event)

    def _add_found(self, seen: list[FoundPhoto]) -> None:
        new = [each for each in seen if each.ref.uri not in self._unstable and each.ref.uri not in self._in_flight]
        self._backlog.add([each.ref for each in new if each.is_stable])
        for each in new:
            if not each.is_stable:
                self._add_event(each.ref.uri, each.ref)
        self._wake.set()

    def _add_event(self, path: str, version: PhotoRef | None) -> None:
        now_s = time.monotonic()
        self._remember_change(path, now_s)
        if version is None:
            self._unstable.mark_closed(path, now_s)
        else:
            self._unstable.mark_changed(path, version, now_s)
        self._wake.set()

    def _remember_change(self, path: str, now_s: float) -> None:
        """Note when the file changed, and drop what is too long ago to matter; oldest first."""
        self._changed_at.pop(path, None)
        self._changed_at[path] = now_s
        while now_s - next(iter(self._changed_at.values())) > FRESH_S:
            del self._changed_at[next(iter(self._changed_at))]

    def _next(self) -> Event | None:
        while (path := self._ready.popleft() if self._ready else self._backlog.take()) is not None:
            if path in self._unstable:
                continue  # it has changed since, and comes again when it is finished
            if path in self._in_flight:
                self._unstable.postpone(path, time.monotonic(), self._settle_s)
            elif found := find_photo(path):
                self._in_flight.add(path)
                return Event(found.ref, attempt=self._attempts.get(path, 0))
            else:
                self._forget(path)
        if self._backlog.is_cut and not self._in_flight and self._is_watching:
            self._backlog.is_cut = False
            self._watch.request_scan()
        return None

    async def _check_due(self) -> None:
        paths = self._unstable.pop_due(time.monotonic())
        if not paths:
            return
        seen = await asyncio.to_thread(lambda: [(path, find_photo(path)) for path in paths])
        for path, found in seen:
            if found is None:
                self._forget(path)
            elif self._unstable.confirm(path, found.ref, time.monotonic()):
                self._ready.append(path)

    def _forget(self, path: str) -> None:
        self._unstable.forget(path)
        self._changed_at.pop(path, None)
        self._attempts.pop(path, None)

    async def _sleep(self) -> None:
        """Until something happens, or a file is due to be looked at."""
        due_s = self._unstable.next_due_s()
        try:
            await asyncio.wait_for(self._wake.wait(), None if due_s is None else max(0.0, due_s - time.monotonic()))
        except TimeoutError:
            return
