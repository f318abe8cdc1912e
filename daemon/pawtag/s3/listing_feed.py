"""The photo feed of a bucket's listing, which ends and can be resumed."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from pawtag.domain.backoff import Backoff
from pawtag.domain.errors import MisconfigurationError, TemporaryError
from pawtag.domain.records import PhotoRef
from pawtag.s3.listing import Listing, Page
from pawtag.state.resume_point import ResumePoint

MAX_LIST_ATTEMPTS, LIST_BACKOFF = 5, Backoff(first_s=1.0, max_s=120.0)
# One more attempt may succeed at once: expired credentials have been read again.
MAX_MISCONFIGURED_ATTEMPTS, MISCONFIGURED_DELAY_S = 2, 1.0


class ListingFeed:
    """The photos of a listing, a page at a time; see object_source.PhotoFeed."""

    def __init__(self, listing: Listing, resume_point: ResumePoint) -> None:
        """Begins after the resume point."""
        self._listing, self._resume_point = listing, resume_point
        self._pages = listing.pages(resume_point.position)
        self._last_key = resume_point.position
        self._pieces: dict[str, list[Any]] = {}
        self.skipped: Counter[str] = Counter()
        self.finished = 0
        self.on_finished: Callable[[], object] = lambda: None

    async def take(self) -> Sequence[PhotoRef] | None:
        """The next page that holds photos; None after the last. Raises TemporaryError if the store stays away."""
        while page := await self._next_page():
            self.skipped += page.skipped
            photos = [ref for ref in page.photos if ref.uri not in self._pieces]  # a page listed again may repeat some
            piece = self._resume_point.begin(page.last_key, len(photos))
            if photos:
                self._pieces |= dict.fromkeys((ref.uri for ref in photos), piece)
                return photos
        return None

    def rescan(self) -> None:
        """A listing is read once."""

    async def mark_finished(self, ref: PhotoRef) -> None:
        """One more photo is done; the resume point may move."""
        self.finished += 1
        self._resume_point.finish(self._pieces.pop(ref.uri))
        self.on_finished()

    async def _next_page(self) -> Page | None:
        for attempt in range(MAX_LIST_ATTEMPTS):
            try:
                page = await asyncio.to_thread(next, self._pages, None)
            except TemporaryError as error:
                await self._wait_after(error, attempt)
                self._pages = self._listing.pages(self._last_key)  # a generator that raised is exhausted
            else:
                self._last_key = page.last_key if page else self._last_key
                return page
        return None

    async def _wait_after(self, error: TemporaryError, attempt: int) -> None:
        """Wait before the next attempt; raises the error after the last."""
        is_lasting = isinstance(error, MisconfigurationError)
        if attempt + 1 == (MAX_MISCONFIGURED_ATTEMPTS if is_lasting else MAX_LIST_ATTEMPTS):
            raise error
        await asyncio.sleep(
            MISCONFIGURED_DELAY_S if is_lasting else LIST_BACKOFF.delay_s(attempt, first_s=error.delay_s)
        )
