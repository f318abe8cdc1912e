"""The worker of a source: it reconciles each photo, bounded, once at a time, and acknowledges or retries it."""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace

from pawtag.domain.backoff import Backoff
from pawtag.domain.errors import GoneError, TemporaryError, UnfinishedError
from pawtag.domain.outcomes import Outcome, PhotoRetrying, PhotoSkipped
from pawtag.domain.ports import PhotoSource, SourceState
from pawtag.domain.records import Event, PhotoRef
from pawtag.pipeline.faults import Faults
from pawtag.pipeline.observers import Counts, Observers
from pawtag.pipeline.photo_locks import PhotoLocks
from pawtag.pipeline.photo_operations import PhotoOperations
from pawtag.pipeline.reconciler import Reconciler
from pawtag.state.in_flight import InFlightPhotos
from pawtag.state.owed import OwedPhotos

log = logging.getLogger(__name__)

PHOTO_BACKOFF = Backoff(first_s=1.0, max_s=300.0, jitter=0.25)
UNEXPECTED_DELAY_S = 30.0
# Docker kills ten seconds after SIGTERM.
DRAIN_TIMEOUT_S = 6.0


class Worker:
    """Reconciles every photo that its source names: after that, the record describes the photo."""

    def __init__(
        self,
        source: PhotoSource,
        reconciler: Reconciler,
        *,
        concurrency: int,
        observers: Observers | None = None,
        in_flight: InFlightPhotos,
        owed: OwedPhotos | None,
        locks: PhotoLocks,
    ) -> None:
        """`concurrency`: photos in flight at once. `observers` hear what happens to each photo.

        `locks`: all sources share them. `owed`: notes the photos that the fallback tags; None if a scan finds them
        again.
        """
        self._source, self._reconciler = source, reconciler
        self.operations = PhotoOperations(source, reconciler, self._publish, locks, owed)
        self._photos, self._owed, self._locks = in_flight, owed, locks
        self._slots = asyncio.Semaphore(concurrency)
        self._observers = observers or Observers()
        self._metrics = reconciler.tagger.metrics
        self.in_flight = 0
        self.count_pending: Callable[[], int] = lambda: 0
        self.counts = Counts()
        self.faults = Faults()
        self.last_error: str | None = None

    @property
    def pending(self) -> int:
        """How many photos are known to be pending."""
        return self.count_pending()

    @property
    def done(self) -> int:
        """How many have got a record since the start."""
        return self.counts.total

    @property
    def state(self) -> SourceState:
        """The state of the source. It is also degraded while photos cannot be tagged, or records cannot be written."""
        state = self._source.state
        if self.faults.first and state.state == "running":
            return replace(state, state="degraded", reason=self.faults.first)
        return state

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish what is in flight; what takes too long is released.

        Raises what the source raises.
        """
        handling: set[asyncio.Task[None]] = set()
        try:
            async with asyncio.TaskGroup() as tasks, aclosing(self._source.events(stop)) as events:
                async for event in events:
                    if not await self._take_slot(stop):
                        await self._source.postpone(event, 0)
                        break
                    handling.add(task := tasks.create_task(self._handle(event), name=f"photo {event.ref.uri!r}"))
                    task.add_done_callback(handling.discard)
                if handling and stop.is_set():
                    await _drain(handling)
        except ExceptionGroup as group:
            raise group.exceptions[0] from group
        finally:
            await self._photos.flush()

    async def _take_slot(self, stop: asyncio.Event) -> bool:
        """Wait for a free slot; False if `stop` is set first."""
        if not self._slots.locked():
            await self._slots.acquire()
            return True
        taking = asyncio.create_task(self._slots.acquire(), name="slot")
        stopping = asyncio.create_task(stop.wait(), name="slot-stop")
        await asyncio.wait({taking, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if taking.done():
            return True
        taking.cancel()
        return False

    async def _handle(self, event: Event) -> None:
        self.in_flight += 1
        is_done = True
        try:
            await self._photos.begin(event.ref.uri)
            await self._owe_retag(event.ref)
            with self._metrics.time_stage("photo"):
                outcome = await self._reconcile(event)
            self.faults.clear(event.ref.uri)
        except UnfinishedError as error:
            await self._postpone(event, error)
            return
        except TemporaryError as error:
            await self._retry(event, error)
            return
        except asyncio.CancelledError:
            is_done = False  # its row stays: a decoder may hang, and the next start examines the photo
            await self._source.postpone(event, 0)
            raise
        except Exception as error:  # an unexpected error with one photo must not end the daemon
            log.exception("unexpected error with %s", event.ref.uri, extra={"uri": event.ref.uri})
            await self._retry(event, TemporaryError(str(error), UNEXPECTED_DELAY_S))
            return
        finally:
            self.in_flight -= 1
            self._slots.release()
            if is_done:
                self._photos.end(event.ref.uri)
        self._publish(outcome)
        await self._source.ack(event)

    async def _owe_retag(self, ref: PhotoRef) -> None:
        """Note an object that the fallback tags, before its record is written: no event will name it again."""
        if self._owed and self._reconciler.tagger.identity.model.fallback:
            await self._owed.add([ref.uri], "retag")

    async def _reconcile(self, event: Event) -> Outcome:
        try:
            async with self._locks.hold(event.ref.uri), self._source.open(event.ref) as photo:
                return await self._reconciler.reconcile(photo)
        except GoneError as error:
            log.debug("%s", error)
            return PhotoSkipped(error.reason, ref=event.ref)

    async def _postpone(self, event: Event, error: TemporaryError) -> None:
        """Look at the photo again after the same delay, without a limit: no attempt is counted."""
        self._publish(PhotoRetrying(event.ref, str(error), error.delay_s, is_fault=False))
        await self._source.postpone(event, error.delay_s)

    async def _retry(self, event: Event, error: TemporaryError) -> None:
        delay_s = PHOTO_BACKOFF.delay_s(event.attempt, first_s=error.delay_s, random_fraction=random.random())
        self.last_error = str(error)
        self.faults.note(event.ref.uri, self.last_error)
        self._publish(PhotoRetrying(event.ref, str(error), delay_s))
        await self._source.retry(event, delay_s)

    def _publish(self, outcome: Outcome) -> None:
        self.counts(outcome)
        self._observers.publish(outcome)


async def _drain(handling: set[asyncio.Task[None]]) -> None:
    """Wait for photos in flight, but not longer than container runtimes wait for a process."""
    _, late = await asyncio.wait(handling, timeout=DRAIN_TIMEOUT_S)
    for task in late:
        log.warning("%s was not finished %.0f s after the stop; it is retried later", task.get_name(), DRAIN_TIMEOUT_S)
        task.cancel()
