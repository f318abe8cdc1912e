"""What an output is about to write: it survives a process that ends before the record says so."""

import json

from pawtag.domain.records import Json
from pawtag.state.database import StateDatabase, decode_uri, encode_uri


class OutputIntents:
    """The intents of one output, by photo."""

    def __init__(self, database: StateDatabase, output: str) -> None:
        """Nothing is read yet."""
        self._database, self._output = database, output

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
        await self._database.quick.commit_rows(statement, [(encode_uri(uri), self._output, json.dumps(written))])

    async def drop(self, uri: str) -> None:
        """The record says it now. Raises TemporaryError."""
        statement = "DELETE FROM output_intents WHERE uri = ? AND output = ?"
        await self._database.quick.commit_rows(statement, [(encode_uri(uri), self._output)])

    def list(self) -> dict[str, Json]:
        """All of them, by URI. Blocks. Raises TemporaryError."""
        rows = self._database.quick.execute("SELECT uri, written FROM output_intents WHERE output = ?", self._output)
        return {decode_uri(uri): json.loads(written) for uri, written in rows}
