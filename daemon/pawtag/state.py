"""What survives the process, in files below state.dir: a journal, dead letters, resume points."""

import asyncio
import hashlib
import json
import os
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from pawtag.domain.errors import ConfigError, PawtagError
from pawtag.files import write_atomically

ADDED, REMOVED = "+", "-"


class Journal:
    """A set of names in a file that only grows, and is compacted when most lines are obsolete. Lives on one event loop."""

    def __init__(self, path: Path, *, min_lines_to_compact: int = 20_000) -> None:
        """Read what an earlier process left, and lock others out. Raises ConfigError, OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(f"{path}.lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise ConfigError(f"Another pawtag uses {path}; give each its own state.dir.") from error
        self._path, self._min_lines_to_compact = path, min_lines_to_compact
        self._file: BinaryIO | None = None
        self.names = _replay(path)
        self._compact()
        self._unwritten: list[str] = []
        self._writers: list[asyncio.Future[None]] = []
        self._writing: asyncio.Task[None] | None = None

    async def add(self, names: Iterable[str]) -> None:
        """Add names; they are on disk when this returns. Raises OSError if they cannot be written."""
        for name in names:
            self.names[name] = None
            self._unwritten.append(_format_line(ADDED, name))
        done = asyncio.get_running_loop().create_future()
        self._writers.append(done)
        self._write_soon()
        await done

    def remove(self, name: str) -> None:
        """Remove a name, and soon from the disk."""
        if name in self.names:
            del self.names[name]
            self._unwritten.append(_format_line(REMOVED, name))
            self._write_soon()

    async def close(self) -> None:
        """Write what is left, and release the lock."""
        if self._writing:
            await self._writing
        if self._file:
            self._file.close()
        self._lock.release()

    def _write_soon(self) -> None:
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name="journal")

    async def _write(self) -> None:
        """Concurrent callers wait for one fsync: a store that pushes 800 events a second must not wait for 800."""
        while self._unwritten or self._writers:
            lines, self._unwritten = self._unwritten, []
            writers, self._writers = self._writers, []
            try:
                await asyncio.to_thread(self._append, lines)
            except OSError as error:
                _resolve(writers, error)
            else:
                _resolve(writers, None)
            if self._lines > max(self._min_lines_to_compact, 4 * len(self.names)):
                with suppress(OSError):  # a full disk: the old file stays in use
                    self._compact()

    def _append(self, lines: list[str]) -> None:
        assert self._file  # opened by __init__
        self._file.write("".join(lines).encode())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._lines += len(lines)

    def _compact(self) -> None:
        write_atomically(self._path, "".join(_format_line(ADDED, name) for name in self.names).encode())
        if self._file:
            self._file.close()
        self._file = self._path.open("ab")
        self._lines = len(self.names)


class DeadLetters:
    """Messages that cannot be used, one JSON object a line, for a person to look at."""

    def __init__(self, path: Path, *, max_bytes: int = 64 * 1024 * 1024) -> None:
        """The file is created with the first one. At `max_bytes` it becomes PATH.old, and a new one begins."""
        self.path, self._max_bytes = path, max_bytes

    def add(self, entry: dict[str, Any]) -> None:
        """Append one; it is on disk when this returns. Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists() and self.path.stat().st_size >= self._max_bytes:
            self.path.replace(f"{self.path}.old")
        with self.path.open("ab") as file:
            file.write((json.dumps(entry) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())


def _resolve(writers: list[asyncio.Future[None]], error: OSError | None) -> None:
    for done in writers:
        if done.done():
            continue
        if error:
            done.set_exception(error)
        else:
            done.set_result(None)


def _format_line(sign: str, name: str) -> str:
    return f"{sign}{json.dumps(name)}\n"


def _replay(path: Path) -> dict[str, None]:
    """The names that were added and not removed, in their order. A line that a kill cut short is ignored."""
    names: dict[str, None] = {}
    content = path.read_bytes() if path.exists() else b""
    for line in content.decode("utf-8", "replace").splitlines():
        try:
            name = json.loads(line[1:])
        except ValueError:
            continue
        if line[0] == ADDED:
            names[name] = None
        else:
            names.pop(name, None)
    return names


class ResumePoint:
    """How far a long job has come, in a file of its own: everything up to `position` is done."""

    def __init__(self, folder: Path, job: str, *parameters: str, save_interval_s: float = 2.0) -> None:
        """`job` and its `parameters` choose the file. Raises PawtagError if it cannot be read."""
        digest = hashlib.sha256(json.dumps([job, *parameters]).encode()).hexdigest()[:16]
        self._path, self._save_interval_s = folder / f"{job}-{digest}.json", save_interval_s
        self._saved_at_s = 0.0
        self._open: deque[list[Any]] = deque()
        self.position: str = self._read()

    def begin(self, position: str, parts: int) -> list[Any]:
        """Begin a piece of so many parts, which ends at `position`; pass the result to `finish`."""
        piece = [position, parts]
        self._open.append(piece)
        self.finish(piece, 0)
        return piece

    def finish(self, piece: list[Any], parts: int = 1) -> None:
        """Some parts of the piece are done. The position moves once all earlier pieces are done, and is saved now and then."""
        piece[1] -= parts
        before = self.position
        while self._open and self._open[0][1] <= 0:
            self.position = self._open.popleft()[0]
        if self.position != before and time.monotonic() - self._saved_at_s >= self._save_interval_s:
            self.save()

    def save(self) -> None:
        """Write the position to disk. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, json.dumps({"position": self.position}).encode())
        self._saved_at_s = time.monotonic()

    def forget(self) -> None:
        """Remove the file: the job begins at the beginning."""
        self._path.unlink(missing_ok=True)
        self.position = ""

    @property
    def saved_at(self) -> str:
        """When the position was last saved, by this machine's clock."""
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(self._path.stat().st_mtime))

    def _read(self) -> str:
        try:
            return str(json.loads(self._path.read_bytes())["position"])
        except FileNotFoundError:
            return ""
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise PawtagError(f"{self._path} cannot be read ({error}); remove it to begin again.") from error
