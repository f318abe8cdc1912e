"""Thumbnails that were made lately."""

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

MAX_AT_ONCE = 2
MAX_BYTES = 32 * 1024 * 1024
MIN_INTERVAL_S = 0.06  # a faster backlog makes none: nobody has time to see them


class ThumbnailCache:
    """Bytes by the photo's SHA-256; the least recently used ones go. Any thread may call it.

    `is_watched`: whether somebody looks at the photos as they come.
    """

    def __init__(self, is_watched: Callable[[], bool] = lambda: False, max_bytes: int = MAX_BYTES) -> None:
        """Empty."""
        self._is_watched, self._max_bytes, self._size_bytes = is_watched, max_bytes, 0
        self.slots = asyncio.Semaphore(MAX_AT_ONCE)
        """How many may be made at a time for requests."""
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._asked_at_s = 0.0

    def wants(self) -> bool:
        """Whether to make a thumbnail while the photo is decoded. This saves decoding it again later."""
        before_s, self._asked_at_s = self._asked_at_s, time.monotonic()
        return self._is_watched() and self._asked_at_s - before_s >= MIN_INTERVAL_S

    def get(self, sha256: str) -> bytes | None:
        """The thumbnail; None if it is not kept."""
        with self._lock:
            found = self._kept.get(sha256)
            if found is not None:
                self._kept.move_to_end(sha256)
            return found

    def keep(self, sha256: str, content: bytes) -> None:
        """Keep it, and drop others for it."""
        with self._lock:
            self._size_bytes += len(content) - len(self._kept.pop(sha256, b""))
            self._kept[sha256] = content
            while self._size_bytes > self._max_bytes:
                self._size_bytes -= len(self._kept.popitem(last=False)[1])
