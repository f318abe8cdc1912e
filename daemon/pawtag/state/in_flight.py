"""Photos in flight: which ones a process was at work on when it ended."""

import asyncio
import logging
import sqlite3

from pawtag.clock import utc_timestamp
from pawtag.domain.errors import TemporaryError
from pawtag.state.database import StateDatabase, decode_uri, encode_uri

log = logging.getLogger(__name__)

INSERT = "INSERT OR REPLACE INTO in_flight VALUES (?, ?, ?)"
DELETE = "DELETE FROM in_flight WHERE uri = ? AND owner = ?"
FLUSH_DELAY_S = 0.2


class InFlightPhotos:
    """The photos that this process is at work on. A row outlives the process. Lives on the event loop."""

    def __init__(self, database: StateDatabase) -> None:
        """Nothing is written yet."""
        self._database, self._owner = database, database.owner.name
        self._ended: set[str] = set()
        self._flushing: asyncio.Task[None] | None = None

    async def begin(self, uri: str) -> None:
        """Note that the photo is in flight; written when this returns. If the state has a fault, tagging goes on."""
        self._ended.discard(uri)
        await self._write([uri])

    def end(self, uri: str) -> None:
        """Note that the photo is not in flight any more. Its row is removed soon, in one transaction with others."""
        self._ended.add(uri)
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush_soon(), name="in-flight")

    async def flush(self) -> None:
        """Write what has ended, at once."""
        if self._flushing:
            self._flushing.cancel()
        await self._write([])

    def take_abandoned(self) -> list[str]:
        """The photos of processes that ended without a clean shutdown; their rows are removed. Blocks."""
        living = self._database.owner.find_living()
        marks = ", ".join("?" * len(living))
        statement = f"DELETE FROM in_flight WHERE owner NOT IN ({marks}) RETURNING uri"  # noqa: S608 - marks alone
        return [decode_uri(uri) for (uri,) in self._database.quick.execute(statement, *living)]

    async def _flush_soon(self) -> None:
        await asyncio.sleep(FLUSH_DELAY_S)
        await self._write([])

    async def _write(self, begun: list[str]) -> None:
        ended, self._ended = self._ended, set()
        gone = [(encode_uri(uri), self._owner) for uri in ended]
        rows = [(encode_uri(uri), self._owner, utc_timestamp()) for uri in begun]

        def work(database: sqlite3.Connection) -> None:
            database.executemany(DELETE, gone)
            database.executemany(INSERT, rows)

        try:
            await self._database.quick.commit(work)
        except TemporaryError as error:
            log.debug("%s", error)
