"""Messages that cannot be used, for a person to look at."""

from collections.abc import Iterator
from typing import Any

from pawtag.clock import utc_timestamp
from pawtag.state.database import StateDatabase

COLUMNS = ("at", "queue", "receives", "reason", "body")
MAX_LETTERS = 10_000
MAX_BODY_CHARS = 256 * 1024  # SQS's largest message


class DeadLetters:
    """The dead letters, whoever wrote them; the oldest go when there are too many."""

    def __init__(self, database: StateDatabase) -> None:
        """Nothing is read yet."""
        self._database = database

    def add(self, queue: str, reason: str, body: str, receives: int | None = None) -> None:
        """Add one; it is on the disk when this returns. Blocks. Raises TemporaryError."""
        row = (utc_timestamp(), queue, receives, reason, body[:MAX_BODY_CHARS])
        self._database.durable.execute(
            "INSERT INTO dead_letters (at, queue, receives, reason, body) VALUES (?, ?, ?, ?, ?)", *row
        )
        self._database.durable.execute(
            "DELETE FROM dead_letters WHERE id <= (SELECT max(id) FROM dead_letters) - ?", MAX_LETTERS
        )

    def count(self) -> int:
        """How many there are. Blocks. Raises TemporaryError."""
        ((count,),) = self._database.quick.execute("SELECT count(*) FROM dead_letters")
        return int(count)

    def list_letters(self) -> Iterator[dict[str, Any]]:
        """All of them, oldest first. Blocks. Raises TemporaryError."""
        statement = "SELECT at, queue, receives, reason, body FROM dead_letters ORDER BY id"
        for row in self._database.quick.execute(statement):
            yield dict(zip(COLUMNS, row, strict=True))
