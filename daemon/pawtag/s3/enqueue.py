"""For many machines: an event for each object that needs it, into the queue that the daemons serve already."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from pawtag.domain.errors import GoneError, PawtagError
from pawtag.domain.freshness import FreshnessPolicy
from pawtag.domain.records import PhotoRef
from pawtag.s3.address import parsed
from pawtag.s3.listing import Page
from pawtag.s3.messages import told
from pawtag.s3.objects import Objects
from pawtag.s3.sqs_queue import AT_ONCE, Mailbox
from pawtag.state import ResumePoint

log = logging.getLogger(__name__)

AT_A_TIME = 32
SENT, CURRENT, UNSEEN = "sent", "current", "unseen"


class Pages(Protocol):
    """A listing, or an inventory."""

    def pages(self, after: str = "") -> Iterator[Page]:
        """The pages behind a position."""


@dataclass(frozen=True, slots=True)
class Teller:
    """Tells a queue of what needs a record. `judge` None: of every photo, unseen."""

    mailbox: Mailbox
    objects: Objects
    policy: FreshnessPolicy | None
    by: str

    def tell(self, pages: Pages, checkpoint: ResumePoint, progress: Callable[[int], object]) -> Counter[str]:
        """Work off all pages behind the checkpoint; what was passed over, by reason, and `sent`, among them `unseen`.

        `progress` hears how many photos were looked at. Raises TemporaryError where the store or the
        queue fails; the checkpoint then says how far all is sent.
        """
        count: Counter[str] = Counter()
        with ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="enqueue") as threads:
            for page in pages.pages(checkpoint.position):
                count += page.skipped
                verdicts = list(threads.map(self._verdict, page.photos))
                wanted = [ref for ref, verdict in zip(page.photos, verdicts, strict=True) if verdict != CURRENT]
                batches = [wanted[start : start + AT_ONCE] for start in range(0, len(wanted), AT_ONCE)]
                list(threads.map(self._send, batches))
                checkpoint.begin(page.last_key, 0)
                count.update({SENT: len(wanted), CURRENT: verdicts.count(CURRENT), UNSEEN: verdicts.count(UNSEEN)})
                progress(len(page.photos))
        return count

    def _verdict(self, ref: PhotoRef) -> str:
        """One object that may not be looked at does not hold up the others: the daemon will say what is wrong."""
        if self.policy is None:
            return SENT
        try:
            return CURRENT if self.policy.is_current(self.objects.read_stamp(ref), ref) else SENT
        except GoneError:
            return CURRENT
        except PawtagError as error:
            log.debug("%s", error)
            return UNSEEN
        finally:
            self.objects.close(ref)

    def _send(self, refs: list[PhotoRef]) -> None:
        self.mailbox.send([self._message(ref) for ref in refs])

    def _message(self, ref: PhotoRef) -> str:
        bucket, key = parsed(ref.uri)
        return told(bucket, key, ref.etag or "", ref.size_bytes, self.by)
