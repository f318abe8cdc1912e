"""Recent results: the last records, and all failed and unsure ones."""

import asyncio
import itertools
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from pawtag.domain.errors import TemporaryError
from pawtag.domain.outcomes import Outcome, PhotoFailed, PhotoSkipped, PhotoTagged
from pawtag.domain.records import TagRecord
from pawtag.state.database import StateDatabase, decode_uri, encode_uri

# Its number, which orders the results, and the record.
Result = tuple[int, TagRecord]
WRITE_INTERVAL_S = 1.0
MAX_SETTLED = 10_000  # tagged, and without a pet
MAX_UNSETTLED = 100_000  # failed and unsure: a library of broken photos must not fill the disk
MAX_UNWRITTEN = 10_000


class RecentResults:
    """An observer that keeps the newest record of each photo, in batches. What is lost with the process is only a view."""

    def __init__(self, database: StateDatabase) -> None:
        """Nothing is written before `keep`."""
        self._database = database
        self._numbers = itertools.count(time.time_ns())
        self._unwritten: dict[str, Result | None] = {}

    def __call__(self, outcome: Outcome) -> None:
        """Note one outcome. A request has no URI, and a photo that is gone has no result."""
        if isinstance(outcome, PhotoTagged | PhotoFailed) and outcome.record.source.kind != "request":
            self._note(outcome.ref.uri, (next(self._numbers), outcome.record))
        elif isinstance(outcome, PhotoSkipped) and outcome.reason == "gone" and outcome.ref:
            self._note(outcome.ref.uri, None)

    @asynccontextmanager
    async def keep(self) -> AsyncIterator["RecentResults"]:
        """Write what was noted every second while the context lasts, and the rest at its end."""
        writing = asyncio.create_task(self._write_repeatedly(), name="results")
        try:
            yield self
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            with suppress(TemporaryError):
                await self.write()

    async def write(self) -> None:
        """Write what was noted. Raises TemporaryError."""
        noted, self._unwritten = self._unwritten, {}
        if noted:
            await self._database.quick.commit(lambda database: _write(database, noted))

    def count_failures(self) -> dict[str, int]:
        """The failed photos by their error code. Blocks. Raises TemporaryError."""
        statement = (
            "SELECT json_extract(record, '$.error.code'), count(*) FROM results WHERE status = 'failed'"
            " GROUP BY 1 ORDER BY 2 DESC"
        )
        return dict(self._database.quick.execute(statement))

    def forget_missing(self, is_missing: Callable[[str], bool]) -> None:
        """Drop failed and unsure photos that are not there any more. Blocks. Raises TemporaryError."""
        rows = self._database.quick.execute("SELECT uri FROM results WHERE status IN ('failed', 'unsure')")
        for (uri,) in rows:
            if is_missing(decode_uri(uri)):
                self._database.quick.execute("DELETE FROM results WHERE uri = ?", uri)

    def list_records(self, status: str | None = None, max_results: int = 100) -> list[dict[str, Any]]:
        """The newest records, with their URIs, newest first. Blocks. Raises TemporaryError."""
        chosen = "" if status is None else "WHERE status = ?"
        values = () if status is None else (status,)
        statement = f"SELECT uri, record FROM results {chosen} ORDER BY number DESC LIMIT ?"  # noqa: S608 - marks alone
        rows = self._database.quick.execute(statement, *values, max_results)
        return [{"uri": decode_uri(uri), "record": json.loads(record)} for uri, record in rows]

    def _note(self, uri: str, row: Result | None) -> None:
        self._unwritten.pop(uri, None)
        if len(self._unwritten) < MAX_UNWRITTEN:
            self._unwritten[uri] = row

    async def _write_repeatedly(self) -> None:
        while True:
            await asyncio.sleep(WRITE_INTERVAL_S)
            with suppress(TemporaryError):  # a full disk is named by what must be written
                await self.write()


def _write(database: sqlite3.Connection, noted: dict[str, Result | None]) -> None:
    gone = [(encode_uri(uri),) for uri, row in noted.items() if row is None]
    rows = [
        (encode_uri(uri), row[0], row[1].status, row[1].model_dump_json(by_alias=True))
        for uri, row in noted.items()
        if row
    ]
    database.executemany("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?)", rows)
    database.executemany("DELETE FROM results WHERE uri = ?", gone)
    for statuses, maximum in (("'tagged', 'no-pet'", MAX_SETTLED), ("'failed', 'unsure'", MAX_UNSETTLED)):
        (count,) = database.execute(f"SELECT count(*) FROM results WHERE status IN ({statuses})").fetchone()  # noqa: S608
        if count > maximum + maximum // 10:
            database.execute(
                f"DELETE FROM results WHERE status IN ({statuses}) AND number <= (SELECT number FROM results"  # noqa: S608
                f" WHERE status IN ({statuses}) ORDER BY number DESC LIMIT 1 OFFSET ?)",
                (maximum,),
            )
