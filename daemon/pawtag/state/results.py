"""Recent results: the last records, and all failed and unsure ones."""

import asyncio
import hashlib
import itertools
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from pawtag.domain.errors import TemporaryError
from pawtag.domain.outcomes import Outcome, PhotoFailed, PhotoSkipped, PhotoTagged
from pawtag.domain.records import TagRecord
from pawtag.state.database import StateDatabase, decode_uri, encode_uri

WRITE_INTERVAL_S = 1.0
MAX_SETTLED = 10_000  # tagged, and without a pet
MAX_UNSETTLED = 100_000  # failed and unsure: a library of broken photos must not fill the disk
MAX_UNWRITTEN = 10_000


@dataclass(frozen=True, slots=True)
class RecentResult:
    """The newest record of a photo, None where the photo is gone. `number` orders all results; later ones are higher."""

    number: int
    uri: str
    record: TagRecord | None

    @property
    def photo_id(self) -> str:
        """A name of the photo that says nothing about its place: 32 hex digits of a digest of the URI."""
        return hashlib.sha256(os.fsencode(self.uri)).hexdigest()[:32]


OnResult = Callable[[RecentResult], None]


class RecentResults:
    """An observer that keeps the newest record of each photo, in batches. What is lost with the process is only a view.

    `on_result` is called at once with each.
    """

    def __init__(self, database: StateDatabase, on_result: OnResult = lambda _: None) -> None:
        """Nothing is written before `keep`."""
        self._database, self._on_result = database, on_result
        self._numbers = itertools.count(time.time_ns())
        self._unwritten: dict[str, RecentResult] = {}
        self._writing = asyncio.Lock()

    def __call__(self, outcome: Outcome) -> None:
        """Note one outcome. A request that is not kept has no URI, and a photo that is gone has no result."""
        if isinstance(outcome, PhotoTagged | PhotoFailed) and outcome.ref.uri:
            self._note(RecentResult(next(self._numbers), outcome.ref.uri, outcome.record))
        elif isinstance(outcome, PhotoSkipped) and outcome.reason == "gone" and outcome.ref:
            self._note(RecentResult(next(self._numbers), outcome.ref.uri, None))

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
        """Write what was noted; what another call is writing is written, too, when this returns. Raises TemporaryError."""
        async with self._writing:
            noted, self._unwritten = self._unwritten, {}
            if noted:
                await self._database.quick.commit(lambda database: _write(database, noted.values()))

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

    def list_newest(
        self, status: str | None = None, max_results: int = 100, before: int | None = None
    ) -> list[RecentResult]:
        """The newest results, newest first; with `before` those of lower numbers. Blocks. Raises TemporaryError."""
        chosen = ["number < ?"] if before is not None else []
        chosen += ["status = ?"] if status is not None else []
        values = [value for value in (before, status) if value is not None]
        return self._find(f"{_build_where(chosen)} ORDER BY number DESC LIMIT ?", *values, max_results)

    def list_after(self, number: int, max_results: int) -> list[RecentResult]:
        """The results of higher numbers, oldest first. Blocks. Raises TemporaryError."""
        return self._find("WHERE number > ? ORDER BY number LIMIT ?", number, max_results)

    def find_last_number(self) -> int:
        """The highest number so far; 0 without results. Blocks. Raises TemporaryError."""
        return int(self._database.quick.execute("SELECT coalesce(max(number), 0) FROM results")[0][0])

    def find(self, photo_id: str) -> RecentResult | None:
        """The result of one photo. Blocks. Raises TemporaryError."""
        return next(iter(self._find("WHERE id = ?", photo_id)), None)

    def _find(self, condition: str, *values: object) -> list[RecentResult]:
        rows = self._database.quick.execute(f"SELECT number, uri, record FROM results {condition}", *values)  # noqa: S608 - marks alone
        return [
            RecentResult(number, decode_uri(uri), TagRecord.model_validate_json(record)) for number, uri, record in rows
        ]

    def _note(self, result: RecentResult) -> None:
        self._unwritten.pop(result.uri, None)
        if len(self._unwritten) < MAX_UNWRITTEN:
            self._unwritten[result.uri] = result
        self._on_result(result)

    async def _write_repeatedly(self) -> None:
        while True:
            await asyncio.sleep(WRITE_INTERVAL_S)
            with suppress(TemporaryError):  # a full disk is named by what must be written
                await self.write()


def _build_where(conditions: list[str]) -> str:
    return f"WHERE {' AND '.join(conditions)}" if conditions else ""


def _write(database: sqlite3.Connection, noted: Iterable[RecentResult]) -> None:
    gone = [(encode_uri(result.uri),) for result in noted if result.record is None]
    rows = [_build_row(result, result.record) for result in noted if result.record]
    database.executemany("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?)", rows)
    database.executemany("DELETE FROM results WHERE uri = ?", gone)
    for statuses, maximum in (("'tagged', 'no-pet'", MAX_SETTLED), ("'failed', 'unsure'", MAX_UNSETTLED)):
        (count,) = database.execute(f"SELECT count(*) FROM results WHERE status IN ({statuses})").fetchone()  # noqa: S608
        if count > maximum + maximum // 10:
            database.execute(
                f"DELETE FROM results WHERE status IN ({statuses}) AND number <= (SELECT number FROM results"  # noqa: S608
                f" WHERE status IN ({statuses}) ORDER BY number DESC LIMIT 1 OFFSET ?)",
                (maximum,),
            )


def _build_row(result: RecentResult, record: TagRecord) -> tuple[Any, ...]:
    """In the order of the columns."""
    return (
        encode_uri(result.uri),
        result.photo_id,
        result.number,
        record.status,
        record.model_dump_json(by_alias=True),
    )
