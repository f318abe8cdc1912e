"""For many machines: an event for each object that needs it, into the queue that the daemons serve already."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from pawtag.errors import GoneError
from pawtag.records import PhotoRef
from pawtag.s3.address import parsed
from pawtag.s3.listing import Checkpoint, Page
from pawtag.s3.mailbox import AT_ONCE, Mailbox
from pawtag.s3.messages import told
from pawtag.s3.objects import Objects
from pawtag.stamps import Judge

log = logging.getLogger(__name__)

AT_A_TIME = 32


class Pages(Protocol):
    """A listing, or an inventory."""

    def pages(self, after: str = "") -> Iterator[Page]:
        """The pages behind a position."""


@dataclass(frozen=True, slots=True)
class Teller:
    """Tells a queue of what needs a record. `judge` None: of every photo, unseen."""

    mailbox: Mailbox
    objects: Objects
    judge: Judge | None
    by: str

    def tell(self, pages: Pages, checkpoint: Checkpoint, progress: Callable[[int, int], None]) -> Counter[str]:
        """Work off all pages behind the checkpoint; what was passed over, by reason, and `sent`.

        `progress` hears how many photos were looked at and sent. Raises TemporaryError where the store or the
        queue fails; the checkpoint then says how far all is sent.
        """
        count: Counter[str] = Counter()
        with ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="enqueue") as threads:
            for page in pages.pages(checkpoint.position):
                count += page.skipped
                wanted = [
                    ref for ref, needs in zip(page.photos, threads.map(self._needs, page.photos), strict=True) if needs
                ]
                batches = [wanted[start : start + AT_ONCE] for start in range(0, len(wanted), AT_ONCE)]
                list(threads.map(self._send, batches))
                checkpoint.begin(page.last_key, 0)
                count.update(sent=len(wanted), current=len(page.photos) - len(wanted))
                progress(len(page.photos), len(wanted))
        return count

    def _needs(self, ref: PhotoRef) -> bool:
        if self.judge is None:
            return True
        try:
            return not self.judge.is_current(self.objects.current(ref), ref)
        except GoneError:
            return False
        finally:
            self.objects.close(ref)

    def _send(self, refs: list[PhotoRef]) -> None:
        self.mailbox.send([self._message(ref) for ref in refs])

    def _message(self, ref: PhotoRef) -> str:
        bucket, key = parsed(ref.uri)
        return told(bucket, key, ref.etag or "", ref.size_bytes, self.by)
