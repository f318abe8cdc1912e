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
from pawtag.pipeline.memory_limiter import ByteBudget
from pawtag.pipeline.recording import failed, summary, tagged

log = logging.getLogger(__name__)

BYTES_IN_HAND = 512 * 1024 * 1024
LONGEST_DELAY_S = 300.0
UNFINISHED_DELAY_S = 2.0
# A fault that meets every photo is told once in that time, whichever photo it names.
TOLD_EVERY_S = 10.0
# Docker kills after ten.
LAST_S = 6.0


@dataclass(slots=True)
class Counts:
    """What a pipeline has done so far, by status."""

    tagged: int = 0
    no_pet: int = 0
    failed: int = 0

    @property
    def written(self) -> int:
        """How many records were written."""
        return self.tagged + self.no_pet + self.failed


class Pipeline:
    """Brings every photo that its source names up to date."""

    def __init__(
        self, source: PhotoSource, sink: Sink, tagger: Tagger, *, judge: FreshnessPolicy, in_hand: int
    ) -> None:
        """Work on up to `in_hand` photos at once."""
        self._source, self._sink, self._tagger, self._judge = source, sink, tagger, judge
        self._slots = asyncio.Semaphore(in_hand)
        self._budget = ByteBudget(BYTES_IN_HAND)
        self._rivals_named = False
        self._metrics = tagger.metrics
        self.in_hand = 0
        self.counts = Counts()
        self.trouble: str | None = None
        self._told_at_s = -TOLD_EVERY_S
        self.last_fault: str | None = None
        self.on_record: Callable[[PhotoRef, TagRecord], None] = lambda _ref, _record: None

    @property
    def state(self) -> SourceState:
        """How the source is; degraded, too, while records cannot be written or photos not be tagged."""
        state = self._source.state
        return (
            replace(state, state="degraded", reason=self.trouble)
            if self.trouble and state.state == "running"
            else state
        )

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
                    await _end(handling)
        except ExceptionGroup as group:
            raise group.exceptions[0] from group

    async def _handle(self, event: Event) -> None:
        self.in_hand += 1
        try:
            with self._metrics.time_stage("photo"):
                await self._bring_up_to_date(event)
            self.trouble = None
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
            self.in_hand -= 1
            self._slots.release()
        await self._source.done(event)

    async def _retry(self, event: Event, error: TemporaryError) -> None:
        delay_s = min(LONGEST_DELAY_S, error.delay_s * 2 ** min(event.attempt, 10)) * random.uniform(0.75, 1.25)
        is_news = str(error) != self.trouble and time.monotonic() - self._told_at_s >= TOLD_EVERY_S
        log.log(logging.WARNING if is_news else logging.DEBUG, "%s Trying again.", error)
        if is_news:
            self._told_at_s = time.monotonic()
        self.trouble = self.last_fault = str(error)
        await self._source.retry(event, delay_s)

    async def _bring_up_to_date(self, event: Event) -> None:
        with self._metrics.time_stage("look"):
            stamp = await asyncio.to_thread(self._sink.current, event.ref)
        if self._judge.is_current(stamp, event.ref):
            self._name_rival(stamp, event.ref)
            self._metrics.count_skipped("current")
            return
        ref, record = await self._record(event, stamp)
        if stamp and stamp.record and stamp.describes(ref) and record.error and record.error == stamp.record.error:
            return  # still unreadable: nothing new to say
        if stamp and stamp.describes(ref) and stamp.record == record:
            self._metrics.count_skipped("current")
            return  # another look at the same content
        with self._metrics.time_stage("write"):
            await asyncio.to_thread(self._sink.write, ref, record)
        self._count(ref, record)

    async def _record(self, event: Event, stamp: Stamp | None) -> tuple[PhotoRef, TagRecord]:
        """The record that the photo is owed, and the version of the photo that it is for."""
        ref, photo = event.ref, PhotoInfo(name=_name(event.ref.uri), bytes=event.ref.size_bytes)
        try:
            async with self._budget.share(ref.size_bytes):
                with self._metrics.time_stage("read"):
                    payload = await self._source.read(event)
                ref = payload.ref
                photo = (await asyncio.to_thread(describe_bytes, payload.data)).model_copy(update={"name": photo.name})
                if stamp and stamp.record and stamp.sha256 == photo.sha256 and self._judge.speaks_for_us(stamp):
                    return ref, stamp.record.model_copy(update={"source": self._source.origin(ref)})
                tagging = await self._tag(payload)
        except PermanentError as error:
            return ref, failed(error, photo, self._tagger.identity, self._source.origin(ref))
        return ref, tagged(tagging, photo.name, self._tagger.identity, self._source.origin(ref))

    async def _tag(self, payload: Payload) -> Tagging:
        try:
            return await self._tagger.tag(payload.data)
        except PermanentError as error:
            if error.code in ("truncated", "empty") and payload.is_fresh and payload.data:
                raise UnfinishedError("The photo is not finished yet.", delay_s=UNFINISHED_DELAY_S) from error
            raise

    def _count(self, ref: PhotoRef, record: TagRecord) -> None:
        field = record.status.replace("-", "_")
        setattr(self.counts, field, getattr(self.counts, field) + 1)
        self._metrics.count_photo(record.source.kind, record.status)
        log.info("%s: %s", ref.uri, summary(record))
        self.on_record(ref, record)

    def _name_rival(self, stamp: Stamp | None, ref: PhotoRef) -> None:
        if (
            stamp
            and not self._rivals_named
            and self._judge.written_by_peer(stamp)
            and not self._judge.is_from_wanted_model(stamp)
        ):
            self._rivals_named = True
            log.warning(
                "Another daemon, with another model or labels, writes here too (%s); its records are left.", ref.uri
            )


async def _end(handling: set[asyncio.Task[None]]) -> None:
    """Wait for what is in hand, but no longer than whoever stops a container does."""
    _, late = await asyncio.wait(handling, timeout=LAST_S)
    for task in late:
        log.warning("%s is not done %.0f s after the end was asked for; it is given back", task.get_name(), LAST_S)
        task.cancel()


def _name(uri: str) -> str:
    """The base name; bytes that are not UTF-8 as replacement characters."""
    return uri.rpartition("/")[2].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
