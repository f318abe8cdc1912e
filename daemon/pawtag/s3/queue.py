"""SQS as a source of photos: polled, kept hidden from others while in hand, acknowledged in batches."""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from pawtag.config import S3Settings
from pawtag.errors import PawtagError
from pawtag.ports import SourceState
from pawtag.records import Event, Payload, PhotoRef, Source
from pawtag.s3.address import photos_at
from pawtag.s3.mailbox import AT_ONCE, Mailbox, Message
from pawtag.s3.messages import MessageError, ObjectHint, read
from pawtag.s3.objects import Objects

log = logging.getLogger(__name__)

POLL_S = 20
ACK_PAUSE_S = 0.5
AGAIN_S = 5.0
FOR_ANOTHER_S, FOR_ANOTHER_AT_MOST_S = 15.0, 3600.0  # each time is a receive: fifty last two days
DEPTH_PAUSE_S = 30.0
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
# Where the queue has no rule of its own: of what cannot be read, and of what fails for hours.
MOST_RECEIVES_GARBLED, MOST_RECEIVES = 5, 50


@dataclass(slots=True, eq=False)
class Letter:
    """A message in hand: acknowledged once all its photos are done; given back where one has failed for now."""

    receipt: str
    left: int
    delay_s: float | None


class QueueSource:
    """The photos that one queue's messages tell of; see ports.PhotoSource. Lives on the event loop."""

    def __init__(self, mailbox: Mailbox, objects: Objects, settings: S3Settings, by: str) -> None:
        """`by`: what this daemon's records are signed with. Nothing is received before `events`."""
        self._mailbox, self._objects, self._settings, self._by = mailbox, objects, settings, by
        self._threads = ThreadPoolExecutor(settings.concurrency + 2, thread_name_prefix="queue")
        self._hidden: set[Letter] = set()
        self._acknowledged: list[str] = []
        self._in_hand: set[str] = set()
        self._ended = threading.Event()
        self._has_redrive = True
        self._named_another = False
        self.waiting = 0
        self.state = SourceState(f"queue {mailbox.url}", "running")

    @asynccontextmanager
    async def open(self) -> AsyncIterator["QueueSource"]:
        """The source, its messages kept hidden and acknowledged until the context ends."""
        hidden_s = self._settings.visibility_s / 3
        chores = {self._keep_hidden: hidden_s, self._acknowledge: ACK_PAUSE_S, self._ask_depth: DEPTH_PAUSE_S}
        keeping = [asyncio.create_task(_always(*chore), name=f"queue-{chore[0].__name__}") for chore in chores.items()]
        try:
            yield self
        finally:
            for task in keeping:
                task.cancel()
            await asyncio.gather(*keeping, return_exceptions=True)
            await self._acknowledge()
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def events(self, stop: asyncio.Event) -> AsyncIterator[Event]:
        """An event for each object that is told of, until `stop` is set. No more is received than is asked for."""
        stopping = asyncio.create_task(stop.wait(), name="queue-stop")
        wait_s = FIRST_WAIT_S
        waiting: deque[Event] = deque()
        self._has_redrive = await self._call(self._mailbox.has_redrive)
        await self._call(self._objects.probe)
        try:
            while not stop.is_set():
                receiving = asyncio.create_task(self._call(self._receive), name="queue-receive")
                await asyncio.wait({receiving, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not receiving.done():
                    receiving.cancel()
                    return
                try:
                    messages, wait_s = receiving.result(), FIRST_WAIT_S
                    self._find()
                except Exception as error:  # no surprise of the queue's ends the daemon
                    self._lose(error)
                    await asyncio.wait({stopping}, timeout=wait_s)
                    wait_s = min(LONGEST_WAIT_S, 2 * wait_s)
                    continue
                # All of them before the first: from now on they are kept hidden, however long their turn takes to come.
                waiting.extend(event for message in messages for event in self._opened(message))
                while waiting:
                    yield waiting.popleft()
        finally:
            for event in waiting:
                self._finish(event, 0)
            self._ended.set()
            stopping.cancel()

    def origin(self, ref: PhotoRef) -> Source:
        """What a record says of the object."""
        return self._objects.origin(ref)

    async def read(self, event: Event) -> Payload:
        """The object's bytes as they are now."""
        payload: Payload = await self._call(self._objects.read, event.ref)
        return payload

    async def done(self, event: Event) -> None:
        """The object has its record, or is owed none."""
        self._finish(event, None)

    async def retry(self, event: Event, delay_s: float) -> None:
        """Give the message back: it comes again after the delay, to whoever receives it."""
        self._finish(event, delay_s)

    async def reject(self, event: Event, reason: str) -> None:
        """The event can never be dealt with."""
        log.error("%s is left alone: %s", event.ref.uri, reason)
        await self.done(event)

    def _opened(self, message: Message) -> list[Event]:
        """The events of one message."""
        try:
            hints = read(message.body)
        except MessageError as error:
            self._put_aside(message, str(error), MOST_RECEIVES_GARBLED)
            return []
        if any(hint.by not in (None, self._by) for hint in hints):
            self._leave_to_another(message)
            return []
        # Who received it before may have been another, whom it was not meant for.
        if not any(hint.by for hint in hints) and self._put_aside(message, "It has failed too often.", MOST_RECEIVES):
            return []
        return self._events(message, {uri: hint.size_bytes or 0 for hint in hints for uri in self._uris(hint)})

    def _events(self, message: Message, refs: dict[str, int]) -> list[Event]:
        """An event for each photo that is not in hand already; what is comes again soon, and its stamp says done."""
        if not refs:
            self._acknowledged.append(message.receipt)
            return []
        fresh = {uri: size for uri, size in refs.items() if uri not in self._in_hand}
        if not fresh:
            self._give_back(message.receipt, AGAIN_S)
            return []
        letter = Letter(message.receipt, len(fresh), AGAIN_S if len(fresh) < len(refs) else None)
        self._hidden.add(letter)
        self._in_hand |= set(fresh)
        return [Event(PhotoRef(uri, size, 0), letter, message.receives - 1) for uri, size in fresh.items()]

    def _uris(self, hint: ObjectHint) -> list[str]:
        """The objects that the hint may mean, of our bucket and prefix: where its key leaves doubt, both are looked at."""
        if self._settings.bucket not in (None, hint.bucket):
            log.warning("A message names the bucket %r, which is not s3.bucket; it is passed over.", hint.bucket)
        return photos_at(hint.bucket, (hint.key, hint.other_key), self._settings)

    def _put_aside(self, message: Message, reason: str, most_receives: int) -> bool:
        """Leave a message to the queue's dead-letter rule; without one it goes to the local dead letters in time."""
        is_over = not self._has_redrive and message.receives >= most_receives
        if is_over:
            self._threads.submit(self._bury, message, reason)
        elif most_receives == MOST_RECEIVES_GARBLED:
            log.warning("A message of %s is left to come again: %s", self._mailbox.url, reason)
        return is_over

    def _bury(self, message: Message, reason: str) -> None:
        with suppress(PawtagError):  # it comes again
            self._mailbox.bury(message, reason)

    def _leave_to_another(self, message: Message) -> None:
        if not self._named_another:
            log.warning("Messages of %s are meant for daemons with another model or labels.", self._mailbox.url)
        self._named_another = True
        self._give_back(message.receipt, min(FOR_ANOTHER_S * 2**message.receives, FOR_ANOTHER_AT_MOST_S))

    def _give_back(self, receipt: str, delay_s: float) -> None:
        self._threads.submit(self._mailbox.hide, receipt, delay_s)

    def _finish(self, event: Event, delay_s: float | None) -> None:
        letter = event.receipt
        if not isinstance(letter, Letter):
            return
        self._objects.close(event.ref)
        self._in_hand.discard(event.ref.uri)
        letter.left -= 1
        if delay_s is not None:
            letter.delay_s = max(delay_s, letter.delay_s or 0)
        if letter.left == 0:
            self._hidden.discard(letter)
            if letter.delay_s is None:
                self._acknowledged.append(letter.receipt)
            else:
                self._give_back(letter.receipt, letter.delay_s)

    def _receive(self) -> list[Message]:
        """In a thread. What comes after the end is given back at once; a lost queue is to be found soon."""
        messages = self._mailbox.receive(0 if self.state.state == "lost" else POLL_S)
        if not self._ended.is_set():
            return messages
        for message in messages:
            self._mailbox.hide(message.receipt, 0)
        return []

    async def _keep_hidden(self) -> None:
        """Extend what is in hand long before it would be handed to others."""
        for letter in list(self._hidden):
            await self._call(self._mailbox.hide, letter.receipt, self._settings.visibility_s)

    async def _ask_depth(self) -> None:
        with suppress(PawtagError):  # the polling names what is wrong with the queue
            self.waiting = await self._call(self._mailbox.depth)

    async def _acknowledge(self) -> None:
        """Delete what is done, ten at a time; what the queue refuses is tried once more, or comes again."""
        while some := self._acknowledged[:AT_ONCE]:
            del self._acknowledged[:AT_ONCE]
            try:
                if failed := await self._call(self._mailbox.delete, some):
                    await self._call(self._mailbox.delete, failed)
            except PawtagError as error:
                log.warning("%s Messages that are done could not be deleted; they come again.", error)

    async def _call(self, function: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *arguments))

    def _lose(self, error: Exception) -> None:
        if self.state.state != "lost":
            log.error("%s", error)
        self.state = SourceState(self.state.name, "lost", str(error))

    def _find(self) -> None:
        if self.state.state == "lost":
            log.info("%s answers again", self._mailbox.url)
        self.state = SourceState(self.state.name, "running")


async def _always(chore: Callable[[], Awaitable[None]], every_s: float) -> None:
    while True:
        try:
            await chore()
        except Exception:  # the others go on, and so does this one
            log.exception("Unexpected error at the queue")
        await asyncio.sleep(every_s)
