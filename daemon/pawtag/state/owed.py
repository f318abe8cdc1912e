"""Photos that still need a record ("owed"), and that no folder or queue will name again."""

from collections.abc import Sequence
from typing import Literal

from pawtag.clock import utc_timestamp
from pawtag.state.database import StateDatabase, encode_uri

OwedReason = Literal["pushed", "retag"]
INSERT = "INSERT OR REPLACE INTO owed VALUES (?, ?, ?, ?, ?)"
DELETE = "DELETE FROM owed WHERE uri = ? AND owner = ? AND source = ?"


class OwedPhotos:
    """The photos for which this process must write a record. `source`: their store; stores may use the same names."""

    def __init__(self, database: StateDatabase, source: str) -> None:
        """Nothing is read yet."""
        self._database, self._owner, self._source = database, database.owner.name, source

    async def add(self, uris: Sequence[str], reason: OwedReason) -> None:
        """Add photos; they are on the disk when this returns. Raises TemporaryError."""
        rows = [(uri, self._owner, reason, self._source, utc_timestamp()) for uri in uris]
        await self._database.durable.commit_rows(INSERT, rows)

    async def remove(self, uri: str, *, keep_retag: bool) -> None:
        """The photo has its record. `keep_retag`: the fallback made it, so the photo must still be tagged again."""
        statement = DELETE + " AND reason = 'pushed'" if keep_retag else DELETE
        values = (uri, self._owner, self._source)
        await self._database.quick.commit_rows(statement, [values])

    def adopt(self) -> None:
        """Take over what processes that ended have left of this source. Blocks. Raises TemporaryError."""
        living = self._database.owner.find_living()
        marks = ", ".join("?" * len(living))
        update = f"UPDATE OR REPLACE owed SET owner = ? WHERE source = ? AND owner NOT IN ({marks})"  # noqa: S608 - marks alone
        self._database.durable.execute(update, self._owner, self._source, *living)

    def list_uris(self, reason: OwedReason, max_photos: int, *, after: str = "") -> list[str]:
        """The URIs of photos with this reason, sorted, after the URI `after`. Blocks. Raises TemporaryError."""
        rows = self._database.quick.execute(
            "SELECT uri FROM owed WHERE owner = ? AND source = ? AND reason = ? AND uri > ? ORDER BY uri LIMIT ?",
            *(self._owner, self._source, reason, after, max_photos),
        )
        return [uri for (uri,) in rows]


def find_owed(database: StateDatabase, uri: str) -> list[tuple[OwedReason, str]]:
    """Why the photo still needs a record, and since when. Blocks. Raises TemporaryError."""
    return [
        (reason, at)
        for reason, at in database.quick.execute("SELECT reason, at FROM owed WHERE uri = ?", encode_uri(uri))
    ]
