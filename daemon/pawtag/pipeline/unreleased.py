"""Announcements that an earlier process has put into the outbox and not released: its record says what becomes of them."""

import asyncio
import json
from collections.abc import Callable

from pawtag.domain.announcements import build_announcement_id
from pawtag.domain.errors import GoneError
from pawtag.domain.records import PhotoRef, Written
from pawtag.pipeline.photo_operations import PhotoOperations
from pawtag.state.outbox import Outbox, OutboxRow

MAX_ROWS = 10_000  # more than may ever be in flight


async def settle_unreleased(outbox: Outbox, find_operations: Callable[[str], PhotoOperations | None]) -> None:
    """Release those whose record is written, and remove the others. Raises TemporaryError.

    Before any photo of this process is in flight.
    """
    await asyncio.to_thread(outbox.adopt, released_only=False)
    for row in await asyncio.to_thread(outbox.list_unreleased, MAX_ROWS):
        operations = find_operations(row.uri)
        try:
            is_written = operations is not None and _is_written(row, *await operations.look(row.uri))
        except GoneError:
            is_written = False
        await (outbox.release(row.id) if is_written else outbox.remove(row.id))


def _is_written(row: OutboxRow, ref: PhotoRef, seen: Written) -> bool:
    """Whether the record that the row announces is there. Tags of an object hold no whole record."""
    stamp = seen.stamp
    if stamp is None or not stamp.describes(ref):
        return False
    if stamp.record:
        return build_announcement_id(ref, stamp.record) == row.id
    return bool(json.loads(row.body)["data"]["fingerprint"] == stamp.fingerprint)
