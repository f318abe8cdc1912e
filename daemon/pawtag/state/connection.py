"""A connection to the state: any thread may use it, and callers at the same time share a transaction."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pawtag.domain.errors import TemporaryError

Result = TypeVar("Result")
Work = Callable[[sqlite3.Connection], Result]

BUSY_TIMEOUT_S = 10.0
MAX_GROUP = 1000


class Connection:
    """One connection, which any thread may use. Faults of the disk are TemporaryError."""

    def __init__(self, path: str, synchronous: Literal["FULL", "NORMAL", "OFF"], mode: str | None = None) -> None:
        """Raises sqlite3.Error."""
        self._path, self._lock = path, threading.Lock()
        self._database = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, check_same_thread=False, isolation_level=None)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="state")
        self._pending: list[tuple[Work[Any], asyncio.Future[Any]]] = []
        self._committing: asyncio.Task[None] | None = None
        try:
            self._database.execute(f"PRAGMA synchronous = {synchronous}")
            if mode:
                self._database.execute(f"PRAGMA journal_mode = {mode}").close()
        except sqlite3.Error:
            self._database.close()
            raise

    def run(self, work: Work[Result]) -> Result:
        """The result of `work`, in a transaction of its own. Blocks. Raises TemporaryError."""
        try:
            with self.transaction() as database:
                return work(database)
        except sqlite3.Error as error:
            raise TemporaryError(f"The state in {self._path} cannot be read or written: {error}.", 5) from error

    def execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of one statement. Blocks. Raises TemporaryError."""
        return self.run(lambda database: _fetch(database, statement, values))

    async def commit(self, work: Work[Result]) -> Result:
        """The result of `work`; it is committed when this returns. Raises TemporaryError.

        Callers that come at the same time share a transaction: a store that pushes 800 events a second must not wait
        for 800 flushes of the disk.
        """
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._pending.append((work, done))
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit_pending(), name="state-commit")
        return await done

    async def commit_rows(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Run a statement for each row; see `commit`. Raises TemporaryError."""
        await self.commit(_StatementForRows(statement, tuple(rows)))

    def close(self) -> None:
        """Close it."""
        self._thread.shutdown(wait=True)
        with self._lock:
            self._database.close()

    async def _commit_pending(self) -> None:
        while self._pending:
            group, self._pending = self._pending[:MAX_GROUP], self._pending[MAX_GROUP:]
            works = _merge([work for work, _ in group])
            try:
                results = await asyncio.get_running_loop().run_in_executor(
                    self._thread, self.run, lambda database, works=works: [work(database) for work in works]
                )
            except Exception as error:
                _settle(group, error, [])
            else:
                _settle(group, None, results if len(results) == len(group) else [None] * len(group))

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One transaction, and nobody else's. Raises sqlite3.Error."""
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
                raise


@dataclass(frozen=True, slots=True)
class _StatementForRows:
    """A statement for each row, as work of a transaction."""

    statement: str
    rows: tuple[tuple[object, ...], ...]

    def __call__(self, database: sqlite3.Connection) -> None:
        database.executemany(self.statement, self.rows).close()  # an open cursor would keep the file open


def _merge(works: list[Work[Any]]) -> list[Work[Any]]:
    """One statement in place of many that are the same; other works stay as they are."""
    statements = {work.statement for work in works if isinstance(work, _StatementForRows)}
    if len(statements) != 1 or not all(isinstance(work, _StatementForRows) for work in works):
        return works
    rows = tuple(row for work in works if isinstance(work, _StatementForRows) for row in work.rows)
    return [_StatementForRows(statements.pop(), rows)]


def _fetch(database: sqlite3.Connection, statement: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
    with closing(database.execute(statement, values)) as found:
        return found.fetchall()


def _settle(group: list[tuple[Work[Any], asyncio.Future[Any]]], error: Exception | None, results: list[Any]) -> None:
    for number, (_, done) in enumerate(group):
        if done.done():
            continue
        if error:
            done.set_exception(error)
        else:
            done.set_result(results[number])
