"""SQS as a source of photos: polled, kept hidden from others while in hand, acknowledged in batches."""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

from pawtag.config import S3Settings
from pawtag.domain.errors import PawtagError
from pawtag.domain.ports import SourceState
from pawtag.domain.records import Event, Payload, PhotoRef, SourceInfo
from pawtag.s3.address import list_photo_uris
from pawtag.s3.in_flight import InFlightMessages
from pawtag.s3.messages import MessageError, ObjectHint, parse_message
from pawtag.s3.objects import Objects
from pawtag.s3.sqs_queue import MAX_BATCH_MESSAGES, Message, SqsQueue

log = logging.getLogger(__name__)

LONG_POLL_S = 20
ACK_INTERVAL_S = 0.5
FLUSH_TIMEOUT_S = 2.0
FOREIGN_DELAY_S, MAX_FOREIGN_DELAY_S = 15.0, 3600.0  # each time is a receive: fifty last two days
STATUS_INTERVAL_S = 30.0
FIRST_RETRY_DELAY_S, MAX_RETRY_DELAY_S = 1.0, 60.0
# Where the queue has no rule of its own: of what cannot be read, and of what fails for hours.
MAX_RECEIVES_INVALID, MAX_RECEIVES = 5, 50
MAX_WARNINGS, MAX_UNACKNOWLEDGED = 100, 10_000


class QueueSource:
    """The photos that one queue's messages tell of; see ports.PhotoSource. Lives on the event loop."""

    def __init__(self, queue: SqsQueue, objects: Objects, settings: S3Settings, fingerprint: str) -> None:
        """`by`: what this daemon's records are signed with. Nothing is received before `events`."""
        self._queue, self._objects, self._settings, self._by = queue, objects, settings, fingerprint
        self._threads = ThreadPoolExecutor(settings.concurrency + 2, thread_name_prefix="queue")
        self._in_flight = InFlightMessages(self._give_back)
        self._background_calls: set[asyncio.Future[Any]] = set()
        self._ended = threading.Event()
        self._has_redrive: bool | None = None
        self._warned: set[str] = set()
        self.pending = 0
        self.state = SourceState(f"queue {queue.url}", "running")

    @asynccontextmanager
    async def open(self) -> AsyncIterator["QueueSource"]:
        """The source, its messages kept hidden and acknowledged until the context ends."""
        hidden_s = self._settings.visibility_timeout_s / 3
        chores = {
            self._extend_visibility: hidden_s,
            self._acknowledge: ACK_INTERVAL_S,
            self._refresh_status: STATUS_INTERVAL_S,
        }
        keeping = [asyncio.create_task(_repeat(*chore), name=f"queue-{chore[0].__name__}") for chore in chores.items()]
        try:
            yield self
        finally:
            for task in keeping:
                task.cancel()
            await asyncio.gather(*keeping, return_exceptions=True)
            with suppress(TimeoutError):  # what is not said comes again
                async with asyncio.timeout(FLUSH_TIMEOUT_S):
                    await self._acknowledge()
                    await asyncio.gather(*self._background_calls, return_exceptions=True)
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def events(self, stop: asyncio.Event) -> AsyncIterator[Event]:
        """An event for each object that is told of, until `stop` is set. No more is received than is asked for."""
        stopping = asyncio.create_task(stop.wait(), name="queue-stop")
        wait_s = FIRST_RETRY_DELAY_S
        pending: deque[Event] = deque()
        try:
            while not stop.is_set():
                receiving = self._call(self._receive)
                await asyncio.wait({receiving, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not receiving.done():
                    self._ended.set()  # before anything may still come
                    receiving.cancel()
                    return
                try:
                    messages, wait_s = receiving.result(), FIRST_RETRY_DELAY_S
                    self._set_running()
                except Exception as error:  # no surprise of the queue's ends the daemon
                    self._set_unavailable(error)
                    await asyncio.wait({stopping}, timeout=wait_s)
                    wait_s = min(MAX_RETRY_DELAY_S, 2 * wait_s)
                    continue
                # All of them before the first: from now on they are kept hidden, however long their turn takes to come.
                pending.extend(event for message in messages for event in self._open_message(message))
                while pending and not stop.is_set():
                    yield pending.popleft()
        finally:
            for event in pending:
                self._finish(event, 0)
            self._ended.set()
            stopping.cancel()

    def describe_source(self, ref: PhotoRef) -> SourceInfo:
        """What a record says of the object."""
        return self._objects.describe_source(ref)

    async def read(self, event: Event) -> Payload:
        """The object's bytes as they are now."""
        payload: Payload = await self._call(self._objects.read, event.ref)
        return payload

    async def ack(self, event: Event) -> None:
        """The object has its record, or is owed none."""
        self._finish(event, None)

    async def retry(self, event: Event, delay_s: float) -> None:
        """Give the message back: it comes again after the delay, to whoever receives it."""
        self._finish(event, delay_s)

    async def reject(self, event: Event, reason: str) -> None:
        """The event can never be dealt with."""
        log.error("%s is left alone: %s", event.ref.uri, reason)
        await self.ack(event)

    def _open_message(self, message: Message) -> list[Event]:
        """The events of one message."""
        try:
            hints = parse_message(message.body)
            refs = self._refs(hints)
        except MessageError as error:
            self._leave_to_redrive(message, str(error), MAX_RECEIVES_INVALID)
            return []
        if any(hint.fingerprint not in (None, self._by) for hint in hints):
            self._return_to_others(message)
            return []
        # Who received it before may have been another, whom it was not meant for.
        if not any(hint.fingerprint for hint in hints) and self._leave_to_redrive(
            message, "It has failed too often.", MAX_RECEIVES
        ):
            return []
        return self._in_flight.open(message, refs)

    def _refs(self, hints: list[ObjectHint]) -> dict[str, int]:
        """The photos that the hints may mean and their sizes: where a key leaves doubt, both are looked at.

        Raises MessageError for another bucket's alone: another daemon's, or s3.bucket is a slip of the pen.
        """
        if hints and not any(self._settings.bucket in (None, hint.bucket) for hint in hints):
            raise MessageError(f"It tells of the bucket {hints[0].bucket!r}, and s3.bucket is another.")
        return {
            uri: hint.size_bytes or 0
            for hint in hints
            for uri in list_photo_uris(hint.bucket, (hint.key, hint.other_key), self._settings)
        }

    def _leave_to_redrive(self, message: Message, reason: str, most_receives: int) -> bool:
        """Leave a message to the queue's dead-letter rule; without one it goes to the local dead letters in time."""
        is_over = self._has_redrive is False and message.receives >= most_receives
        if is_over:
            self._call_in_background(self._move_to_dead_letters, message, reason)
        elif most_receives == MAX_RECEIVES_INVALID:
            self._warn_once(f"Messages of {self._queue.url} are left to come again: {reason}")
        return is_over

    def _move_to_dead_letters(self, message: Message, reason: str) -> None:
        with suppress(PawtagError):  # it comes again
            self._queue.move_to_dead_letters(message, reason)

    def _return_to_others(self, message: Message) -> None:
        self._warn_once(f"Messages of {self._queue.url} are meant for daemons with another model or labels.")
        self._give_back(message.receipt, min(FOREIGN_DELAY_S * 2**message.receives, MAX_FOREIGN_DELAY_S))

    def _warn_once(self, what: str) -> None:
        if what not in self._warned and len(self._warned) < MAX_WARNINGS:
            self._warned.add(what)
            log.warning("%s", what)

    def _give_back(self, receipt: str, delay_s: float) -> None:
        self._call_in_background(self._queue.set_visibility, receipt, delay_s)

    def _call_in_background(self, call: Callable[..., None], *arguments: Any) -> None:
        """What nobody waits for, but the end."""
        saying = self._call(call, *arguments)
        self._background_calls.add(saying)
        saying.add_done_callback(self._background_calls.discard)

    def _finish(self, event: Event, delay_s: float | None) -> None:
        self._objects.close(event.ref)
        self._in_flight.finish(event, delay_s)

    def _receive(self) -> list[Message]:
        """In a thread. What comes after the end is given back at once; a lost queue is to be found soon."""
        self._objects.probe()
        if self._has_redrive is None:
            with suppress(PawtagError):  # who may not ask leaves all to the queue's own rule
                _, self._has_redrive = self._queue.read_status()
        messages = self._queue.receive(0 if self.state.state == "unavailable" else LONG_POLL_S)
        if not self._ended.is_set():
            return messages
        for message in messages:
            self._queue.set_visibility(message.receipt, 0)
        return []

    async def _extend_visibility(self) -> None:
        """Extend what is in hand long before it would be handed to others."""
        unfinished = self._in_flight.unfinished
        for message in list(unfinished):
            if message in unfinished:  # and was not given back meanwhile
                await self._call(self._queue.set_visibility, message.receipt, self._settings.visibility_timeout_s)

    async def _refresh_status(self) -> None:
        with suppress(PawtagError):  # the polling names what is wrong with the queue
            self.pending, self._has_redrive = await self._call(self._queue.read_status)

    async def _acknowledge(self) -> None:
        """Delete what is done, ten at a time; what does not get through is tried again the next time."""
        done = self._in_flight.done
        for _ in range(0, len(done), MAX_BATCH_MESSAGES):
            some = done[:MAX_BATCH_MESSAGES]
            del done[:MAX_BATCH_MESSAGES]
            try:
                done += await self._call(self._queue.delete, some)
            except PawtagError as error:
                done += some[: MAX_UNACKNOWLEDGED - len(done)]
                self._warn_once(f"{error} Messages that are done cannot be deleted now; they may come again.")
                return

    def _call(self, function: Any, *arguments: Any) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *arguments))

    def _set_unavailable(self, error: Exception) -> None:
        if self.state.state != "unavailable":
            log.error("%s", error)
        self.state = SourceState(self.state.name, "unavailable", str(error))

    def _set_running(self) -> None:
        if self.state.state == "unavailable":
            log.info("%s answers again", self._queue.url)
        self.state = SourceState(self.state.name, "running")


async def _repeat(chore: Callable[[], Awaitable[None]], every_s: float) -> None:
    while True:
        try:
            await chore()
        except Exception:  # the others go on, and so does this one
            log.exception("Unexpected error at the queue")
        await asyncio.sleep(every_s)
