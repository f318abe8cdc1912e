"""The periodic resync of a bucket: its listing finds what no event named.

Pushes can fail (Ceph's plain topics drop events that get no answer), so a bucket without a queue is listed, too.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from email.utils import parsedate_to_datetime

from pawtag.domain.errors import PawtagError
from pawtag.s3.listing import Listing, Page
from pawtag.s3.push_inbox import PushInbox
from pawtag.state.resume_point import ResumePoint

log = logging.getLogger(__name__)

NS_PER_S = 1_000_000_000
# The first resync looks back one day, so that a new machine does not read everything. `pawtag s3 scan` finds the rest.
FIRST_LOOKBACK_NS = 24 * 3600 * NS_PER_S
# LastModified of a multipart upload is the time of its start; and the clocks of LastModified and Date may differ.
MARGIN_NS = 6 * 3600 * NS_PER_S
MAX_OFFERED = 500_000
# ETag and time. The ETag is not enough: the same bytes, uploaded again, have lost their tags.
Version = tuple[str | None, int | None]
# The pause is at least this many times as long as the listing took.
RESYNC_PAUSE_FACTOR = 20


class Resync:
    """Lists the bucket now and then, and offers the inbox what was modified since the last time."""

    def __init__(
        self,
        listing: Listing,
        inbox: PushInbox,
        resume_point: ResumePoint,
        rescan_s: float,
        *,
        on_skipped: Callable[[Counter[str]], None],
    ) -> None:
        """`resume_point` holds the start of the last resync in nanoseconds, by the store's clock.

        `on_skipped` gets counts of what the first listing skipped, by reason. Later listings skip the same keys.
        """
        self._on_skipped, self._is_counted = on_skipped, False
        self._offered: dict[str, Version] = {}
        """What the last resync offered: the next one lists the photos in the margin again, but does not offer them."""
        self._listing, self._inbox, self._resume_point, self._rescan_s = listing, inbox, resume_point, rescan_s

    async def run(self, report_fault: Callable[[PawtagError | None], None]) -> None:
        """Resync until cancelled. Calls `report_fault` after each: with its fault, or None."""
        while True:
            listing_s = 0.0
            try:
                listing_s = await self.run_once()
                report_fault(None)
            except PawtagError as error:
                report_fault(error)
            except Exception as error:  # nothing unexpected may end the resync
                log.exception("unexpected error while the bucket %s was listed", self._listing.bucket)
                report_fault(PawtagError(f"The bucket {self._listing.bucket} cannot be listed: {error!r}."))
            await asyncio.sleep(max(self._rescan_s, RESYNC_PAUSE_FACTOR * listing_s))

    async def run_once(self) -> float:
        """List the bucket once; returns how many seconds the store took. Raises what the listing and inbox raise.

        The resume point moves once the inbox holds everything that was found.
        """
        began_ns: int | None = None
        listing_s, skipped = 0.0, Counter[str]()
        offered: dict[str, Version] = {}
        pages = self._listing.pages()
        while True:
            asked_s = time.monotonic()
            page = await asyncio.to_thread(next, pages, None)
            listing_s += time.monotonic() - asked_s
            if page is None:
                break
            skipped += page.skipped
            began_ns = began_ns or _read_server_time_ns(page)
            since_ns = int(self._resume_point.position or began_ns - FIRST_LOOKBACK_NS) - MARGIN_NS
            recent = {ref.uri: ref for ref in page.photos if (ref.mtime_ns or 0) >= since_ns}
            offered |= {uri: (ref.etag, ref.mtime_ns) for uri, ref in recent.items()}
            new = [ref for uri, ref in recent.items() if self._offered.get(uri) != (ref.etag, ref.mtime_ns)]
            await self._inbox.offer(new)
        if not self._is_counted:
            self._is_counted = True
            self._on_skipped(skipped)
        self._offered = offered if len(offered) <= MAX_OFFERED else {}
        if began_ns:
            self._resume_point.position = str(began_ns)
            await asyncio.to_thread(self._resume_point.save)
        return listing_s


def _read_server_time_ns(page: Page) -> int:
    if page.server_time is None:
        return time.time_ns()
    return int(parsedate_to_datetime(page.server_time).timestamp()) * NS_PER_S
