"""SQS as a source of photos: polled, kept hidden from others while in hand, acknowledged in batches."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from pawtag.config import S3Settings
from pawtag.errors import GoneError, PawtagError, TemporaryError
from pawtag.ports import SourceState
from pawtag.records import Event, Payload, PhotoRef, Source
from pawtag.s3.client import explained
from pawtag.s3.messages import MessageError, ObjectHint, read
from pawtag.s3.objects import SIDECAR, Objects, uri_of

log = logging.getLogger(__name__)

AT_ONCE = 10
POLL_S = 20
ACK_PAUSE_S = 0.5
AGAIN_S = 5.0
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
LONGEST_HIDDEN_S = 43_200


@dataclass(slots=True, eq=False)
class Letter:
    """A message in hand: acknowledged once all its photos are done; given back where one has failed for now."""

    receipt: str
    left: int
    delay_s: float | None


class QueueSource:
    """The photos that one queue's messages tell of; see ports.PhotoSource. Lives on the event loop."""

    def __init__(self, client: Any, url: str, objects: Objects, settings: S3Settings) -> None:
        """`client`: boto3's for SQS. Nothing is received before `events`."""
        self._client, self._url, self._objects, self._settings = client, url, objects, settings
        self._threads = ThreadPoolExecutor(settings.concurrency + 2, thread_name_prefix="s3")
        self._hidden: set[Letter] = set()
        self._acknowledged: list[str] = []
        self._in_hand: set[str] = set()
        self._ended = threading.Event()
        self.state = SourceState(f"queue {url}", "running")

    @asynccontextmanager
    async def open(self) -> AsyncIterator["QueueSource"]:
        """The source, its messages kept hidden and acknowledged until the context ends."""
        keeping = [
            asyncio.create_task(self._keep_hidden(), name="s3-visibility"),
            asyncio.create_task(self._acknowledge_always(), name="s3-acknowledge"),
        ]
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
        stopping = asyncio.create_task(stop.wait(), name="s3-stop")
        wait_s = FIRST_WAIT_S
        try:
            while not stop.is_set():
                receiving = asyncio.create_task(self._call(self._receive), name="s3-receive")
                await asyncio.wait({receiving, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not receiving.done():
                    receiving.cancel()
                    return
                try:
                    messages, wait_s = receiving.result(), FIRST_WAIT_S
                    self._find()
                except PawtagError as error:
                    self._lose(error)
                    await asyncio.wait({stopping}, timeout=wait_s)
                    wait_s = min(LONGEST_WAIT_S, 2 * wait_s)
                    continue
                for message in messages:
                    for event in self._opened(message):
                        yield event
        finally:
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

    def _opened(self, message: dict[str, Any]) -> list[Event]:
        """The events of one message; a garbled one is left to the queue's dead-letter rule."""
        try:
            hints = [hint for hint in read(message["Body"]) if self._is_wanted(hint)]
        except MessageError as error:
            log.warning(
                "A message of %s cannot be read and is left to the queue's dead-letter rule: %s", self._url, error
            )
            return []
        refs = {uri_of(hint.bucket, hint.key): hint.size_bytes or 0 for hint in hints}
        fresh = {uri: size for uri, size in refs.items() if uri not in self._in_hand}
        if not refs:
            self._acknowledged.append(message["ReceiptHandle"])
        if not fresh:
            if refs:  # all of it is in hand: it comes again soon, and then the stamp says done
                self._threads.submit(self._hide, message["ReceiptHandle"], int(AGAIN_S))
            return []
        is_partial = len(fresh) < len(refs)
        letter = Letter(message["ReceiptHandle"], len(fresh), AGAIN_S if is_partial else None)
        self._hidden.add(letter)
        self._in_hand |= set(fresh)
        attempt = int(message.get("Attributes", {}).get("ApproximateReceiveCount", 1)) - 1
        return [Event(PhotoRef(uri, size, 0), letter, attempt) for uri, size in fresh.items()]

    def _is_wanted(self, hint: ObjectHint) -> bool:
        """Of our bucket and prefix, no folder marker, and no sidecar."""
        if self._settings.bucket not in (None, hint.bucket):
            log.warning("A message names the bucket %r, which is not s3.bucket; it is passed over.", hint.bucket)
            return False
        return hint.key.startswith(self._settings.prefix) and not hint.key.endswith(("/", SIDECAR))

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
                self._threads.submit(self._hide, letter.receipt, int(letter.delay_s))

    def _receive(self) -> list[dict[str, Any]]:
        """In a thread, up to ten messages; those that come after the end are given back at once."""
        with explained(f"The queue {self._url}"):
            found = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=AT_ONCE,
                WaitTimeSeconds=0 if self.state.state == "lost" else POLL_S,  # a lost queue is to be found soon
                VisibilityTimeout=self._settings.visibility_s,
                AttributeNames=["ApproximateReceiveCount"],
            )
        messages: list[dict[str, Any]] = found.get("Messages", [])
        if not self._ended.is_set():
            return messages
        for message in messages:
            self._hide(message["ReceiptHandle"], 0)
        return []

    async def _keep_hidden(self) -> None:
        """Extend what is in hand long before it would be handed to others."""
        while True:
            await asyncio.sleep(self._settings.visibility_s / 3)
            for letter in list(self._hidden):
                await self._call(self._hide, letter.receipt, self._settings.visibility_s)

    def _hide(self, receipt: str, for_s: int) -> None:
        """In a thread. A receipt that has run out is no error: the message is on its way to somebody else."""
        try:
            with explained(self._url):
                self._client.change_message_visibility(
                    QueueUrl=self._url, ReceiptHandle=receipt, VisibilityTimeout=min(for_s, LONGEST_HIDDEN_S)
                )
        except (TemporaryError, GoneError) as error:
            log.debug("%s", error)

    async def _acknowledge_always(self) -> None:
        while True:
            await asyncio.sleep(ACK_PAUSE_S)
            await self._acknowledge()

    async def _acknowledge(self) -> None:
        """Delete what is done, ten at a time; what the queue refuses comes again and is found to be done."""
        while self._acknowledged:
            some, self._acknowledged = self._acknowledged[:AT_ONCE], self._acknowledged[AT_ONCE:]
            entries = [{"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(some)]
            try:
                with explained(self._url):
                    await self._call(self._client.delete_message_batch, QueueUrl=self._url, Entries=entries)
            except PawtagError as error:
                log.warning("%s Messages that are done could not be deleted; they come again.", error)
                return

    async def _call(self, function: Any, *arguments: Any, **named: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *arguments, **named))

    def _lose(self, error: Exception) -> None:
        if self.state.state != "lost":
            log.error("%s", error)
        self.state = SourceState(self.state.name, "lost", str(error))

    def _find(self) -> None:
        if self.state.state == "lost":
            log.info("%s answers again", self._url)
        self.state = SourceState(self.state.name, "running")
