"""What an output is about to write: it survives a process that ends before the record says so."""

import json
from contextlib import suppress

from pawtag.domain.errors import TemporaryError
from pawtag.domain.records import Json
from pawtag.state.database import StateDatabase, decode_uri, encode_uri


class OutputIntents:
    """The intents of one output, by photo. `open`: the photos that have one."""

    def __init__(self, database: StateDatabase, output: str) -> None:
        """Blocks. Those of a state that cannot be read are not known."""
        self._database, self._output = database, output
        self.open: set[str] = set()
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
        """Keep it until `drop`. Raises TemporaryError."""
        statement = "INSERT OR REPLACE INTO output_intents VALUES (?, ?, ?)"
        self.open.add(uri)
        await self._database.quick.commit_rows(statement, [(encode_uri(uri), self._output, json.dumps(written))])

    async def drop(self, uri: str) -> None:
        """The record says it now. Raises TemporaryError."""
        if uri not in self.open:
            return
        statement = "DELETE FROM output_intents WHERE uri = ? AND output = ?"
        await self._database.quick.commit_rows(statement, [(encode_uri(uri), self._output)])
        self.open.discard(uri)
