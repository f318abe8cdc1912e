"""The worker of a source: it reconciles each photo, bounded, once at a time, and acknowledges or retries it."""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from pawtag.domain.backoff import Backoff
from pawtag.domain.errors import GoneError, PermanentError, TemporaryError, UnfinishedError
from pawtag.domain.freshness import FreshnessPolicy
from pawtag.domain.ports import PhotoSource, Sink, SourceState
from pawtag.domain.records import Event, Payload, PhotoInfo, PhotoRef, Stamp, Tagging, TagRecord, describe_bytes
from pawtag.inference.tagger import Tagger
from pawtag.pipeline.memory_limiter import MemoryLimiter
from pawtag.pipeline.recording import build_failed_record, build_record, summarise

log = logging.getLogger(__name__)

MAX_BYTES_IN_FLIGHT = 512 * 1024 * 1024
PHOTO_BACKOFF = Backoff(max_s=300.0, jitter=0.25)
UNFINISHED_DELAY_S, UNEXPECTED_DELAY_S = 2.0, 30.0
# A fault may affect every photo: the log names one of them in that time.
WARNING_INTERVAL_S = 10.0
# Docker kills ten seconds after SIGTERM.
DRAIN_TIMEOUT_S = 6.0


@dataclass(slots=True)
class Counts:
    """Records that a worker has written, by status."""

    tagged: int = 0
    no_pet: int = 0
    failed: int = 0

    @property
    def total(self) -> int:
        """All records."""
        return self.tagged + self.no_pet + self.failed


class Worker:
    """Reconciles every photo that its source names: after that, the record describes the photo."""

    def __init__(
        self, source: PhotoSource, sink: Sink, tagger: Tagger, *, policy: FreshnessPolicy, concurrency: int
    ) -> None:
        """`concurrency`: photos in flight at once. `on_record` is called for each record that is written."""
        self._source, self._sink, self._tagger, self._policy = source, sink, tagger, policy
        self._slots = asyncio.Semaphore(concurrency)
        self._memory = MemoryLimiter(MAX_BYTES_IN_FLIGHT)
        self._metrics = tagger.metrics
        self._warned_of_peer = False
        self._warned_at_s = -WARNING_INTERVAL_S
        self.in_flight = 0
        self.counts = Counts()
        self.current_error: str | None = None
        """The fault of the photos now; None once one succeeds."""
        self.last_error: str | None = None
        self.on_record: Callable[[PhotoRef, TagRecord], None] = lambda _ref, _record: None

    @property
    def state(self) -> SourceState:
        """The state of the source. It is degraded, too, while photos cannot be tagged or records not be written."""
        state = self._source.state
        if self.current_error and state.state == "running":
            return replace(state, state="degraded", reason=self.current_error)
        return state

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish what is in flight; what takes too long is released.

        Raises what the source raises.
        """
        handling: set[asyncio.Task[None]] = set()
        try:
            async with asyncio.TaskGroup() as tasks:
                async for event in self._source.events(stop):
                    await self._slots.acquire()
                    handling.add(task := tasks.create_task(self._handle(event), name=f"photo {event.ref.uri!r}"))
                    task.add_done_callback(handling.discard)
                if handling and stop.is_set():
                    await _drain(handling)
        except ExceptionGroup as group:
            raise group.exceptions[0] from group

    async def _handle(self, event: Event) -> None:
        self.in_flight += 1
        try:
            with self._metrics.time_stage("photo"):
                await self._reconcile(event)
            self.current_error = None
        except GoneError as error:
            log.debug("%s", error)
            self._metrics.count_skipped("gone")
        except UnfinishedError as error:
            # It is looked at again at the same pace, as often as it takes: no attempt is counted.
            await self._source.retry(replace(event, attempt=event.attempt - 1), error.delay_s)
            return
        except TemporaryError as error:
            await self._retry(event, error)
            return
        except asyncio.CancelledError:
            await self._source.retry(event, 0)
            raise
        except Exception as error:  # an unexpected error with one photo must not end the daemon
            log.exception("unexpected error with %s", event.ref.uri, extra={"uri": event.ref.uri})
            await self._retry(event, TemporaryError(str(error), UNEXPECTED_DELAY_S))
            return
        finally:
            self.in_flight -= 1
            self._slots.release()
        await self._source.ack(event)

    async def _retry(self, event: Event, error: TemporaryError) -> None:
        delay_s = PHOTO_BACKOFF.delay_s(error.delay_s, event.attempt, random_fraction=random.random())
        is_new = str(error) != self.current_error and time.monotonic() - self._warned_at_s >= WARNING_INTERVAL_S
        fields = {"uri": event.ref.uri, "reason": str(error), "delay_s": round(delay_s, 1)}
        log.log(logging.WARNING if is_new else logging.DEBUG, "%s Retrying.", error, extra=fields)
        if is_new:
            self._warned_at_s = time.monotonic()
        self.current_error = self.last_error = str(error)
        await self._source.retry(event, delay_s)

    async def _reconcile(self, event: Event) -> None:
        started_s = time.monotonic()
        with self._metrics.time_stage("look"):
            stamp = await asyncio.to_thread(self._sink.read_stamp, event.ref)
        if self._policy.is_current(stamp, event.ref):
            self._warn_of_peer(stamp, event.ref)
            self._metrics.count_skipped("current")
            return
        ref, record = await self._build_record(event, stamp)
        if stamp and stamp.record and stamp.describes(ref) and record.error and record.error == stamp.record.error:
            return  # it is still unreadable, and the record says so
        if stamp and stamp.describes(ref) and stamp.record == record:
            self._metrics.count_skipped("current")
            return  # the same content once more
        with self._metrics.time_stage("write"):
            await asyncio.to_thread(self._sink.write, ref, record)
        self._publish(ref, record, time.monotonic() - started_s)

    async def _build_record(self, event: Event, stamp: Stamp | None) -> tuple[PhotoRef, TagRecord]:
        """The record that the photo needs, and the version of the photo that it describes."""
        ref, photo = event.ref, PhotoInfo(name=_base_name(event.ref.uri), bytes=event.ref.size_bytes)
        try:
            async with self._memory.acquire(ref.size_bytes):
                with self._metrics.time_stage("read"):
                    payload = await self._source.read(event)
                ref = payload.ref
                photo = await asyncio.to_thread(describe_bytes, payload.data, photo.name)
                if stamp and stamp.record and stamp.sha256 == photo.sha256 and not self._policy.supersedes(stamp):
                    return ref, stamp.record.model_copy(update={"source": self._source.describe_source(ref)})
                tagging = await self._tag(payload, photo)
        except PermanentError as error:
            return ref, build_failed_record(error, photo, self._tagger.identity, self._source.describe_source(ref))
        return ref, build_record(tagging, photo.name, self._tagger.identity, self._source.describe_source(ref))

    async def _tag(self, payload: Payload, photo: PhotoInfo) -> Tagging:
        try:
            return await self._tagger.tag(payload.data, photo=photo)
        except PermanentError as error:
            if error.code in ("truncated", "empty") and payload.is_fresh and payload.data:
                raise UnfinishedError("The photo is not finished yet.", delay_s=UNFINISHED_DELAY_S) from error
            raise

    def _publish(self, ref: PhotoRef, record: TagRecord, duration_s: float) -> None:
        """Tell counts, metrics, log and listener of a record that is written."""
        field = record.status.replace("-", "_")
        setattr(self.counts, field, getattr(self.counts, field) + 1)
        self._metrics.count_photo(record.source.kind, record.status)
        fields = {"uri": ref.uri, "status": record.status, "duration_s": round(duration_s, 3)}
        fields |= {"reason": record.error.code} if record.error else {}
        log.info("%s: %s", ref.uri, summarise(record), extra=fields)
        self.on_record(ref, record)

    def _warn_of_peer(self, stamp: Stamp | None, ref: PhotoRef) -> None:
        if stamp is None or self._warned_of_peer or self._policy.is_from_wanted_model(stamp):
            return
        if self._policy.written_by_peer(stamp):
            self._warned_of_peer = True
            log.warning(
                "another daemon with another model or labels writes records here (%s); they are left unchanged",
                ref.uri,
                extra={"uri": ref.uri},
            )


async def _drain(handling: set[asyncio.Task[None]]) -> None:
    """Wait for photos in flight, but not longer than container runtimes wait for a process."""
    _, late = await asyncio.wait(handling, timeout=DRAIN_TIMEOUT_S)
    for task in late:
        log.warning("%s is not done %.0f s after the stop; it is released", task.get_name(), DRAIN_TIMEOUT_S)
        task.cancel()


def _base_name(uri: str) -> str:
    """The base name. Bytes that are not UTF-8 become replacement characters."""
    return uri.rpartition("/")[2].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
