"""Announcements: put into the outbox before a record is written, released after it, so that none is lost or untrue."""

import json
from collections.abc import Collection

from pawtag.clock import utc_timestamp
from pawtag.domain.announcements import (
    Reason,
    build_announcement,
    build_announcement_id,
    describe_corrections,
    find_reason,
)
from pawtag.domain.records import Corrections, PhotoRef, TagRecord, Written
from pawtag.state.outbox import Outbox


class Announcer:
    """Announces records that are written for one of these reasons."""

    def __init__(self, outbox: Outbox, reasons: Collection[Reason]) -> None:
        """Nothing is announced yet."""
        self._outbox, self._reasons = outbox, reasons

    async def prepare(
        self, ref: PhotoRef, record: TagRecord, seen: Written, corrections: Corrections | None
    ) -> str | None:
        """Put the announcement of a record into the outbox; returns its id, or None if its reason is not set.

        `corrections`: those before this record. Raises TemporaryError.
        """
        reason = find_reason(seen, ref, corrections, record)
        if reason not in self._reasons:
            return None
        follows = describe_corrections(corrections) if reason == "corrected" else None
        row_id = build_announcement_id(ref, record, follows)
        document = build_announcement(ref, record, reason, utc_timestamp())
        await self._outbox.put(row_id, ref.uri, json.dumps(document, separators=(",", ":")))
        return row_id

    async def release(self, row_id: str) -> None:
        """The record is written. Raises TemporaryError."""
        await self._outbox.release(row_id)

    async def discard(self, row_id: str) -> None:
        """The record will not be written. Raises TemporaryError."""
        await self._outbox.discard(row_id)
