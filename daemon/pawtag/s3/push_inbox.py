"""Photos that a store's pushed events and the resync name: on disk before the answer, replayed at the start."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import islice
from pathlib import Path

from pawtag.clock import utc_timestamp
from pawtag.config import S3Settings
from pawtag.domain.errors import OverloadedError, TemporaryError
from pawtag.domain.records import PhotoRef
from pawtag.s3.address import list_photo_uris
from pawtag.s3.messages import MessageError, parse_message
from pawtag.state import DeadLetters, Journal

log = logging.getLogger(__name__)

MAX_PENDING, MAX_PENDING_RESYNC = 100_000, 2_000
CHUNK_PHOTOS = 100


class PushInbox:
    """A photo feed (see object_source.PhotoFeed) of what is pushed. Lives on the event loop."""

    def __init__(self, settings: S3Settings, journal: Path, dead_letters: DeadLetters) -> None:
        """Nothing is read before `open`."""
        self._settings, self._path, self._dead_letters = settings, journal, dead_letters
        self._journal: Journal | None = None
        self._pending: dict[str, PhotoRef] = {}
        self._in_flight: set[str] = set()
        self._changed_again: set[str] = set()
        self._changed = asyncio.Condition()

    def __len__(self) -> int:
        """How many photos are pending."""
        return len(self._pending)

    @asynccontextmanager
    async def open(self) -> AsyncIterator["PushInbox"]:
        """The inbox, with what an earlier process left in it. Raises ConfigError, OSError."""
        journal = Journal(self._path)
        self._pending = {uri: PhotoRef(uri, 0, 0) for uri in journal.names}
        self._journal = journal
        try:
            yield self
        finally:
            self._journal = None
            await journal.close()

    async def accept(self, body: bytes) -> int:
        """Take in a posted notification; returns how many photos it names. They are on disk by then.

        What is no notification becomes a dead letter: the store would post it forever. Raises OverloadedError, and
        TemporaryError if the disk refuses.
        """
        if len(self._pending) >= MAX_PENDING:
            raise OverloadedError(f"{len(self._pending)} photos are pending; try again later.")
        with self._translate_errors():
            refs = self._parse(body)
            await self._add(refs)
        return len(refs)

    async def offer(self, refs: Sequence[PhotoRef]) -> None:
        """Take in what a resync found, as room allows. It is on disk when this returns. Raises TemporaryError."""
        for start in range(0, len(refs), CHUNK_PHOTOS):
            async with self._changed:
                await self._changed.wait_for(lambda: len(self._pending) < MAX_PENDING_RESYNC)
            with self._translate_errors():
                await self._add(refs[start : start + CHUNK_PHOTOS])

    async def take(self) -> Sequence[PhotoRef] | None:
        """The next photos, oldest first, as soon as there are any."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._pending)
        taken = [self._pending.pop(uri) for uri in list(islice(self._pending, CHUNK_PHOTOS))]
        self._in_flight |= {ref.uri for ref in taken}
        return taken

    def mark_finished(self, ref: PhotoRef) -> None:
        """Forget the photo, unless it was named again while it was in flight: then it may have changed."""
        self._in_flight.discard(ref.uri)
        if ref.uri in self._changed_again:
            self._changed_again.discard(ref.uri)
            self._pending[ref.uri] = PhotoRef(ref.uri, 0, 0)
        elif self._journal:
            self._journal.remove(ref.uri)
        asyncio.get_running_loop().create_task(self._notify(), name="push-inbox")

    def _parse(self, body: bytes) -> list[PhotoRef]:
        text = body.decode("utf-8", "replace")
        try:
            hints = parse_message(text)
        except MessageError as error:
            path, reason = self._dead_letters.path, str(error)
            log.error("moved a posted notification to %s: %s", path, reason, extra={"reason": reason})  # noqa: TRY400 - no bug of ours
            entry = {"at": utc_timestamp(), "queue": "POST /notifications/s3", "reason": reason, "body": text}
            self._dead_letters.add(entry)
            return []
        return [
            PhotoRef(uri, hint.size_bytes or 0, 0)
            for hint in hints
            for uri in list_photo_uris(hint.bucket, (hint.key, hint.other_key), self._settings)
        ]

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TemporaryError(f"{self._path} cannot be written: {error.strerror}.") from error

    async def _add(self, refs: Sequence[PhotoRef]) -> None:
        """Note the photos in memory first: one may be finished while the disk is written, and must not be forgotten."""
        if self._journal is None:
            raise TemporaryError("The daemon takes no notifications at this moment.")
        for ref in refs:
            if ref.uri in self._in_flight:
                self._changed_again.add(ref.uri)
            else:
                self._pending[ref.uri] = ref
        await self._journal.add(ref.uri for ref in refs)
        await self._notify()

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()
