"""The database `state.db`. Processes share it, and the daemon starts even if the file is damaged."""

import logging
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from pawtag.mounts import is_on_network
from pawtag.state.connection import BUSY_TIMEOUT_S, Connection
from pawtag.state.owner import Owner

log = logging.getLogger(__name__)

FILE_NAME = "state.db"
SCHEMA_VERSION = 3
# In the order of the columns: which photo, whose, why, when.
SCHEMA = """
CREATE TABLE in_flight (uri TEXT, owner TEXT, since TEXT, PRIMARY KEY (uri, owner)) WITHOUT ROWID;
CREATE TABLE owed (
    uri TEXT, owner TEXT, reason TEXT, source TEXT, at TEXT, PRIMARY KEY (uri, owner, reason, source)
) WITHOUT ROWID;
CREATE TABLE dead_letters (id INTEGER PRIMARY KEY, at TEXT, queue TEXT, receives INTEGER, reason TEXT, body TEXT);
CREATE TABLE resume_points (job TEXT PRIMARY KEY, position TEXT, saved_at TEXT);
"""
SCHEMA_2 = """
CREATE TABLE results (uri TEXT PRIMARY KEY, id TEXT, number INTEGER, status TEXT, code TEXT, record TEXT);
CREATE INDEX results_by_id ON results (id);
CREATE INDEX results_by_status ON results (status, number);
CREATE INDEX results_by_code ON results (status, code, number);
CREATE INDEX results_by_number ON results (number);
CREATE TABLE outbox (
    id TEXT, uri TEXT, owner TEXT, released INTEGER, attempt INTEGER, created_at REAL, due_at REAL, body TEXT,
    PRIMARY KEY (id, owner)
);
CREATE INDEX outbox_by_due ON outbox (owner, released, due_at);
"""
SCHEMA_3 = """
CREATE TABLE IF NOT EXISTS output_intents (uri TEXT, output TEXT, written TEXT, PRIMARY KEY (uri, output)) WITHOUT ROWID;
"""
# The start checks these tables for damage, but not `results`: it may be large, and is only a view.
SMALL_TABLES = ("in_flight", "owed", "dead_letters", "resume_points", "outbox", "output_intents")
BUSY_RETRY_S = 0.05
IN_MEMORY = ":memory:"


class StateDatabase:
    """The database of one process. `owner`: who writes its rows.

    `durable` is for data that others rely on: when a call returns, it is on the disk, and survives a power cut. `quick`
    is for data that must only survive the process: when a call returns, the operating system has it.
    """

    def __init__(self, folder: Path) -> None:
        """Open or create the file.

        A file that cannot be read is renamed, and a new one is created, unless another process uses the file. If the
        file cannot be opened or written, the state is kept in memory. The log reports both; `lack` reports the second.
        """
        self.lack: str | None = None
        """What does not work without a writable state.dir; None if it is writable."""
        self.on_close: list[Callable[[], None]] = []
        """Called before the file is closed."""
        self.path = folder / FILE_NAME
        self.owner = Owner(None)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.owner = Owner(folder)
            self.durable, self.quick = self._open_or_set_aside()
        except (OSError, sqlite3.Error) as error:
            self.owner.release()
            self.lack = f"{self.path} cannot be used ({error}): work in progress is lost when the process ends"
            log.warning("%s; set state.dir to a folder that can be written", self.lack)
            self.owner = Owner(None)
            self.durable = self.quick = Connection(IN_MEMORY, "OFF")
            _create_schema(self.durable)

    def close(self) -> None:
        """Write what is left, and close the file."""
        for write_rest in self.on_close:
            write_rest()
        for connection in {self.durable, self.quick}:
            connection.close()
        self.owner.release()

    def _open_or_set_aside(self) -> tuple[Connection, Connection]:
        try:
            return self._open_when_unlocked()
        except sqlite3.OperationalError:
            raise  # it cannot be written
        except sqlite3.DatabaseError as error:
            if len(self.owner.find_living()) > 1:
                raise  # whoever works with it would lose what it has written
            aside = self.path.with_name(f"{FILE_NAME}.broken-{time.strftime('%Y%m%d-%H%M%S')}")
            log.warning("%s cannot be read (%s); it is kept as %s, and a new one is made", self.path, error, aside.name)
            self.path.replace(aside)
            for suffix in ("-wal", "-shm"):
                with suppress(FileNotFoundError):
                    self.path.with_name(FILE_NAME + suffix).replace(aside.with_name(aside.name + suffix))
            return self._open()

    def _open_when_unlocked(self) -> tuple[Connection, Connection]:
        """Open the file, and retry while it is locked: SQLite does not wait while another process creates it."""
        until_s = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            try:
                return self._open()
            except sqlite3.OperationalError as error:
                if not any(word in str(error) for word in ("locked", "busy")) or time.monotonic() > until_s:
                    raise
            time.sleep(BUSY_RETRY_S)

    def _open(self) -> tuple[Connection, Connection]:
        # A network file system has no memory that processes share, which WAL needs (sqlite.org/wal.html).
        mode: Literal["WAL", "TRUNCATE"] = "TRUNCATE" if is_on_network(self.path) else "WAL"
        durable = Connection(str(self.path), "FULL", mode)
        try:
            _create_schema(durable)
            return durable, Connection(str(self.path), "NORMAL", mode)
        except sqlite3.Error:
            durable.close()
            raise


def encode_uri(uri: str) -> str | bytes:
    """A URI as a column: text, or bytes if the file's name is not valid text."""
    try:
        uri.encode()
    except UnicodeEncodeError:
        return os.fsencode(uri)
    return uri


def decode_uri(column: str | bytes) -> str:
    """What `encode_uri` has made a column of."""
    return os.fsdecode(column)


def _create_schema(connection: Connection) -> None:
    """Create the tables of a new file. Raises sqlite3.DatabaseError for a damaged file, and for another version."""
    with connection.transaction() as database:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"it has version {version}, but this pawtag knows only {SCHEMA_VERSION}")
        if version < 1:
            _execute_all(database, SCHEMA)
        if version < 2:  # noqa: PLR2004 - results are only a view, and begin again
            _execute_all(database, f"DROP TABLE IF EXISTS results;\n{SCHEMA_2}")
        if version < SCHEMA_VERSION:
            _execute_all(database, SCHEMA_3)
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        for table in SMALL_TABLES:
            (found,) = database.execute(f"PRAGMA quick_check('{table}')").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(f"it is damaged: {found}")


def _execute_all(database: sqlite3.Connection, statements: str) -> None:
    for statement in statements.strip().split(";\n"):
        database.execute(statement)
