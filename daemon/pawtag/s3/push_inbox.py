"""Events that a store pushes: on the disk before they are answered, replayed at the start, and swept after.

Pushes get lost (Ceph's plain topics forget what is not answered), so the bucket is listed now and then for what was
modified since: that is the truth here.
"""

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

MAX_PENDING, MAX_OFFERED = 100_000, 2_000
CHUNK_PHOTOS = 100
NS = 1_000_000_000
# The first sweep looks this far back: what is older is `pawtag s3 scan`'s, or each new machine would read the bucket.
FIRST_NS = 24 * 3600 * NS
# Store and listing may disagree a little about the time.
MARGIN_NS = 60 * NS
PAUSE_FACTOR = 20


class PushInbox:
    """The photos that pushes and sweeps tell of; see source.Supply. Lives on the event loop."""

    def __init__(self, settings: S3Settings, journal: Path, dead_letters: DeadLetters) -> None:
        """Nothing is read before `opened`."""
        self._settings, self._path, self._dead_letters = settings, journal, dead_letters
        self._journal: Journal | None = None
        self._pending: dict[str, PhotoRef] = {}
        self._in_flight: set[str] = set()
        self._changed_again: set[str] = set()
        self._changed = asyncio.Condition()

    def __len__(self) -> int:
        """How many photos wait."""
        return len(self._pending)

    @asynccontextmanager
    async def open(self) -> AsyncIterator["PushInbox"]:
        """The inbox, with what a former process left in it. Raises ConfigError, OSError."""
        journal = Journal(self._path)
        self._pending = {uri: PhotoRef(uri, 0, 0) for uri in journal.names}
        self._journal = journal
        try:
            yield self
        finally:
            self._journal = None
            await journal.close()

    async def accept(self, body: bytes) -> int:
        """Take in what a store posted; how many photos it tells of. They are on the disk when this returns.

        What is no event goes to the dead letters: a store would post it for ever. Raises OverloadedError,
        TemporaryError where the disk does not take it.
        """
        if len(self._pending) >= MAX_PENDING:
            raise OverloadedError(f"{len(self._pending)} photos wait already; come again.")
        with self._writing():
            refs = self._refs(body)
            await self._add(refs)
        return len(refs)

    async def offer(self, refs: Sequence[PhotoRef]) -> None:
        """Take in what a sweep found, as there is room. They are on the disk when this returns. Raises TemporaryError."""
        for start in range(0, len(refs), CHUNK_PHOTOS):
            async with self._changed:
                await self._changed.wait_for(lambda: len(self._pending) < MAX_OFFERED)
            with self._writing():
                await self._add(refs[start : start + CHUNK_PHOTOS])

    async def take(self) -> Sequence[PhotoRef] | None:
        """The next photos, oldest first, as soon as there are some."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._pending)
        taken = [self._pending.pop(uri) for uri in list(islice(self._pending, CHUNK_PHOTOS))]
        self._in_flight |= {ref.uri for ref in taken}
        return taken

    def mark_finished(self, ref: PhotoRef) -> None:
        """It is dealt with, unless it was told of again meanwhile: then it may have changed."""
        self._in_flight.discard(ref.uri)
        if ref.uri in self._changed_again:
            self._changed_again.discard(ref.uri)
            self._pending[ref.uri] = PhotoRef(ref.uri, 0, 0)
        elif self._journal:
            self._journal.remove(ref.uri)
        asyncio.get_running_loop().create_task(self._notify(), name="inbox")

    def _refs(self, body: bytes) -> list[PhotoRef]:
        text = body.decode("utf-8", "replace")
        try:
            hints = parse_message(text)
        except MessageError as error:
            log.error("What a store posted was put into %s: %s", self._dead_letters.path, error)  # noqa: TRY400 - no bug of ours
            self._dead_letters.add(
                {"at": utc_timestamp(), "queue": "POST /notifications/s3", "reason": str(error), "body": text}
            )
            return []
        return [
            PhotoRef(uri, hint.size_bytes or 0, 0)
            for hint in hints
            for uri in list_photo_uris(hint.bucket, (hint.key, hint.other_key), self._settings)
        ]

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TemporaryError(f"{self._path} cannot be written: {error.strerror}.") from error

    async def _add(self, refs: Sequence[PhotoRef]) -> None:
        """Noted first, for one may be finished while the disk is written: it is in hand then, and not forgotten."""
        if self._journal is None:
            raise TemporaryError("Events are not taken at this moment.")
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
