"""The outbox: announcements that other systems have not received yet."""

import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass

from pawtag.state.database import StateDatabase, decode_uri, encode_uri

MAX_ROWS = 100_000  # of all owners: a receiver that is away must not fill the disk
MAX_AGE_S = 7 * 24 * 3600.0
MIN_ATTEMPTS = 20  # a row with fewer attempts is never too old: the clock may have been wrong, or the daemon stopped
MAX_WAIT_S = 2 * 3600.0  # a row that is due later than that was put off by a wrong clock
# A row that waits already keeps its place, and gets the new body.
INSERT = """
INSERT INTO outbox VALUES (?, ?, ?, 0, 0, ?, 0, ?) ON CONFLICT (id, owner) DO UPDATE SET body = excluded.body
"""
COLUMNS = "id, owner, uri, attempt, body"


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One announcement: its id, whose it is, the photo, how often it was tried, its body."""

    id: str
    owner: str
    uri: str
    attempt: int
    body: str


class Outbox:
    """The rows of this process. A new row is sent only after its release. Methods that are not `async` block."""

    def __init__(self, database: StateDatabase) -> None:
        """Nothing is read yet."""
        self._database, self._owner = database, database.owner.name

    async def put(self, row_id: str, uri: str, body: str) -> None:
        """Put an announcement in; it is on the disk when this returns. Raises TemporaryError."""
        values = (row_id, encode_uri(uri), self._owner, time.time(), body)
        await self._database.durable.commit_rows(INSERT, [values])

    async def release(self, row_id: str, owner: str | None = None) -> None:
        """The record is written: this process may send the row. Raises TemporaryError."""
        statement = "UPDATE OR REPLACE outbox SET released = 1, owner = ? WHERE id = ? AND owner = ?"
        await self._change(statement, self._owner, row_id, owner or self._owner)

    async def discard(self, row_id: str, owner: str | None = None) -> None:
        """The record is not written, and the row was not released. Raises TemporaryError."""
        statement = "DELETE FROM outbox WHERE id = ? AND owner = ? AND released = 0"
        await self._change(statement, row_id, owner or self._owner)

    async def remove(self, row: OutboxRow) -> None:
        """It was sent. Raises TemporaryError."""
        await self._change("DELETE FROM outbox WHERE id = ? AND owner = ?", row.id, row.owner)

    async def postpone(self, row: OutboxRow, delay_s: float) -> None:
        """Try it again after `delay_s`. Raises TemporaryError."""
        statement = "UPDATE outbox SET attempt = ?, due_at = ? WHERE id = ? AND owner = ?"
        await self._change(statement, row.attempt + 1, time.time() + delay_s, row.id, row.owner)

    def list_due(self, max_rows: int) -> list[OutboxRow]:
        """Released rows to send now, those that wait longest first. Raises TemporaryError."""
        now = time.time()
        condition = "owner = ? AND released = 1 AND (due_at <= ? OR due_at > ?) ORDER BY due_at LIMIT ?"
        return self._list(condition, self._owner, now, now + MAX_WAIT_S, max_rows)

    def list_unsettled(self, min_age_s: float, max_rows: int) -> list[OutboxRow]:
        """Rows that should be released by now: those of ended processes, and own rows older than `min_age_s`.

        Raises TemporaryError.
        """
        living = self._database.owner.find_living()
        marks = ", ".join("?" * len(living))
        condition = f"released = 0 AND (owner NOT IN ({marks}) OR (owner = ? AND abs(? - created_at) > ?)) LIMIT ?"
        return self._list(condition, *living, self._owner, time.time(), min_age_s, max_rows)

    def count(self) -> int:
        """How many wait, of all processes. Raises TemporaryError."""
        return int(self._database.quick.execute("SELECT count(*) FROM outbox")[0][0])

    def adopt(self) -> None:
        """Take over the released rows of processes that ended. Raises TemporaryError."""
        living = self._database.owner.find_living()
        marks = ", ".join("?" * len(living))
        update = f"UPDATE OR REPLACE outbox SET owner = ? WHERE released = 1 AND owner NOT IN ({marks})"  # noqa: S608 - marks alone
        self._database.durable.execute(update, self._owner, *living)

    def drop_oldest(self) -> int:
        """Drop rows that are too old, and the oldest of too many; returns how many. Raises TemporaryError."""
        return self._database.quick.run(_drop_oldest)

    def _list(self, condition: str, *values: object) -> list[OutboxRow]:
        rows: Iterable[tuple[str, str, str | bytes, int, str]] = self._database.quick.execute(
            f"SELECT {COLUMNS} FROM outbox WHERE {condition}",  # noqa: S608 - marks alone
            *values,
        )
        return [OutboxRow(row_id, owner, decode_uri(uri), attempt, body) for row_id, owner, uri, attempt, body in rows]

    async def _change(self, statement: str, *values: object) -> None:
        await self._database.quick.commit_rows(statement, [values])


def _drop_oldest(database: sqlite3.Connection) -> int:
    old = database.execute(
        "DELETE FROM outbox WHERE created_at < ? AND attempt > ?", (time.time() - MAX_AGE_S, MIN_ATTEMPTS)
    )
    too_many = database.execute(
        "DELETE FROM outbox WHERE rowid IN (SELECT rowid FROM outbox ORDER BY created_at DESC LIMIT -1 OFFSET ?)",
        (MAX_ROWS,),
    )
    return old.rowcount + too_many.rowcount
