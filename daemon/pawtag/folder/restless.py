"""Photos that were unfinished each time that pawtag read them."""

import logging

from pawtag.domain.backoff import Backoff

log = logging.getLogger(__name__)

MAX_PATIENT = 5
MAX_PHOTOS = 10_000
BACKOFF = Backoff(first_s=2.0, max_s=300.0)


class RestlessPhotos:
    """Counts the reads of each unfinished photo. After MAX_PATIENT reads, the log names it once and the waits grow."""

    def __init__(self) -> None:
        """None yet."""
        self._counts: dict[str, int] = {}
        self.named: set[str] = set()

    def stretch(self, path: str, delay_s: float) -> float:
        """Count one more unfinished read; returns the delay until the next read."""
        if len(self._counts) >= MAX_PHOTOS:
            self._counts.clear()
        self._counts[path] = count = self._counts.get(path, 0) + 1
        if count < MAX_PATIENT:
            return delay_s
        if path not in self.named:
            self.named.add(path)
            log.warning(
                "%s was incomplete each of the %d times that it was read; pawtag reads it again at growing intervals",
                path,
                count,
                extra={"uri": path},
            )
        return BACKOFF.delay_s(count - MAX_PATIENT, first_s=delay_s)

    def forget(self, path: str) -> None:
        """The photo was read completely, or is gone."""
        self._counts.pop(path, None)
        self.named.discard(path)
