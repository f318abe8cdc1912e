"""Stores what a scan found in each folder, so that the next scan reads only changes. The file can be deleted."""

import logging
import marshal
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

log = logging.getLogger(__name__)

# (size, mtime in ns) of a photo and of its sidecar, by the photo's name: with these values the photo needed no record.
Known = dict[str, tuple[int, int, int, int]]

FORMAT = f"1 {sys.implementation.cache_tag}"  # marshal's format belongs to a version of Python
MAX_UNUSED_S = 30 * 86_400
BUSY_TIMEOUT_S = 5.0


class ScanMemory:
    """One packed row per folder, in an SQLite file. An error of the file means that less is remembered."""

    def __init__(self, path: Path, key: str) -> None:
        """Open or create the file. `key`: what decides whether a record is current; rows of other keys are ignored."""
        self._key = f"{FORMAT} {key}"
        self._path = path
        self._database = self._open(path)

    def load(self, folder: str) -> Known:
        """What is known of the photos in the folder."""
        rows = self._execute("SELECT known FROM folders WHERE folder = ? AND key = ?", folder, self._key)
        try:
            return dict(marshal.loads(rows[0][0])) if rows else {}  # noqa: S302 - the cache is the user's own
        except (EOFError, ValueError, TypeError, MemoryError):
            return {}

    def store(self, folder: str, known: Known) -> None:
        """Replace what is known of the folder."""
        row = (folder, self._key, marshal.dumps(known), int(time.time()))
        self._execute("INSERT OR REPLACE INTO folders VALUES (?, ?, ?, ?)", *row)

    def touch(self, root: str) -> None:
        """Mark all rows below `root` as used, after a full scan, and delete rows that no scan used for a month."""
        now_s = int(time.time())
        below = (root, f"{root}/", f"{root}0")  # "0" comes after "/"
        used = "UPDATE folders SET used_s = ? WHERE key = ? AND (folder = ? OR folder > ? AND folder < ?)"
        self._execute(used, now_s, self._key, *below)
        self._execute("DELETE FROM folders WHERE used_s < ?", now_s - MAX_UNUSED_S)

    def close(self) -> None:
        """Close the file."""
        if self._database:
            self._database.close()

    def _open(self, path: Path) -> sqlite3.Connection | None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                return _connect(path)
            except sqlite3.OperationalError:
                raise  # it is locked, or cannot be written
            except sqlite3.DatabaseError:
                path.unlink()  # it is no database, or a damaged one
                return _connect(path)
        except (OSError, sqlite3.Error) as error:
            log.warning(
                "scan results cannot be stored in %s (%s), so each scan reads every sidecar: set model.cache_dir",
                path,
                error,
            )
            return None

    def _execute(self, statement: str, *values: object) -> list[tuple[bytes]]:
        if self._database is None:
            return []
        try:
            with self._database, closing(self._database.execute(statement, values)) as found:
                return found.fetchall()
        except (sqlite3.OperationalError, UnicodeEncodeError) as error:  # a folder's name may be any bytes
            log.debug("the memory of scans cannot be used: %s", error)
        except sqlite3.DatabaseError as error:
            log.warning("the stored scan results in %s are damaged (%s); starting a new file", self._path, error)
            self.close()
            self._path.unlink(missing_ok=True)
            self._database = self._open(self._path)
        return []


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)
    try:
        database.execute("PRAGMA synchronous = OFF")  # what is lost is read again
        columns = "folder TEXT, key TEXT, known BLOB, used_s INTEGER, PRIMARY KEY (folder, key)"
        database.execute(f"CREATE TABLE IF NOT EXISTS folders ({columns}) WITHOUT ROWID")
        database.commit()
    except sqlite3.Error:
        database.close()
        raise
    return database
