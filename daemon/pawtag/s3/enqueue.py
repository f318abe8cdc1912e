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
from pawtag.s3.address import parse_uri
from pawtag.s3.listing import Page
from pawtag.s3.messages import format_message
from pawtag.s3.objects import Objects
from pawtag.s3.sqs_queue import MAX_BATCH_MESSAGES, SqsQueue
from pawtag.state import ResumePoint

log = logging.getLogger(__name__)

LOOKUP_THREADS = 32
SENT, CURRENT, UNCHECKED = "sent", "current", "unseen"


class Pages(Protocol):
    """A listing, or an inventory."""

    def pages(self, after: str = "") -> Iterator[Page]:
        """The pages behind a position."""


@dataclass(frozen=True, slots=True)
class Enqueuer:
    """Tells a queue of what needs a record. `judge` None: of every photo, unseen."""

    queue: SqsQueue
    objects: Objects
    policy: FreshnessPolicy | None
    fingerprint: str

    def enqueue(self, pages: Pages, resume_point: ResumePoint, progress: Callable[[int], object]) -> Counter[str]:
        """Work off all pages behind the checkpoint; what was passed over, by reason, and `sent`, among them `unseen`.

        `progress` hears how many photos were looked at. Raises TemporaryError where the store or the
        queue fails; the checkpoint then says how far all is sent.
        """
        count: Counter[str] = Counter()
        with ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="enqueue") as threads:
            for page in pages.pages(resume_point.position):
                count += page.skipped
                verdicts = list(threads.map(self._verdict, page.photos))
                wanted = [ref for ref, verdict in zip(page.photos, verdicts, strict=True) if verdict != CURRENT]
                batches = [
                    wanted[start : start + MAX_BATCH_MESSAGES] for start in range(0, len(wanted), MAX_BATCH_MESSAGES)
                ]
                list(threads.map(self._send, batches))
                resume_point.begin(page.last_key, 0)
                count.update(
                    {SENT: len(wanted), CURRENT: verdicts.count(CURRENT), UNCHECKED: verdicts.count(UNCHECKED)}
                )
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
            return UNCHECKED
        finally:
            self.objects.close(ref)

    def _send(self, refs: list[PhotoRef]) -> None:
        self.queue.send([self._message(ref) for ref in refs])

    def _message(self, ref: PhotoRef) -> str:
        bucket, key = parse_uri(ref.uri)
        return format_message(bucket, key, ref.etag or "", ref.size_bytes, self.fingerprint)
