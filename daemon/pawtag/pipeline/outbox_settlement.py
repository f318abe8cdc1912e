"""Settles announcements in the outbox that were not released: it looks whether the record was written.

Their process ended before the release, or a store did not report whether it had written the record.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass

from pawtag.domain.errors import GoneError, TemporaryError
from pawtag.domain.records import OBJECT_SCHEME, PhotoRef, Written
from pawtag.pipeline.photo_operations import PhotoOperations
from pawtag.state.outbox import Outbox, OutboxRow

log = logging.getLogger(__name__)

MAX_ROWS = 1000
INTERVAL_S = 60.0
MIN_AGE_S = 120.0  # longer than a write takes


@dataclass(frozen=True, slots=True)
class OutboxSettlement:
    """`find_operations`: finds those of a URI's source; `is_missing`: whether a file is gone for good."""

    outbox: Outbox
    find_operations: Callable[[str], PhotoOperations | None]
    is_missing: Callable[[str], bool]

    async def run(self) -> None:
        """Settle again and again, until cancelled."""
        while True:
            try:
                await self.settle()
            except TemporaryError as error:
                log.debug("%s", error)
            except Exception:  # no error may stop later announcements
                log.exception("unexpected error while the outbox was settled")
            await asyncio.sleep(INTERVAL_S)

    async def settle(self) -> None:
        """Release those whose record is written, and discard the others. Raises TemporaryError."""
        for row in await asyncio.to_thread(self.outbox.list_unsettled, MIN_AGE_S, MAX_ROWS):
            operations = self.find_operations(row.uri)
            if operations is None:
                continue  # of another daemon, or of a folder that is not watched any more
            try:
                is_written = _is_written(row, *await operations.look(row.uri))
            except GoneError:
                is_gone = row.uri.startswith(OBJECT_SCHEME) or await asyncio.to_thread(self.is_missing, row.uri)
                if not is_gone:
                    continue
                is_written = False
            except TemporaryError as error:
                log.debug("%s", error)
                continue
            await (self.outbox.release if is_written else self.outbox.discard)(row.id, row.owner)


def _is_written(row: OutboxRow, ref: PhotoRef, seen: Written) -> bool:
    """Whether the record that the row announces is there. Tags of an object hold no whole record."""
    stamp, announced = seen.stamp, json.loads(row.body)["data"]
    if stamp is None or not stamp.describes(ref) or stamp.fingerprint != announced["fingerprint"]:
        return False
    if stamp.record:
        there = stamp.record.to_document()
        return all(there[name] == announced[name] for name in ("status", "tags", "corrected", "photo"))
    return bool((seen.corrections or None) == announced["corrected"])
