"""The faults that prevent tagging now. A fault ends when one of its photos succeeds. Bounded."""

import time

MAX_PHOTOS = 10_000
# An existing photo is tried again within five minutes. A fault that was not noted for longer is over.
MAX_AGE_S = 900.0


class Faults:
    """The fault of each photo that is retried. When a photo succeeds, its fault ends, and other faults stay."""

    def __init__(self) -> None:
        """None yet."""
        self._by_uri: dict[str, tuple[str, float]] = {}

    @property
    def first(self) -> str | None:
        """The oldest fault; None without any."""
        self._drop_old()
        return next((fault for fault, _ in self._by_uri.values()), None)

    @property
    def texts(self) -> set[str]:
        """All faults."""
        self._drop_old()
        return {fault for fault, _ in self._by_uri.values()}

    def note(self, uri: str, fault: str) -> None:
        """A photo is retried because of it."""
        if uri in self._by_uri or len(self._by_uri) < MAX_PHOTOS:
            self._by_uri[uri] = (fault, time.monotonic())

    def clear(self, uri: str) -> None:
        """The photo is done: its fault is over, also for all other photos with the same fault."""
        fault, _ = self._by_uri.pop(uri, (None, 0.0))
        if fault is not None:
            self._by_uri = {other: found for other, found in self._by_uri.items() if found[0] != fault}

    def _drop_old(self) -> None:
        oldest_s = time.monotonic() - MAX_AGE_S
        if any(noted_s < oldest_s for _, noted_s in self._by_uri.values()):
            self._by_uri = {uri: found for uri, found in self._by_uri.items() if found[1] >= oldest_s}
