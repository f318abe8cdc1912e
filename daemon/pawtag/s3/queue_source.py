"""A message queue as a source of photos. Messages in flight are invisible to others, and are deleted in batches."""

import asyncio
import logging
import threading
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

from pawtag.config import S3Settings
from pawtag.domain.backoff import Backoff
from pawtag.domain.errors import PawtagError
from pawtag.domain.ports import SourceState
from pawtag.domain.records import Event, PhotoRef
from pawtag.log import log_state_change
from pawtag.pipeline.threaded_photo import ThreadedPhoto
from pawtag.s3.in_flight import InFlightMessages
from pawtag.s3.message_queue import MAX_BATCH_MESSAGES, Message, MessageQueue
from pawtag.s3.message_router import route_message
from pawtag.s3.objects import Objects
from pawtag.s3.tuning import S3Tuning

log = logging.getLogger(__name__)

LONG_POLL_S = 20
QUEUE_THREADS = 6  # receiving takes one of them all the time
DELETE_INTERVAL_S = 0.5
STATUS_INTERVAL_S = 30.0
FLUSH_TIMEOUT_S = 2.0
RECEIVE_BACKOFF = Backoff(first_s=1.0, max_s=60.0)
# For messages to daemons with another model. Each delay costs one receive; fifty receives take two days.
FOREIGN_BACKOFF = Backoff(first_s=15.0, max_s=3600.0)
MAX_WARNINGS, MAX_DONE_MESSAGES = 100, 10_000


class QueueSource:
    """The photos that the messages of one queue name; see ports.PhotoSource. Lives on the event loop."""

    def __init__(
        self,
        queue: MessageQueue,
        objects: Objects,
        settings: S3Settings,
        fingerprint: Callable[[], str],
        *,
        on_skipped: Callable[[Counter[str]], None],
        tuning: S3Tuning | None = None,
    ) -> None:
        """`fingerprint` returns this daemon's fingerprint now. `on_skipped` gets counts of keys that are no photos.

        Nothing is received before `events`.
        """
        self._queue, self._objects, self._settings, self._fingerprint = queue, objects, settings, fingerprint
        self._on_skipped = on_skipped
        self._threads = ThreadPoolExecutor(QUEUE_THREADS, thread_name_prefix="queue")
        self._in_flight = InFlightMessages(self._give_back, (tuning or S3Tuning()).busy_delay_s)
        self._background_calls: set[asyncio.Future[Any]] = set()
        self._ended = threading.Event()
        self._has_redrive: bool | None = None
        self._warned: set[str] = set()
        self.pending = 0
        self.state = SourceState(f"queue {queue.url}", "running")

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["QueueSource"]:
        """The source. Until the context ends it extends visibility timeouts and deletes what is done."""
        intervals_s = {
            self._extend_visibility: self._settings.visibility_timeout_s / 3,
            self._delete_done: DELETE_INTERVAL_S,
            self._refresh_status: STATUS_INTERVAL_S,
        }
        tasks = [
            asyncio.create_task(_repeat(task, interval_s), name=f"queue{task.__name__}")
            for task, interval_s in intervals_s.items()
        ]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._flush()
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._objects.close()

    async def events(self, stop: asyncio.Event) -> AsyncGenerator[Event, None]:
        """An event for each object that a message names, until `stop` is set. It receives only what is asked for."""
        stopping = asyncio.create_task(stop.wait(), name="queue-stop")
        failures = 0
        pending: deque[Event] = deque()
        try:
            while not stop.is_set():
                receiving = self._call(self._receive)
                await asyncio.wait({receiving, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not receiving.done():
                    self._ended.set()  # before a message can still arrive
                    receiving.cancel()
                    return
                try:
                    messages, failures = receiving.result(), 0
                    self._set_state(None)
                except Exception as error:  # no fault of the queue ends the daemon
                    self._set_state(error)
                    await asyncio.wait({stopping}, timeout=RECEIVE_BACKOFF.delay_s(failures))
                    failures += 1
                    continue
                # All are opened before the first is handed out: from then on their visibility is extended.
                pending.extend(event for message in messages for event in self._open_message(message))
                while pending and not stop.is_set():
                    yield pending.popleft()
        finally:
            for event in pending:
                self._finish(event, 0)
            self._ended.set()
            stopping.cancel()

    @asynccontextmanager
    async def open(self, ref: PhotoRef) -> AsyncIterator[ThreadedPhoto]:
        """The object."""
        async with self._objects.open(ref) as photo:
            yield photo

    def find_oldest_age_s(self) -> float:
        """How long ago the oldest message in flight was sent."""
        return self._in_flight.find_oldest_age_s()

    def rescan(self) -> None:
        """Does nothing: a queue cannot list photos. PushInbox keeps the photos that the fallback model tagged."""

    async def ack(self, event: Event) -> None:
        """The object has its record, or needs none."""
        self._finish(event, None)

    async def retry(self, event: Event, delay_s: float) -> None:
        """Give the message back: after the delay whoever polls receives it again."""
        self._finish(event, delay_s)

    async def postpone(self, event: Event, delay_s: float) -> None:
        """Like `retry`: the queue counts each receive in any case."""
        self._finish(event, delay_s)

    def _open_message(self, message: Message) -> list[Event]:
        route = route_message(message, self._settings, self._fingerprint(), has_redrive=self._has_redrive)
        if message.receives == 1:  # it may come again, and is counted once
            self._on_skipped(route.skipped)
        if route.action == "tag":
            return self._in_flight.open(message, route.uris)
        if route.action == "release":
            reason = route.reason or "They are for daemons with another model or labels."
            self._warn_once(f"The queue {self._queue.url} holds messages for others. {reason}")
            self._give_back(message.receipt, FOREIGN_BACKOFF.delay_s(message.receives))
        elif route.action == "leave":
            self._warn_once(f"The queue {self._queue.url} holds messages that pawtag cannot use: {route.reason}")
        else:
            self._call_in_background(self._move_to_dead_letters, message, route.reason)
        return []

    def _move_to_dead_letters(self, message: Message, reason: str) -> None:
        with suppress(PawtagError):  # it is received again
            self._queue.move_to_dead_letters(message, reason)

    def _warn_once(self, text: str) -> None:
        if text not in self._warned and len(self._warned) < MAX_WARNINGS:
            self._warned.add(text)
            log.warning("%s", text, extra={"uri": self._queue.url})

    def _give_back(self, receipt: str, delay_s: float) -> None:
        self._call_in_background(self._queue.set_visibility, receipt, delay_s)

    def _call_in_background(self, call: Callable[..., None], *arguments: Any) -> None:
        """Call in a thread. Only the shutdown waits for the result."""
        future = self._call(call, *arguments)
        self._background_calls.add(future)
        future.add_done_callback(self._background_calls.discard)

    def _finish(self, event: Event, delay_s: float | None) -> None:
        self._in_flight.finish(event, delay_s)

    def _receive(self) -> list[Message]:
        """In a thread. Messages that arrive after the end are released at once."""
        self._objects.probe()
        if self._has_redrive is None:
            with suppress(PawtagError):  # without the permission everything is left to the queue's own policy
                _, self._has_redrive = self._queue.read_status()
        # An unavailable queue is polled briefly, so that its return is noticed soon.
        messages = self._queue.receive(0 if self.state.state == "unavailable" else LONG_POLL_S)
        if not self._ended.is_set():
            return messages
        for message in messages:
            self._queue.set_visibility(message.receipt, 0)
        return []

    async def _extend_visibility(self) -> None:
        """Extend the visibility timeouts long before they run out."""
        unfinished = self._in_flight.unfinished
        for message in list(unfinished):
            if message in unfinished:  # it may have been released meanwhile
                await self._call(self._queue.set_visibility, message.receipt, self._settings.visibility_timeout_s)

    async def _refresh_status(self) -> None:
        with suppress(PawtagError):  # receiving names what is wrong with the queue
            self.pending, self._has_redrive = await self._call(self._queue.read_status)

    async def _delete_done(self) -> None:
        """Delete messages that are done, ten at a time; those that fail are tried again at the next interval."""
        done = self._in_flight.done
        for _ in range(0, len(done), MAX_BATCH_MESSAGES):
            batch = done[:MAX_BATCH_MESSAGES]
            del done[:MAX_BATCH_MESSAGES]
            try:
                done += await self._call(self._queue.delete, batch)
            except PawtagError as error:
                done += batch[: MAX_DONE_MESSAGES - len(done)]
                self._warn_once(f"{error} Finished messages cannot be deleted now; they may be received again.")
                return

    async def _flush(self) -> None:
        with suppress(TimeoutError):  # what is not sent in time is received again
            async with asyncio.timeout(FLUSH_TIMEOUT_S):
                await self._delete_done()
                await asyncio.gather(*self._background_calls, return_exceptions=True)

    def _call(self, function: Any, *arguments: Any) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *arguments))

    def _set_state(self, fault: Exception | None) -> None:
        after = SourceState(self.state.name, "unavailable" if fault else "running", str(fault) if fault else None)
        log_state_change(log, self.state, after)
        self.state = after


async def _repeat(task: Callable[[], Awaitable[None]], interval_s: float) -> None:
    while True:
        try:
            await task()
        except Exception:  # the other tasks continue, and so does this one
            log.exception("unexpected error in a task of the queue")
        await asyncio.sleep(interval_s)
