"""Source to tagger to sink: bounded, each photo once at a time, done or retried."""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from pawtag.domain.errors import GoneError, PermanentError, TemporaryError, UnfinishedError
from pawtag.domain.freshness import FreshnessPolicy
from pawtag.domain.ports import PhotoSource, Sink, SourceState
from pawtag.domain.records import (
    Event,
    Payload,
    PhotoInfo,
    PhotoRef,
    Stamp,
    Tagging,
    TagRecord,
)
from pawtag.inference.tagger import Tagger, describe_bytes
from pawtag.pipeline.memory_limiter import MemoryLimiter
from pawtag.pipeline.recording import build_failed_record, build_record, summarise

log = logging.getLogger(__name__)

MAX_BYTES_IN_FLIGHT = 512 * 1024 * 1024
MAX_RETRY_DELAY_S = 300.0
UNFINISHED_DELAY_S = 2.0
# A fault that meets every photo is told once in that time, whichever photo it names.
WARNING_INTERVAL_S = 10.0
# Docker kills after ten.
DRAIN_TIMEOUT_S = 6.0


@dataclass(slots=True)
class Counts:
    """What a pipeline has done so far, by status."""

    tagged: int = 0
    no_pet: int = 0
    failed: int = 0

    @property
    def total(self) -> int:
        """How many records were written."""
        return self.tagged + self.no_pet + self.failed


class Worker:
    """Brings every photo that its source names up to date."""

    def __init__(
        self, source: PhotoSource, sink: Sink, tagger: Tagger, *, policy: FreshnessPolicy, concurrency: int
    ) -> None:
        """Work on up to `in_hand` photos at once."""
        self._source, self._sink, self._tagger, self._policy = source, sink, tagger, policy
        self._slots = asyncio.Semaphore(concurrency)
        self._memory = MemoryLimiter(MAX_BYTES_IN_FLIGHT)
        self._peer_warned = False
        self._metrics = tagger.metrics
        self.in_flight = 0
        self.counts = Counts()
        self.error: str | None = None
        self._warned_at_s = -WARNING_INTERVAL_S
        self.last_error: str | None = None
        self.on_record: Callable[[PhotoRef, TagRecord], None] = lambda _ref, _record: None

    @property
    def state(self) -> SourceState:
        """How the source is; degraded, too, while records cannot be written or photos not be tagged."""
        state = self._source.state
        return replace(state, state="degraded", reason=self.error) if self.error and state.state == "running" else state

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish what is in hand, or give it back where that takes long.

        What the source raises is raised as it is.
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
            self.error = None
        except GoneError as error:
            log.debug("%s", error)
            self._metrics.count_skipped("gone")
        except UnfinishedError as error:
            # It is looked at again at the same pace, as often as it takes: no fault, no attempt.
            await self._source.retry(replace(event, attempt=event.attempt - 1), error.delay_s)
            return
        except TemporaryError as error:
            await self._retry(event, error)
            return
        except asyncio.CancelledError:
            await self._source.retry(event, 0)
            raise
        except Exception as error:  # one photo's surprise must not end the daemon
            log.exception("Unexpected error with %r", event.ref.uri)
            await self._retry(event, TemporaryError(str(error), delay_s=30))
            return
        finally:
            self.in_flight -= 1
            self._slots.release()
        await self._source.ack(event)

    async def _retry(self, event: Event, error: TemporaryError) -> None:
        delay_s = min(MAX_RETRY_DELAY_S, error.delay_s * 2 ** min(event.attempt, 10)) * random.uniform(0.75, 1.25)
        is_news = str(error) != self.error and time.monotonic() - self._warned_at_s >= WARNING_INTERVAL_S
        log.log(logging.WARNING if is_news else logging.DEBUG, "%s Trying again.", error)
        if is_news:
            self._warned_at_s = time.monotonic()
        self.error = self.last_error = str(error)
        await self._source.retry(event, delay_s)

    async def _reconcile(self, event: Event) -> None:
        with self._metrics.time_stage("look"):
            stamp = await asyncio.to_thread(self._sink.read_stamp, event.ref)
        if self._policy.is_current(stamp, event.ref):
            self._warn_of_peer(stamp, event.ref)
            self._metrics.count_skipped("current")
            return
        ref, record = await self._build_record(event, stamp)
        if stamp and stamp.record and stamp.describes(ref) and record.error and record.error == stamp.record.error:
            return  # still unreadable: nothing new to say
        if stamp and stamp.describes(ref) and stamp.record == record:
            self._metrics.count_skipped("current")
            return  # another look at the same content
        with self._metrics.time_stage("write"):
            await asyncio.to_thread(self._sink.write, ref, record)
        self._publish(ref, record)

    async def _build_record(self, event: Event, stamp: Stamp | None) -> tuple[PhotoRef, TagRecord]:
        """The record that the photo is owed, and the version of the photo that it is for."""
        ref, photo = event.ref, PhotoInfo(name=_base_name(event.ref.uri), bytes=event.ref.size_bytes)
        try:
            async with self._memory.acquire(ref.size_bytes):
                with self._metrics.time_stage("read"):
                    payload = await self._source.read(event)
                ref = payload.ref
                photo = (await asyncio.to_thread(describe_bytes, payload.data)).model_copy(update={"name": photo.name})
                if stamp and stamp.record and stamp.sha256 == photo.sha256 and not self._policy.supersedes(stamp):
                    return ref, stamp.record.model_copy(update={"source": self._source.describe_source(ref)})
                tagging = await self._tag_payload(payload)
        except PermanentError as error:
            return ref, build_failed_record(error, photo, self._tagger.identity, self._source.describe_source(ref))
        return ref, build_record(tagging, photo.name, self._tagger.identity, self._source.describe_source(ref))

    async def _tag_payload(self, payload: Payload) -> Tagging:
        try:
            return await self._tagger.tag(payload.data)
        except PermanentError as error:
            if error.code in ("truncated", "empty") and payload.is_fresh and payload.data:
                raise UnfinishedError("The photo is not finished yet.", delay_s=UNFINISHED_DELAY_S) from error
            raise

    def _publish(self, ref: PhotoRef, record: TagRecord) -> None:
        field = record.status.replace("-", "_")
        setattr(self.counts, field, getattr(self.counts, field) + 1)
        self._metrics.count_photo(record.source.kind, record.status)
        log.info("%s: %s", ref.uri, summarise(record))
        self.on_record(ref, record)

    def _warn_of_peer(self, stamp: Stamp | None, ref: PhotoRef) -> None:
        if (
            stamp
            and not self._peer_warned
            and self._policy.written_by_peer(stamp)
            and not self._policy.is_from_wanted_model(stamp)
        ):
            self._peer_warned = True
            log.warning(
                "Another daemon, with another model or labels, writes here too (%s); its records are left.", ref.uri
            )


async def _drain(handling: set[asyncio.Task[None]]) -> None:
    """Wait for what is in hand, but no longer than whoever stops a container does."""
    _, late = await asyncio.wait(handling, timeout=DRAIN_TIMEOUT_S)
    for task in late:
        log.warning(
            "%s is not done %.0f s after the end was asked for; it is given back", task.get_name(), DRAIN_TIMEOUT_S
        )
        task.cancel()


def _base_name(uri: str) -> str:
    """The base name; bytes that are not UTF-8 as replacement characters."""
    return uri.rpartition("/")[2].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
