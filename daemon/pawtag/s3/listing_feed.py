"""Catching up with a bucket: its listing as a supply, resumable; and photos that are named once."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pawtag.domain.errors import TemporaryError
from pawtag.domain.records import PhotoRef
from pawtag.s3.client import CONFIGURATION_DELAY_S
from pawtag.s3.listing import Listing, Page
from pawtag.state import ResumePoint

MAX_LIST_ATTEMPTS = 5
CHUNK_URIS = 100


class ListingFeed:
    """The photos of a listing, a page at a time; see source.Supply."""

    def __init__(self, listing: Listing, resume_point: ResumePoint) -> None:
        """Goes on where the checkpoint says."""
        self._listing, self._resume_point = listing, resume_point
        self._pages = listing.pages(resume_point.position)
        self._last_key = resume_point.position
        self._pieces: dict[str, list[Any]] = {}
        self.skipped: Counter[str] = Counter()
        self.looked_at = 0
        self.on_finished: Callable[[], object] = lambda: None

    async def take(self) -> Sequence[PhotoRef] | None:
        """The next page that holds photos; None after the last. Raises TemporaryError where the store stays away."""
        while page := await self._next():
            self.skipped += page.skipped
            photos = [ref for ref in page.photos if ref.uri not in self._pieces]  # listed again, it may come twice
            piece = self._resume_point.begin(page.last_key, len(photos))
            if photos:
                self._pieces |= dict.fromkeys((ref.uri for ref in photos), piece)
                return photos
        return None

    def mark_finished(self, ref: PhotoRef) -> None:
        """One more is up to date."""
        self.looked_at += 1
        self._resume_point.finish(self._pieces.pop(ref.uri))
        self.on_finished()

    async def _next(self) -> Page | None:
        """The next page; what may pass soon is waited for, longer each time."""
        for attempt in range(MAX_LIST_ATTEMPTS):
            try:
                page = await asyncio.to_thread(next, self._pages, None)
            except TemporaryError as error:
                is_lasting = (
                    error.delay_s >= CONFIGURATION_DELAY_S
                )  # but that keys which had expired have been read anew
                if attempt + 1 == (2 if is_lasting else MAX_LIST_ATTEMPTS):
                    raise
                await asyncio.sleep(1.0 if is_lasting else error.delay_s * 2**attempt)
                self._pages = self._listing.pages(self._last_key)  # a stream that has failed is at its end
            else:
                self._last_key = page.last_key if page else self._last_key
                return page
        return None


class UriFeed:
    """Photos by their addresses, each once; see source.Supply."""

    def __init__(self, uris: Iterable[str]) -> None:
        """In that order."""
        self._uris = deque(uris)

    def __len__(self) -> int:
        """How many were not yet taken."""
        return len(self._uris)

    async def take(self) -> Sequence[PhotoRef] | None:
        """The next of them; None after the last."""
        return [PhotoRef(self._uris.popleft(), 0, 0) for _ in range(min(CHUNK_URIS, len(self)))] or None

    def mark_finished(self, ref: PhotoRef) -> None:
        """Nothing is kept of it."""
