"""Catching up with a bucket: its listing as a supply, resumable."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from pawtag.records import PhotoRef
from pawtag.s3.listing import Checkpoint, Listing


class ListingSupply:
    """The photos of a listing, a page at a time; see source.Supply."""

    def __init__(self, listing: Listing, checkpoint: Checkpoint) -> None:
        """Goes on where the checkpoint says."""
        self._pages = listing.pages(checkpoint.position)
        self._checkpoint = checkpoint
        self._pieces: dict[str, list[Any]] = {}
        self.skipped: Counter[str] = Counter()
        self.looked_at = 0
        self.on_finished: Callable[[], object] = lambda: None

    async def take(self) -> Sequence[PhotoRef] | None:
        """The next page that holds photos; None after the last."""
        while page := await asyncio.to_thread(next, self._pages, None):
            self.skipped += page.skipped
            piece = self._checkpoint.begin(page.last_key, len(page.photos))
            if page.photos:
                self._pieces |= dict.fromkeys((ref.uri for ref in page.photos), piece)
                return page.photos
        return None

    def finished(self, ref: PhotoRef) -> None:
        """One more is up to date."""
        self.looked_at += 1
        self._checkpoint.finish(self._pieces.pop(ref.uri))
        self.on_finished()
