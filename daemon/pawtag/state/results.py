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
from functools import lru_cache
from typing import Any

from pawtag.clock import utc_timestamp
from pawtag.domain.errors import TemporaryError
from pawtag.domain.outcomes import Outcome, PhotoFailed, PhotoSkipped, PhotoTagged
from pawtag.domain.records import TagRecord
from pawtag.state.database import StateDatabase, decode_uri, encode_uri

WRITE_INTERVAL_S = 1.0
MAX_SETTLED = 10_000  # tagged, and without a pet
MAX_UNSETTLED = 100_000  # failed and unsure: a library of broken photos must not fill the disk
MAX_UNWRITTEN = 10_000
MAX_UNWRITTEN_S = 60.0  # between the time in a record and its row, generously
NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class RecentResult:
    """The newest record of a photo, None where the photo is gone. `number` orders all results; later ones are higher."""

    number: int
    uri: str
    record: TagRecord | None

    @property
    def photo_id(self) -> str:
        """See `build_photo_id`."""
        return build_photo_id(self.uri)


@lru_cache(maxsize=MAX_UNWRITTEN)
def build_photo_id(uri: str) -> str:
    """A name of the photo that says nothing about its place: 32 hex digits of a digest of the URI."""
    return hashlib.sha256(os.fsencode(uri)).hexdigest()[:32]


OnResult = Callable[[RecentResult], None]


class RecentResults:
    """An observer that keeps the newest record of each photo, and writes them in batches.

    The rows are only a view of the records: a crash loses nothing else. `on_result` is called at once with each result.
    """

    def __init__(self, database: StateDatabase, on_result: OnResult = lambda _: None) -> None:
        """Nothing is written before `keep`. Blocks."""
        self._database, self._on_result = database, on_result
        last = 0
        with suppress(TemporaryError):  # of a state that cannot be read nothing is shown
            last = int(database.quick.execute("SELECT coalesce(max(number), 0) FROM results")[0][0])
        self._numbers = itertools.count(max(time.time_ns(), last + 1))  # the clock may have been ahead
        # Later records may be missing: an earlier process did not write them, or a command did. A scan finds them.
        self._known_until = utc_timestamp(last / NS_PER_S - time.time() - MAX_UNWRITTEN_S) if last else ""
        self._room = MAX_SETTLED
        self._found: dict[int, int] = {}  # hash of a URI: hash of the record that was found last
        self._unwritten: dict[str, RecentResult] = {}
        self._being_written: dict[str, RecentResult] = {}
        self._writing = asyncio.Lock()
        self.reload_before = next(self._numbers)
        """A reader whose last number is lower must read the list again, because photos have gone since."""

    def __call__(self, outcome: Outcome) -> None:
        """Note one outcome. A request that is not kept has no URI, and a photo that is gone has no result."""
        if isinstance(outcome, PhotoTagged | PhotoFailed) and outcome.ref.uri:
            self._found.pop(hash(outcome.ref.uri), None)
            self._note(RecentResult(next(self._numbers), outcome.ref.uri, outcome.record))
        elif isinstance(outcome, PhotoSkipped) and outcome.reason == "gone" and outcome.ref:
            self.reload_before = next(self._numbers)
            self._note(RecentResult(self.reload_before, outcome.ref.uri, None))
        elif isinstance(outcome, PhotoSkipped) and outcome.record and outcome.ref:
            self.note_found(outcome.ref.uri, outcome.record)

    def wants(self, uri: str, record: TagRecord) -> bool:
        """Whether to note a record that a scan finds: it is failed, unsure or new, and not noted yet.

        Any thread may call it. It must be cheap, because each rescan asks for each failed photo.
        """
        is_new = self._room > 0 and record.tagged_at > self._known_until
        is_kept = is_new or record.status in ("failed", "unsure")
        return is_kept and self._found.get(hash(uri)) != _hash_record(record)

    def note_found(self, uri: str, record: TagRecord) -> None:
        """Note a record that was written before: by an earlier start, by a command, by hand. Looks it up once."""
        found = _hash_record(record)
        if self._found.get(hash(uri)) == found:
            return
        if len(self._found) >= MAX_UNSETTLED:
            self._found.clear()
        self._found[hash(uri)] = found
        self._room -= record.status not in ("failed", "unsure")
        with suppress(TemporaryError):  # a view: what is not shown now is shown after the next change
            known = self._noted.get(uri) or next(iter(self._find("WHERE uri = ?", encode_uri(uri))), None)
            if known is None or known.record != record:
                self._note(RecentResult(next(self._numbers), uri, record))

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
        """Write what was noted. If another call is writing, this waits for it first. Raises TemporaryError."""
        async with self._writing:
            noted = self._being_written = self._unwritten
            self._unwritten = {}
            try:
                if noted:
                    await self._database.quick.commit(lambda database: _write(database, noted.values()))
            except TemporaryError:
                self._unwritten = noted | self._unwritten
                raise
            finally:
                self._being_written = {}

    def count_failures(self) -> dict[str, int]:
        """The failed photos by their error code. Blocks. Raises TemporaryError."""
        statement = "SELECT code, count(*) FROM results WHERE status = 'failed' GROUP BY 1 ORDER BY 2 DESC"
        return dict(self._database.quick.execute(statement))

    def forget_missing(self, is_missing: Callable[[str], bool]) -> None:
        """Drop photos that are not there any more. Blocks. Raises TemporaryError."""
        for (uri,) in self._database.quick.execute("SELECT uri FROM results"):
            if is_missing(decode_uri(uri)):
                self._database.quick.execute("DELETE FROM results WHERE uri = ?", uri)

    def list_newest(
        self, status: str | None = None, max_results: int = 100, before: int | None = None, code: str | None = None
    ) -> list[RecentResult]:
        """The newest results, newest first; with `before` those of lower numbers. Blocks. Raises TemporaryError."""
        given = {"number < ?": before, "status = ?": status, "code = ?": code}
        chosen = [condition for condition, value in given.items() if value is not None]
        values = [value for value in given.values() if value is not None]
        return self._find(f"{_build_where(chosen)} ORDER BY number DESC LIMIT ?", *values, max_results)

    def list_after(self, number: int, max_results: int) -> list[RecentResult]:
        """The results of higher numbers, oldest first. Blocks. Raises TemporaryError."""
        return self._find("WHERE number > ? ORDER BY number LIMIT ?", number, max_results)

    def take_number(self) -> int:
        """A number above all so far."""
        return next(self._numbers)

    def list_uris(self, status: str) -> list[str]:
        """The photos of that status. Blocks. Raises TemporaryError."""
        rows = self._database.quick.execute("SELECT uri FROM results WHERE status = ?", status)
        return [decode_uri(uri) for (uri,) in rows]

    async def find(self, photo_id: str) -> RecentResult | None:
        """The result of one photo, also one that is not written yet. Raises TemporaryError."""
        noted = next((result for result in self._noted.values() if result.photo_id == photo_id), None)
        if noted:
            return noted
        found = await asyncio.to_thread(self._find, "WHERE id = ?", photo_id)
        return found[0] if found else None

    def _find(self, condition: str, *values: object) -> list[RecentResult]:
        rows = self._database.quick.execute(f"SELECT number, uri, record FROM results {condition}", *values)  # noqa: S608 - marks alone
        return [
            RecentResult(number, decode_uri(uri), TagRecord.model_validate_json(record)) for number, uri, record in rows
        ]

    @property
    def _noted(self) -> dict[str, RecentResult]:
        """What is not in the database yet."""
        return self._being_written | self._unwritten

    def _note(self, result: RecentResult) -> None:
        self._unwritten.pop(result.uri, None)
        if len(self._unwritten) < MAX_UNWRITTEN:
            self._unwritten[result.uri] = result
        self._on_result(result)

    async def _write_repeatedly(self) -> None:
        while True:
            await asyncio.sleep(WRITE_INTERVAL_S)
            with suppress(TemporaryError):  # code that must write reports a full disk
                await self.write()


def _hash_record(record: TagRecord) -> int:
    return hash((record.tagged_at, record.status, str(record.corrected)))


def _build_where(conditions: list[str]) -> str:
    return f"WHERE {' AND '.join(conditions)}" if conditions else ""


def _write(database: sqlite3.Connection, noted: Iterable[RecentResult]) -> None:
    gone = [(encode_uri(result.uri),) for result in noted if result.record is None]
    rows = [_build_row(result, result.record) for result in noted if result.record]
    database.executemany("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?)", rows)
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
        record.error.code if record.error else None,
        record.model_dump_json(by_alias=True),
    )
