"""What an output is about to write. It is stored, because the process may end before it writes the record."""

import json
import sqlite3
from contextlib import suppress

from pawtag.domain.errors import TemporaryError
from pawtag.domain.records import Json
from pawtag.state.database import StateDatabase, decode_uri, encode_uri


class OutputIntents:
    """The intents of one output, by photo. `open`: the photos that have one.

    `put` also removes the settled intents. Until then they do no harm: the record says the same.
    """

    def __init__(self, database: StateDatabase, output: str) -> None:
        """Blocks. If the state cannot be read, no intents are known."""
        self._database, self._output = database, output
        self.open: set[str] = set()
        self._settled: list[str] = []
        with suppress(TemporaryError):
            rows = database.quick.execute("SELECT uri FROM output_intents WHERE output = ?", output)
            self.open = {decode_uri(uri) for (uri,) in rows}

    async def get(self, uri: str) -> Json:
        """What was put for the photo; None for nothing. Raises TemporaryError."""
        statement = "SELECT written FROM output_intents WHERE uri = ? AND output = ?"
        rows = await self._database.quick.commit(
            lambda database: database.execute(statement, (encode_uri(uri), self._output)).fetchall()
        )
        return json.loads(rows[0][0]) if rows else None

    async def put(self, uri: str, written: Json) -> None:
        """Keep it until it is settled. Raises TemporaryError."""
        self.open.add(uri)
        settled, self._settled = self._settled, []
        row = (encode_uri(uri), self._output, json.dumps(written))
        await self._database.quick.commit(lambda database: _replace(database, self._output, settled, row))

    def settle(self, uri: str) -> None:
        """The record is written, so the intent is not needed any more."""
        if uri in self.open:
            self.open.discard(uri)
            self._settled.append(uri)

    async def drop(self, uri: str) -> None:
        """Remove the intent: the output holds nothing of pawtag now. Raises TemporaryError."""
        if uri in self.open:
            await self._database.quick.commit(lambda database: _replace(database, self._output, [uri], None))
            self.open.discard(uri)


def _replace(
    database: sqlite3.Connection, output: str, settled: list[str], row: tuple[str | bytes, str, str] | None
) -> None:
    rows = [(encode_uri(uri), output) for uri in settled]
    database.executemany("DELETE FROM output_intents WHERE uri = ? AND output = ?", rows).close()
    if row:
        database.execute("INSERT OR REPLACE INTO output_intents VALUES (?, ?, ?)", row).close()
