"""Photos that are owed a record, and that no folder or queue will name again: pushed, found by a resync, to re-tag."""

from collections.abc import Sequence
from typing import Literal

from pawtag.clock import utc_timestamp
from pawtag.state.database import StateDatabase, encode_uri

OwedReason = Literal["pushed", "retag"]
INSERT = "INSERT OR REPLACE INTO owed VALUES (?, ?, ?, ?)"
DELETE = "DELETE FROM owed WHERE uri = ? AND owner = ?"


class OwedPhotos:
    """The owed photos of this process."""

    def __init__(self, database: StateDatabase) -> None:
        """Nothing is read yet."""
        self._database, self._owner = database, database.owner.name

    async def add_pushed(self, uris: Sequence[str]) -> None:
        """Add photos; they are on the disk when this returns. Raises TemporaryError."""
        rows = [(uri, self._owner, "pushed", utc_timestamp()) for uri in uris]
        await self._database.durable.commit(lambda database: database.executemany(INSERT, rows))

    async def add_retag(self, uri: str) -> None:
        """Add a photo that the fallback has tagged. Raises TemporaryError."""
        row = (uri, self._owner, "retag", utc_timestamp())
        await self._database.quick.commit(lambda database: database.execute(INSERT, row))

    async def remove(self, uri: str, *, keep_retag: bool) -> None:
        """The photo has its record. `keep_retag`: from the fallback, so that it stays to be tagged again."""
        statement = DELETE + " AND reason = 'pushed'" if keep_retag else DELETE
        await self._database.quick.commit(lambda database: database.execute(statement, (uri, self._owner)))

    def adopt(self, uri_prefix: str) -> None:
        """Take over what processes that ended have left, of URIs that begin like this. Blocks. Raises TemporaryError."""
        self._database.owner.find_dead()
        living = self._database.owner.find_living()
        marks = ", ".join("?" * len(living))
        adopted = f"owner NOT IN ({marks}) AND substr(uri, 1, ?) = ?"
        values = (*living, len(uri_prefix), uri_prefix)
        update = f"UPDATE OR REPLACE owed SET owner = ? WHERE {adopted}"  # noqa: S608 - marks alone
        self._database.durable.execute(update, self._owner, *values)

    def list_uris(self, reason: OwedReason, max_photos: int, *, after: str = "") -> list[str]:
        """Photos owed for that reason, by their URIs, from `after` on. Blocks. Raises TemporaryError."""
        rows = self._database.quick.execute(
            "SELECT uri FROM owed WHERE owner = ? AND reason = ? AND uri > ? ORDER BY uri LIMIT ?",
            *(self._owner, reason, after, max_photos),
        )
        return [uri for (uri,) in rows]

    def count(self, reason: OwedReason) -> int:
        """How many there are. Blocks. Raises TemporaryError."""
        statement = "SELECT count(*) FROM owed WHERE owner = ? AND reason = ?"
        return int(self._database.quick.execute(statement, self._owner, reason)[0][0])

    def find(self, uri: str) -> list[tuple[OwedReason, str]]:
        """Why the photo is owed a record to any process, and since when. Blocks. Raises TemporaryError."""
        return [
            (reason, at)
            for reason, at in self._database.quick.execute("SELECT reason, at FROM owed WHERE uri = ?", encode_uri(uri))
        ]
