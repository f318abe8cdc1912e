"""The database `state.db`: opened whatever is there, shared by processes, written in groups."""

import asyncio
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pawtag.domain.errors import TemporaryError
from pawtag.files import is_on_network
from pawtag.state.owner import Owner

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Work = Callable[[sqlite3.Connection], Result]

FILE_NAME = "state.db"
SCHEMA_VERSION = 1
# In the order of the columns: which photo, whose, why, when.
SCHEMA = """
CREATE TABLE in_flight (uri TEXT, owner TEXT, since TEXT, PRIMARY KEY (uri, owner)) WITHOUT ROWID;
CREATE TABLE owed (
    uri TEXT, owner TEXT, reason TEXT, source TEXT, at TEXT, PRIMARY KEY (uri, owner, reason, source)
) WITHOUT ROWID;
CREATE TABLE dead_letters (id INTEGER PRIMARY KEY, at TEXT, queue TEXT, receives INTEGER, reason TEXT, body TEXT);
CREATE TABLE resume_points (job TEXT PRIMARY KEY, position TEXT, saved_at TEXT);
CREATE TABLE results (uri TEXT PRIMARY KEY, number INTEGER, status TEXT, record TEXT);
CREATE INDEX results_by_status ON results (status, number);
CREATE INDEX results_by_number ON results (number);
"""
# Damage in them is looked for at the start; `results` may be large, and is only a view.
SMALL_TABLES = ("in_flight", "owed", "dead_letters", "resume_points")
BUSY_TIMEOUT_S, BUSY_RETRY_S = 10.0, 0.05
MAX_GROUP = 1000
IN_MEMORY = ":memory:"


class StateDatabase:
    """The database of one process. `owner`: who writes its rows.

    What another process may be told (`durable`) is on the disk when a call returns, also after a power cut; what only
    outlives the process (`quick`) is with the operating system.
    """

    def __init__(self, folder: Path) -> None:
        """Open or create the file.

        One that cannot be read is set aside, and begun again, unless another process works with it. Where it cannot be
        opened or written, the state lives in memory. Both are said in the log, and `lack` tells the second.
        """
        self.lack: str | None = None
        """What the daemon lacks without a writable state.dir; None with one."""
        self.path = folder / FILE_NAME
        self.owner = Owner(None)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.owner = Owner(folder)
            self.durable, self.quick = self._open_or_set_aside()
        except (OSError, sqlite3.Error) as error:
            self.owner.release()
            self.lack = f"{self.path} cannot be used ({error}): what is in progress is lost with the process"
            log.warning("%s; set state.dir to a folder that can be written", self.lack)
            self.owner = Owner(None)
            self.durable = self.quick = Connection(IN_MEMORY, "OFF")
            self.durable.create_schema()

    def close(self) -> None:
        """Write what is left, and close the file."""
        for connection in {self.durable, self.quick}:
            connection.close()
        self.owner.release()

    def _open_or_set_aside(self) -> tuple["Connection", "Connection"]:
        try:
            return self._open_when_unlocked()
        except sqlite3.OperationalError:
            raise  # it cannot be written
        except sqlite3.DatabaseError as error:
            self.owner.find_dead()
            if len(self.owner.find_living()) > 1:
                raise  # whoever works with it would lose what it has written
            aside = self.path.with_name(f"{FILE_NAME}.broken-{time.strftime('%Y%m%d-%H%M%S')}")
            log.warning("%s cannot be read (%s); it is kept as %s, and begun again", self.path, error, aside.name)
            self.path.replace(aside)
            for suffix in ("-wal", "-shm"):
                with suppress(FileNotFoundError):
                    self.path.with_name(FILE_NAME + suffix).replace(aside.with_name(aside.name + suffix))
            return self._open()

    def _open_when_unlocked(self) -> tuple["Connection", "Connection"]:
        """SQLite does not wait where two processes create the file at the same moment."""
        until_s = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            try:
                return self._open()
            except sqlite3.OperationalError as error:
                if not any(word in str(error) for word in ("locked", "busy")) or time.monotonic() > until_s:
                    raise
            time.sleep(BUSY_RETRY_S)

    def _open(self) -> tuple["Connection", "Connection"]:
        # A network file system has no memory that processes share, which WAL needs (sqlite.org/wal.html).
        mode: Literal["WAL", "TRUNCATE"] = "TRUNCATE" if is_on_network(self.path) else "WAL"
        durable = Connection(str(self.path), "FULL", mode)
        try:
            durable.create_schema()
            return durable, Connection(str(self.path), "NORMAL", mode)
        except sqlite3.Error:
            durable.close()
            raise


class Connection:
    """One connection, which any thread may use. Faults of the disk are TemporaryError."""

    def __init__(self, path: str, synchronous: Literal["FULL", "NORMAL", "OFF"], mode: str | None = None) -> None:
        """Raises sqlite3.Error."""
        self._path, self._lock = path, threading.Lock()
        self._database = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, check_same_thread=False, isolation_level=None)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="state")
        self._waiting: list[tuple[Work[Any], asyncio.Future[Any]]] = []
        self._committing: asyncio.Task[None] | None = None
        try:
            self._database.execute(f"PRAGMA synchronous = {synchronous}")
            if mode:
                self._database.execute(f"PRAGMA journal_mode = {mode}").close()
        except sqlite3.Error:
            self._database.close()
            raise

    def create_schema(self) -> None:
        """Create the tables of a new file. Raises sqlite3.DatabaseError for a file of another version."""
        with self._transaction() as database:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in SCHEMA.strip().split(";\n"):
                    database.execute(statement)
                database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            elif version != SCHEMA_VERSION:
                raise sqlite3.DatabaseError(f"it has version {version}, and this pawtag knows {SCHEMA_VERSION}")
            for table in SMALL_TABLES:
                (found,) = database.execute(f"PRAGMA quick_check('{table}')").fetchone()
                if found != "ok":
                    raise sqlite3.DatabaseError(f"it is damaged: {found}")

    def run(self, work: Work[Result]) -> Result:
        """The result of `work`, in a transaction of its own. Blocks. Raises TemporaryError."""
        try:
            with self._transaction() as database:
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
        self._waiting.append((work, done))
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit_waiting(), name="state-commit")
        return await done

    async def commit_rows(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Run a statement for each row; see `commit`. Raises TemporaryError."""
        await self.commit(_InsertRows(statement, tuple(rows)))

    def close(self) -> None:
        """Close it."""
        self._thread.shutdown(wait=True)
        with self._lock:
            self._database.close()

    async def _commit_waiting(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting[:MAX_GROUP], self._waiting[MAX_GROUP:]
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
    def _transaction(self) -> Iterator[sqlite3.Connection]:
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
class _InsertRows:
    """A statement for each row, as work of a transaction."""

    statement: str
    rows: tuple[tuple[object, ...], ...]

    def __call__(self, database: sqlite3.Connection) -> None:
        database.executemany(self.statement, self.rows).close()  # an open cursor would keep the file open


def _merge(works: list[Work[Any]]) -> list[Work[Any]]:
    """One statement in place of many that are the same; other works stay as they are."""
    statements = {work.statement for work in works if isinstance(work, _InsertRows)}
    if len(statements) != 1 or not all(isinstance(work, _InsertRows) for work in works):
        return works
    rows = tuple(row for work in works if isinstance(work, _InsertRows) for row in work.rows)
    return [_InsertRows(statements.pop(), rows)]


def encode_uri(uri: str) -> str | bytes:
    """A URI as a column: a file's name may be any bytes, and text may not."""
    try:
        uri.encode()
    except UnicodeEncodeError:
        return os.fsencode(uri)
    return uri


def decode_uri(column: str | bytes) -> str:
    """What `encode_uri` has made a column of."""
    return os.fsdecode(column)


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
