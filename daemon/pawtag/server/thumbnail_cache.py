"""Thumbnails that were made lately."""

import asyncio
from collections import OrderedDict

MAX_AT_ONCE = 2
MAX_BYTES = 32 * 1024 * 1024


class ThumbnailCache:
    """Bytes by photo and version; the least recently used ones go. Lives on the event loop."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        """Empty."""
        self._max_bytes, self._size_bytes = max_bytes, 0
        self.slots = asyncio.Semaphore(MAX_AT_ONCE)
        """How many may be made at a time."""
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    def get(self, photo_id: str, version: str) -> bytes | None:
        """The thumbnail; None if it is not kept."""
        found = self._kept.get((photo_id, version))
        if found is not None:
            self._kept.move_to_end((photo_id, version))
        return found

    def keep(self, photo_id: str, version: str, content: bytes) -> None:
        """Keep it, and drop others for it."""
        self._size_bytes += len(content) - len(self._kept.pop((photo_id, version), b""))
        self._kept[photo_id, version] = content
        while self._size_bytes > self._max_bytes:
            self._size_bytes -= len(self._kept.popitem(last=False)[1])
