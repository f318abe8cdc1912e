"""The backlog of a scan: photos that need a record, newest first, bounded."""

import heapq

from pawtag.domain.records import PhotoRef

MAX_PHOTOS = 50_000


class Backlog:
    """A heap of photos, newest first. It keeps only the newest `max_photos`. `is_truncated`: some were dropped."""

    def __init__(self, max_photos: int = MAX_PHOTOS) -> None:
        """Start empty."""
        self._max_photos = max_photos
        self._heap: list[tuple[int, str]] = []
        self._members: set[str] = set()
        self.is_truncated = False

    def __len__(self) -> int:
        """How many photos are pending."""
        return len(self._heap)

    def add(self, refs: list[PhotoRef]) -> None:
        """Add photos; one that is pending already is not added twice."""
        for ref in refs:
            if ref.uri not in self._members:
                self._members.add(ref.uri)
                heapq.heappush(self._heap, (-(ref.mtime_ns or 0), ref.uri))
        if len(self._heap) > self._max_photos + self._max_photos // 10:  # with some slack: not for each photo
            self._heap = heapq.nsmallest(self._max_photos, self._heap)
            self._members = {uri for _, uri in self._heap}
            self.is_truncated = True

    def take(self) -> str | None:
        """The newest photo's path; None when there is none."""
        if not self._heap:
            return None
        _, uri = heapq.heappop(self._heap)
        self._members.discard(uri)
        return uri
