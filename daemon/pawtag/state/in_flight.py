"""Photos in flight: which ones a process was at work on when it ended."""

import logging

from pawtag.clock import utc_timestamp
from pawtag.domain.errors import TemporaryError
from pawtag.state.database import StateDatabase, decode_uri, encode_uri

log = logging.getLogger(__name__)


class InFlightPhotos:
    """The photos that this process is at work on. A row outlives the process."""

    def __init__(self, database: StateDatabase) -> None:
        """Nothing is written yet."""
        self._database, self._owner = database, database.owner.name

    async def begin(self, uri: str) -> None:
        """The photo is in flight; that is written when this returns. Without space for it, tagging goes on."""
        row = (encode_uri(uri), self._owner, utc_timestamp())
        statement = "INSERT OR REPLACE INTO in_flight VALUES (?, ?, ?)"
        await self._write(statement, row)

    async def end(self, uri: str) -> None:
        """The photo is not in flight any more."""
        statement = "DELETE FROM in_flight WHERE uri = ? AND owner = ?"
        await self._write(statement, (encode_uri(uri), self._owner))

    def take_abandoned(self) -> list[str]:
        """The photos that processes were at work on which ended without a word; their rows go. Blocks."""
        self._database.owner.find_dead()
        living = self._database.owner.find_living()
        marks = ", ".join("?" * len(living))
        statement = f"DELETE FROM in_flight WHERE owner NOT IN ({marks}) RETURNING uri"  # noqa: S608 - marks alone
        return [decode_uri(uri) for (uri,) in self._database.quick.execute(statement, *living)]

    async def _write(self, statement: str, values: tuple[object, ...]) -> None:
        try:
            await self._database.quick.commit(lambda database: database.execute(statement, values))
        except TemporaryError as error:
            log.debug("%s", error)
