"""What an output is about to write. It is stored, because the process may end before it writes the record."""

import asyncio
import json
import sqlite3
from contextlib import suppress

from pawtag.domain.errors import TemporaryError
from pawtag.domain.records import Json
from pawtag.state.database import StateDatabase, decode_uri, encode_uri

REMOVE_AFTER_S = 1.0


class OutputIntents:
    """The intents of one output, by photo. `open`: the photos that have one.

    Settled intents are removed a second later, or with the next `put`, or at the end of the process: another process
    would take them for open ones.
    """

    def __init__(self, database: StateDatabase, output: str) -> None:
        """Blocks. If the state cannot be read, no intents are known."""
        self._database, self._output = database, output
        self.open: set[str] = set()
        self._settled: list[str] = []
        self._removing: asyncio.Task[None] | None = None
        database.on_close.append(self._remove_settled)
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
            if self._removing is None or self._removing.done():
                self._removing = asyncio.create_task(self._remove_settled_later(), name="settled-intents")

    async def drop(self, uri: str) -> None:
        """Remove the intent: the output holds nothing of pawtag now. Raises TemporaryError."""
        if uri in self.open:
            await self._database.quick.commit(lambda database: _replace(database, self._output, [uri], None))
            self.open.discard(uri)

    async def _remove_settled_later(self) -> None:
        await asyncio.sleep(REMOVE_AFTER_S)
        settled, self._settled = self._settled, []
        with suppress(TemporaryError):  # an intent that stays costs one more look at the photo
            await self._database.quick.commit(lambda database: _replace(database, self._output, settled, None))

    def _remove_settled(self) -> None:
        if self._settled:
            with suppress(TemporaryError):
                self._database.quick.run(lambda database: _replace(database, self._output, self._settled, None))


def _replace(
    database: sqlite3.Connection, output: str, settled: list[str], row: tuple[str | bytes, str, str] | None
) -> None:
    rows = [(encode_uri(uri), output) for uri in settled]
    database.executemany("DELETE FROM output_intents WHERE uri = ? AND output = ?", rows).close()
    if row:
        database.execute("INSERT OR REPLACE INTO output_intents VALUES (?, ?, ?)", row).close()
