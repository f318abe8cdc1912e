"""Photos of a bucket that need a record. They are saved before the store gets its answer, and loaded at the start."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import islice

from pawtag.config import S3Settings
from pawtag.domain.errors import OverloadedError, TemporaryError
from pawtag.domain.records import PhotoRef
from pawtag.s3.address import choose_photos
from pawtag.s3.messages import MessageError, parse_message
from pawtag.state.dead_letters import DeadLetters
from pawtag.state.owed import OwedPhotos, OwedReason

log = logging.getLogger(__name__)

MAX_PENDING, MAX_PENDING_RESYNC = 100_000, 2_000
CHUNK_PHOTOS = 100
ROUTE = "POST /notifications/s3"


class PushInbox:
    """A photo feed (see object_source.PhotoFeed): photos that were pushed, that a resync found, or that need new tags.

    `is_fallback`: whether the fallback model serves. Photos that it tags are tagged again when another model serves.
    `on_skipped` gets the number of keys in a notification that are not our photos, by reason. Lives on the event loop.
    """

    def __init__(
        self,
        settings: S3Settings,
        owed: OwedPhotos,
        dead_letters: DeadLetters,
        *,
        is_fallback: Callable[[], bool],
        on_skipped: Callable[[Counter[str]], None],
    ) -> None:
        """Nothing is read before `open`."""
        self._settings, self._owed, self._dead_letters = settings, owed, dead_letters
        self._is_fallback, self._on_skipped = is_fallback, on_skipped
        self._pending: dict[str, PhotoRef] = {}
        self._in_flight: set[str] = set()
        self._changed_again: set[str] = set()
        self._is_adopted = self._is_open = False
        self._pushed_after: str | None = None
        self._retag_after: str | None = None
        """The last URI that was taken for new tags; None: all were taken, or none may be taken now."""
        self._changed = asyncio.Condition()

    def __len__(self) -> int:
        """How many photos are pending."""
        return len(self._pending)

    @asynccontextmanager
    async def open(self) -> AsyncIterator["PushInbox"]:
        """The inbox, with what earlier processes left in it. If the state cannot be read now, `take` reads it later."""
        try:
            await self._adopt()
        except TemporaryError as error:
            log.warning("%s", error)
        self._is_open = True
        try:
            yield self
        finally:
            self._is_open = False

    def rescan(self) -> None:
        """Take the photos to re-tag, unless the fallback still serves."""
        self._retag_after = None if self._is_fallback() else ""
        asyncio.get_running_loop().create_task(self._notify(), name="push-inbox")

    async def accept(self, body: bytes) -> int:
        """Accept a posted notification; returns how many photos it names. They are on disk when this returns.

        A body that is no notification becomes a dead letter, because the store would post it for ever. Raises
        OverloadedError if too many photos are pending, TemporaryError if the disk cannot be written.
        """
        if len(self._pending) >= MAX_PENDING:
            raise OverloadedError(f"{len(self._pending)} photos are pending; try again later.")
        refs = await self._parse(body)
        await self._add(refs)
        return len(refs)

    async def offer(self, refs: Sequence[PhotoRef]) -> None:
        """Accept the photos that a resync found; wait while too many are pending. They are on disk when this returns.

        Raises TemporaryError.
        """
        for start in range(0, len(refs), CHUNK_PHOTOS):
            async with self._changed:
                await self._changed.wait_for(lambda: len(self._pending) < MAX_PENDING_RESYNC)
            await self._add(refs[start : start + CHUNK_PHOTOS])

    async def take(self) -> Sequence[PhotoRef] | None:
        """The next photos, as soon as there are any. Raises TemporaryError where the state cannot be read."""
        await self._adopt()
        async with self._changed:
            while not (taken := self._take_pending() or await self._take_pushed() or await self._take_retags()):
                await self._changed.wait()
        self._in_flight |= {ref.uri for ref in taken}
        return taken

    async def mark_finished(self, ref: PhotoRef) -> None:
        """Forget the photo, unless it was named again while it was in flight: then it may have changed.

        Raises TemporaryError.
        """
        self._in_flight.discard(ref.uri)
        if ref.uri in self._changed_again:
            self._changed_again.discard(ref.uri)
            self._pending[ref.uri] = PhotoRef(ref.uri)
        else:
            await self._owed.remove(ref.uri, keep_retag=self._is_fallback())
        await self._notify()

    def _take_pending(self) -> list[PhotoRef]:
        return [self._pending.pop(uri) for uri in list(islice(self._pending, CHUNK_PHOTOS))]

    async def _adopt(self) -> None:
        """Take over what earlier processes left. Raises TemporaryError."""
        if self._is_adopted:
            return
        await asyncio.to_thread(self._owed.adopt)
        left = await asyncio.to_thread(self._owed.list_uris, "pushed", MAX_PENDING)
        self._pending |= {uri: PhotoRef(uri) for uri in left if uri not in self._pending}
        self._pushed_after = left[-1] if len(left) == MAX_PENDING else None
        self._is_adopted = True
        self.rescan()

    async def _take_pushed(self) -> list[PhotoRef]:
        """The next pushed photos that were not loaded at the start, because there were too many."""
        refs, self._pushed_after = await self._take_rows("pushed", self._pushed_after)
        return refs

    async def _take_retags(self) -> list[PhotoRef]:
        refs, self._retag_after = await self._take_rows("retag", self._retag_after)
        return refs

    async def _take_rows(self, reason: OwedReason, after: str | None) -> tuple[list[PhotoRef], str | None]:
        """The next photos after the URI `after` that are not in flight, and the last URI read; None at the end."""
        while after is not None:
            uris = await asyncio.to_thread(self._owed.list_uris, reason, CHUNK_PHOTOS, after=after)
            after = uris[-1] if uris else None
            refs = [PhotoRef(uri) for uri in uris if uri not in self._in_flight and uri not in self._pending]
            if refs:
                return refs, after
        return [], None

    async def _parse(self, body: bytes) -> list[PhotoRef]:
        text = body.decode("utf-8", "replace")
        try:
            hints = parse_message(text)
        except MessageError as error:
            log.error("moved a posted notification to the dead letters: %s", error, extra={"reason": str(error)})  # noqa: TRY400 - no bug of ours
            await asyncio.to_thread(self._dead_letters.add, ROUTE, str(error), text)
            return []
        chosen = choose_photos(((hint.bucket, (hint.key, hint.other_key)) for hint in hints), self._settings)
        self._on_skipped(chosen.skipped)
        return [PhotoRef(uri) for uri in chosen.uris]

    async def _add(self, refs: Sequence[PhotoRef]) -> None:
        """Note the photos in memory first: a photo may be finished during the write to disk, and must not be lost."""
        if not self._is_open:
            raise TemporaryError("The daemon does not accept notifications at the moment.")
        for ref in refs:
            if ref.uri in self._in_flight:
                self._changed_again.add(ref.uri)
            else:
                self._pending[ref.uri] = ref
        if refs:
            await self._owed.add([ref.uri for ref in refs], "pushed")
        await self._notify()

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()
