"""The periodic resync of a bucket: its listing finds what no event told of."""

import asyncio
import logging
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

from pawtag.domain.errors import PawtagError
from pawtag.s3.listing import Listing, Page
from pawtag.s3.push_inbox import FIRST_NS, MARGIN_NS, NS, PAUSE_FACTOR, PushInbox
from pawtag.state import ResumePoint

log = logging.getLogger(__name__)


class Resync:
    """Lists the bucket now and then, and offers what was modified since the last time."""

    def __init__(self, listing: Listing, inbox: PushInbox, resume_point: ResumePoint, rescan_s: float) -> None:
        """`checkpoint`: since when, in nanoseconds by the store's own clock."""
        self._listing, self._inbox, self._resume_point, self._rescan_s = listing, inbox, resume_point, rescan_s

    async def run(self, report_fault: Callable[[PawtagError | None], None]) -> None:
        """Resync for ever; `tell` hears of each sweep's fault, or that there was none."""
        while True:
            listing_s = 0.0
            try:
                listing_s = await self.once()
                report_fault(None)
            except PawtagError as error:
                report_fault(error)
            except Exception as error:  # no surprise ends the sweeps: they are the truth
                log.exception("Unexpected error while the bucket was listed")
                report_fault(PawtagError(f"The bucket could not be listed: {error!r}."))
            await asyncio.sleep(max(self._rescan_s, PAUSE_FACTOR * listing_s))

    async def once(self) -> float:
        """One sweep; it counts once all that it found is in the inbox. The seconds that the store took to list.

        Raises what the listing and the inbox raise.
        """
        began_ns: int | None = None
        listing_s = 0.0
        pages = self._listing.pages()
        while True:
            asked_s = time.monotonic()
            page = await asyncio.to_thread(next, pages, None)
            listing_s += time.monotonic() - asked_s
            if page is None:
                break
            began_ns = began_ns or _server_time_ns(page)
            since_ns = int(self._resume_point.position or began_ns - FIRST_NS) - MARGIN_NS
            await self._inbox.offer([ref for ref in page.photos if ref.mtime_ns >= since_ns])
        if began_ns:
            self._resume_point.position = str(began_ns)
            await asyncio.to_thread(self._resume_point.save)
        return listing_s


def _server_time_ns(page: Page) -> int:
    if page.server_time is None:
        return time.time_ns()
    return int(parsedate_to_datetime(page.server_time).timestamp()) * NS
