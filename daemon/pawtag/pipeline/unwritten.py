"""Records that could not be written yet. They are kept, so that the model need not run again after a disk fault."""

import time
from dataclasses import dataclass

from pawtag.domain.errors import TemporaryError
from pawtag.domain.records import PhotoRef, TagRecord

MAX_RECORDS = 1000
# A photo is retried within minutes. After this time, it is gone, or another daemon has handled it.
MAX_AGE_S = 1800.0
FULL_DELAY_S = 10.0


@dataclass(frozen=True, slots=True)
class _Kept:
    version: PhotoRef
    record: TagRecord
    at_s: float


class UnwrittenRecords:
    """The records of photos whose write failed, before corrections; bounded."""

    def __init__(self, max_records: int = MAX_RECORDS) -> None:
        """None yet."""
        self._max_records = max_records
        self._kept: dict[str, _Kept] = {}

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._kept)

    def get(self, version: PhotoRef, fingerprint: str) -> TagRecord | None:
        """The record of that version, made with that fingerprint; None if there is none."""
        kept = self._kept.get(version.uri)
        if kept is None or _identify(kept.version) != _identify(version):
            return None
        return kept.record if kept.record.fingerprint == fingerprint else None

    def require_room(self, uri: str, fault: str | None) -> None:
        """Make room for one more record.

        If there are too many, and some are for photos in the same folder, raises TemporaryError: no photo of that
        folder is tagged until one record is written. Otherwise a write may succeed here, and the oldest
        record is dropped.
        """
        if len(self._kept) < self._max_records or uri in self._kept:
            return
        oldest_s = time.monotonic() - MAX_AGE_S
        self._kept = {kept_uri: kept for kept_uri, kept in self._kept.items() if kept.at_s > oldest_s}
        if len(self._kept) < self._max_records:
            return
        folder = _find_folder(uri)
        if any(_find_folder(kept_uri) == folder for kept_uri in self._kept):
            raise TemporaryError(fault or f"{len(self._kept)} records wait to be written.", FULL_DELAY_S)
        del self._kept[next(iter(self._kept))]

    def keep(self, version: PhotoRef, record: TagRecord) -> None:
        """Keep a record until `forget`."""
        self._kept[version.uri] = _Kept(version, record, time.monotonic())

    def forget(self, uri: str) -> None:
        """It is written, or the photo is gone."""
        self._kept.pop(uri, None)


def _find_folder(uri: str) -> str:
    return uri.rpartition("/")[0]


def _identify(version: PhotoRef) -> tuple[object, ...]:
    """What identifies the content: an object's ETag (the rest is known only after a GET), or size and mtime."""
    return (version.etag,) if version.etag else (version.size_bytes, version.mtime_ns)
