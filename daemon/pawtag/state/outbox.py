"""The outbox: what other systems must still be told."""

import time
from dataclasses import dataclass

from pawtag.state.database import StateDatabase, decode_uri, encode_uri

MAX_ROWS = 100_000  # of all owners: a receiver that is away must not fill the disk
MAX_AGE_S = 7 * 24 * 3600.0
INSERT = "INSERT OR REPLACE INTO outbox VALUES (?, ?, ?, 0, 0, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One announcement: its id, the photo, how often it was tried, its body."""

    id: str
    uri: str
    attempt: int
    body: str


class Outbox:
    """Rows of this process. One that is put in is sent once it is released. Methods that are not `async` block."""

    def __init__(self, database: StateDatabase) -> None:
        """Nothing is read yet."""
        self._database, self._owner = database, database.owner.name

    async def put(self, row: OutboxRow) -> None:
        """Put a row in; it is on the disk when this returns. Raises TemporaryError."""
        now = time.time()
        values = (row.id, encode_uri(row.uri), self._owner, now, now, row.body)
        await self._database.durable.commit_rows(INSERT, [values])

    async def release(self, row_id: str) -> None:
        """The record is written: the row may be sent. Raises TemporaryError."""
        await self._change("UPDATE outbox SET released = 1 WHERE id = ? AND owner = ?", row_id, self._owner)

    async def remove(self, row_id: str) -> None:
        """It was sent, or must not be. Raises TemporaryError."""
        await self._change("DELETE FROM outbox WHERE id = ? AND owner = ?", row_id, self._owner)

    async def postpone(self, row: OutboxRow, delay_s: float) -> None:
        """Try it again after `delay_s`. Raises TemporaryError."""
        statement = "UPDATE outbox SET attempt = ?, due_at = ? WHERE id = ? AND owner = ?"
        await self._change(statement, row.attempt + 1, time.time() + delay_s, row.id, self._owner)

    def list_due(self, max_rows: int) -> list[OutboxRow]:
        """Released rows to send now, the oldest first. Raises TemporaryError."""
        return self._list("released = 1 AND due_at <= ? ORDER BY created_at LIMIT ?", time.time(), max_rows)

    def list_unreleased(self, max_rows: int) -> list[OutboxRow]:
        """Rows whose record may be written or not: their process ended between the two. Raises TemporaryError."""
        return self._list("released = 0 ORDER BY created_at LIMIT ?", max_rows)

    def count(self) -> int:
        """How many wait, of all processes. Raises TemporaryError."""
        return int(self._database.quick.execute("SELECT count(*) FROM outbox")[0][0])

    def adopt(self, *, released_only: bool) -> None:
        """Take over what processes that ended have left. Raises TemporaryError."""
        living = self._database.owner.find_living()
        marks = ", ".join("?" * len(living))
        chosen = "released = 1 AND" if released_only else ""
        update = f"UPDATE OR REPLACE outbox SET owner = ? WHERE {chosen} owner NOT IN ({marks})"  # noqa: S608 - marks alone
        self._database.durable.execute(update, self._owner, *living)

    def drop_oldest(self) -> int:
        """Drop what is too old, and the oldest where there is too much; returns how many. Raises TemporaryError."""
        before = self.count()
        self._database.quick.execute("DELETE FROM outbox WHERE created_at < ?", time.time() - MAX_AGE_S)
        self._database.quick.execute(
            "DELETE FROM outbox WHERE rowid IN (SELECT rowid FROM outbox ORDER BY created_at DESC LIMIT -1 OFFSET ?)",
            MAX_ROWS,
        )
        return before - self.count()

    def _list(self, condition: str, *values: object) -> list[OutboxRow]:
        rows = self._database.quick.execute(
            f"SELECT id, uri, attempt, body FROM outbox WHERE owner = ? AND {condition}",  # noqa: S608 - marks alone
            self._owner,
            *values,
        )
        return [OutboxRow(row_id, decode_uri(uri), attempt, body) for row_id, uri, attempt, body in rows]

    async def _change(self, statement: str, *values: object) -> None:
        await self._database.quick.commit_rows(statement, [values])
