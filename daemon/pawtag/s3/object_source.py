"""A source of the objects that a feed names: a listing, or the push inbox. Retries happen in this process."""

import asyncio
import heapq
import itertools
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Literal, Protocol

from pawtag.domain.errors import PawtagError, TemporaryError
from pawtag.domain.ports import SourceState
from pawtag.domain.records import Event, PhotoRef
from pawtag.log import log_state_change
from pawtag.pipeline.threaded_photo import ThreadedPhoto
from pawtag.s3.objects import Objects

log = logging.getLogger(__name__)

# With so many retries pending no new photos are taken.
MAX_PENDING_RETRIES = 100_000
# If attempts are limited, a person waits: retries come soon, and the source ends if all of the first photos fail.
MAX_RETRY_DELAY_S, MAX_INITIAL_FAILURES = 30.0, 50


class PhotoFeed(Protocol):
    """Names photos for an ObjectSource."""

    def take(self) -> Coroutine[Any, Any, Sequence[PhotoRef] | None]:
        """The next photos, as soon as there are any; None at the end. Raises PawtagError."""

    async def mark_finished(self, ref: PhotoRef) -> None:
        """A photo that was taken has its record, or needs none. Raises TemporaryError."""

    def rescan(self) -> None:
        """Name again the photos with stale records, as far as the feed knows them."""


class ObjectSource:
    """The photos of a feed; see ports.PhotoSource. Lives on the event loop."""

    def __init__(self, name: str, feed: PhotoFeed, objects: Objects, *, max_attempts: int | None = None) -> None:
        """`max_attempts`: for each photo; None means without limit."""
        self._feed, self._objects, self._max_attempts = feed, objects, max_attempts
        self._retries: list[tuple[float, int, Event]] = []
        self._count = itertools.count()
        self._in_flight = 0
        self._progressed = asyncio.Event()
        self._failures = self._successes = 0
        self.given_up: list[str] = []
        """The URIs of photos whose attempts are used up, or that were pending when all others had failed."""
        self._has_take_fault = False
        self.has_ended = False
        """Whether the feed came to its end."""
        self.state = SourceState(name, "running")

    async def events(self, stop: asyncio.Event) -> AsyncGenerator[Event, None]:
        """Events until `stop` is set, or until the feed has ended and each photo is done or given up.

        Raises PawtagError if the feed fails.
        """
        stopping = asyncio.create_task(stop.wait(), name="feed-stop")
        taking: asyncio.Task[Sequence[PhotoRef] | None] | None = None
        try:
            while not stop.is_set():
                while not stop.is_set() and (event := self._pop_due()):
                    yield self._hand_out(event)
                if self._is_done() or self._has_only_failures():
                    self.given_up += [event.ref.uri for _, _, event in self._retries]
                    return
                if not self.has_ended and taking is None and len(self._retries) < MAX_PENDING_RETRIES:
                    taking = asyncio.create_task(self._take(), name="feed-take")
                await self._wait({stopping, taking} if taking else {stopping})
                if taking and taking.done():
                    refs, taking = await self._read_taken(taking, stopping), None
                    self.has_ended = refs is None
                    for ref in refs or ():
                        if stop.is_set():
                            return
                        yield self._hand_out(Event(ref))
        finally:
            for task in filter(None, (stopping, taking)):
                task.cancel()

    @asynccontextmanager
    async def open(self, ref: PhotoRef) -> AsyncIterator[ThreadedPhoto]:
        """The object."""
        async with self._objects.open(ref) as photo:
            yield photo

    def rescan(self) -> None:
        """Let the feed name stale photos again."""
        self._feed.rescan()

    async def ack(self, event: Event) -> None:
        """The object has its record, or needs none."""
        self._successes += 1
        self._release()
        try:
            await self._feed.mark_finished(event.ref)
        except TemporaryError as error:
            log.warning("%s After a restart, pawtag checks the photo again.", error, extra={"uri": event.ref.uri})

    async def retry(self, event: Event, delay_s: float) -> None:
        """Hand the photo out again after the delay, unless its attempts are used up."""
        self._failures += 1
        if self._max_attempts is not None:
            delay_s = min(delay_s, MAX_RETRY_DELAY_S)
            if event.attempt + 1 >= self._max_attempts:
                self.given_up.append(event.ref.uri)  # not marked as finished, so that a later scan tries it again
                self._release()
                return
        await self.postpone(replace(event, attempt=event.attempt + 1), delay_s)

    async def postpone(self, event: Event, delay_s: float) -> None:
        """Hand the photo out again after the delay, as the same attempt."""
        heapq.heappush(self._retries, (time.monotonic() + delay_s, next(self._count), event))
        self._release()

    def close(self) -> None:
        """End its threads."""
        self._objects.close()

    def report_fault(self, fault: PawtagError | None) -> None:
        """Show a fault of the feed in /readyz; None: there is none any more."""
        after = SourceState(self.state.name, "degraded" if fault else "running", str(fault) if fault else None)
        log_state_change(log, self.state, after)
        self.state = after

    async def _read_taken(
        self, taking: "asyncio.Task[Sequence[PhotoRef] | None]", stopping: "asyncio.Task[Literal[True]]"
    ) -> Sequence[PhotoRef] | None:
        """The photos that were taken. If a feed without limited attempts fails: wait, and return no photos."""
        try:
            refs = taking.result()
        except TemporaryError as error:
            if self._max_attempts is not None:
                raise
            self.report_fault(error)
            self._has_take_fault = True
            await asyncio.wait({stopping}, timeout=error.delay_s)
            return ()
        if self._has_take_fault:
            self._has_take_fault = False
            self.report_fault(None)
        return refs

    async def _take(self) -> Sequence[PhotoRef] | None:
        await asyncio.get_running_loop().run_in_executor(self._objects.threads, self._objects.probe)
        return await self._feed.take()

    def _hand_out(self, event: Event) -> Event:
        self._in_flight += 1
        return event

    def _release(self) -> None:
        self._in_flight -= 1
        self._progressed.set()

    def _is_done(self) -> bool:
        return self.has_ended and not self._retries and not self._in_flight

    def _has_only_failures(self) -> bool:
        return self._max_attempts is not None and not self._successes and self._failures >= MAX_INITIAL_FAILURES

    def _pop_due(self) -> Event | None:
        if self._retries and self._retries[0][0] <= time.monotonic():
            return heapq.heappop(self._retries)[2]
        return None

    async def _wait(self, tasks: set[asyncio.Task[object]]) -> None:
        """Until a task is done, a photo is released, or a retry is due."""
        self._progressed.clear()
        progressing = asyncio.create_task(self._progressed.wait(), name="feed-progress")
        due_s = max(0.0, self._retries[0][0] - time.monotonic()) if self._retries else None
        await asyncio.wait({*tasks, progressing}, timeout=due_s, return_when=asyncio.FIRST_COMPLETED)
        progressing.cancel()
