"""Messages for many daemons: one for each object that needs a record, into the queue that they serve."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from pawtag.domain.corrections import parse_corrections
from pawtag.domain.errors import GoneError, PawtagError
from pawtag.domain.freshness import FreshnessPolicy
from pawtag.domain.records import PhotoRef
from pawtag.s3.address import parse_uri
from pawtag.s3.listing import Page
from pawtag.s3.message_queue import MAX_BATCH_MESSAGES, MessageQueue
from pawtag.s3.messages import format_message
from pawtag.s3.objects import Objects
from pawtag.state.resume_point import ResumePoint

log = logging.getLogger(__name__)

LOOKUP_THREADS = 32
SENT, CURRENT, UNCHECKED = "sent", "current", "unchecked"


class Pages(Protocol):
    """A listing, or an inventory."""

    def pages(self, after: str = "") -> Iterator[Page]:
        """The pages after a position."""


@dataclass(frozen=True, slots=True)
class Enqueuer:
    """Sends a message for each photo that needs a record. `policy` None: for every photo, unchecked."""

    queue: MessageQueue
    objects: Objects
    policy: FreshnessPolicy | None
    fingerprint: str

    def enqueue(self, pages: Pages, resume_point: ResumePoint, progress: Callable[[int], object]) -> Counter[str]:
        """Send messages for all pages after the resume point; returns counts of `sent`, `current` and what is skipped.

        Photos that could not be checked are sent, too, and also counted as `unchecked`. Calls `progress(count)` for
        each page. Raises TemporaryError if the store or the queue fails; the next run continues at the resume point.
        """
        count: Counter[str] = Counter()
        with ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="enqueue") as threads:
            for page in pages.pages(resume_point.position):
                count += page.skipped
                results = list(threads.map(self._check, page.photos))
                stale = [ref for ref, result in zip(page.photos, results, strict=True) if result != CURRENT]
                batches = [
                    stale[start : start + MAX_BATCH_MESSAGES] for start in range(0, len(stale), MAX_BATCH_MESSAGES)
                ]
                list(threads.map(self._send, batches))
                resume_point.begin(page.last_key, 0)
                count.update({SENT: len(stale), CURRENT: results.count(CURRENT), UNCHECKED: results.count(UNCHECKED)})
                progress(len(page.photos))
        return count

    def _check(self, ref: PhotoRef) -> str:
        """SENT, CURRENT or UNCHECKED. If an object cannot be checked, the daemon tries again and reports the fault."""
        if self.policy is None:
            return SENT
        try:
            with self.objects.open_blocking(ref) as photo:
                seen = photo.look()
                parsed = parse_corrections(seen.corrections, self.policy.labels)
                return CURRENT if self.policy.is_current(seen.stamp, photo.version, parsed.by_group) else SENT
        except GoneError:
            return CURRENT
        except PawtagError as error:
            log.debug("%s", error)
            return UNCHECKED

    def _send(self, refs: list[PhotoRef]) -> None:
        self.queue.send([self._message(ref) for ref in refs])

    def _message(self, ref: PhotoRef) -> str:
        bucket, key = parse_uri(ref.uri)
        return format_message(bucket, key, ref.etag or "", ref.size_bytes or 0, self.fingerprint)
