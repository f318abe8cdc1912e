"""What is owed, on disk: names in hand, kept so that a killed process finds them again, and dead letters."""

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
MIN_LINES_TO_COMPACT = 20_000
MAX_DEAD_LETTERS_BYTES = 64 * 1024 * 1024
SAVE_INTERVAL_S = 2.0


class Journal:
    """A set of names in a file that only grows, and is written anew when most of it is past. Lives on one event loop."""

    def __init__(self, path: Path) -> None:
        """Read what a former process left, and keep others out. Raises ConfigError, OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(f"{path}.lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise ConfigError(f"Another pawtag works with {path}; give each its own state.dir.") from error
        self._path = path
        self._file: BinaryIO | None = None
        self.names = _replay(path)
        self._compact()
        self._unwritten: list[str] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._writing: asyncio.Task[None] | None = None

    async def add(self, names: Iterable[str]) -> None:
        """Take names in; they are on the disk when this returns. Raises OSError where they cannot be."""
        for name in names:
            self.names[name] = None
            self._unwritten.append(_line(ADDED, name))
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        self._write_soon()
        await done

    def remove(self, name: str) -> None:
        """Forget a name; soon on the disk too."""
        if name in self.names:
            del self.names[name]
            self._unwritten.append(_line(REMOVED, name))
            self._write_soon()

    async def close(self) -> None:
        """Write what is left, and let others in."""
        if self._writing:
            await self._writing
        if self._file:
            self._file.close()
        self._lock.release()

    def _write_soon(self) -> None:
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name="journal")

    async def _write(self) -> None:
        """All who wait share one fsync: a store that pushes 800 events a second must not wait for 800."""
        while self._unwritten or self._waiting:
            lines, self._unwritten = self._unwritten, []
            waiting, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(self._append, lines)
            except OSError as error:
                _settle(waiting, error)
            else:
                _settle(waiting, None)
            if self._lines > max(MIN_LINES_TO_COMPACT, 4 * len(self.names)):
                with suppress(OSError):  # a full disk: the old file goes on
                    self._compact()

    def _append(self, lines: list[str]) -> None:
        assert self._file  # from the beginning on
        self._file.write("".join(lines).encode())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._lines += len(lines)

    def _compact(self) -> None:
        write_atomically(self._path, "".join(_line(ADDED, name) for name in self.names).encode())
        if self._file:
            self._file.close()
        self._file = self._path.open("ab")
        self._lines = len(self.names)


class DeadLetters:
    """Messages that nobody could read, a JSON object a line, for a person to look at."""

    def __init__(self, path: Path) -> None:
        """Nothing is written before the first."""
        self.path = path

    def add(self, letter: dict[str, Any]) -> None:
        """Append one; it is on the disk when this returns. A file that is full gives way, once. Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists() and self.path.stat().st_size >= MAX_DEAD_LETTERS_BYTES:
            self.path.replace(f"{self.path}.old")
        with self.path.open("ab") as file:
            file.write((json.dumps(letter) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())


def _settle(waiting: list[asyncio.Future[None]], error: OSError | None) -> None:
    for done in waiting:
        if done.done():
            continue
        if error:
            done.set_exception(error)
        else:
            done.set_result(None)


def _line(sign: str, name: str) -> str:
    return f"{sign}{json.dumps(name)}\n"


def _replay(path: Path) -> dict[str, None]:
    """The names that were added and not removed, in their order; a line that a kill cut short counts for nothing."""
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
    """How far a long work is, in a file of its own: everything up to `position` is done."""

    def __init__(self, folder: Path, *what: str) -> None:
        """`what` names the work: what it is, on what, for whom. Raises PawtagError where the file cannot be read."""
        self._path = folder / f"{what[0]}-{hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]}.json"
        self._saved_at_s = 0.0
        self._open: deque[list[Any]] = deque()
        self.position: str = self._read()

    def begin(self, position: str, parts: int) -> list[Any]:
        """A piece of work of so many parts, after which `position` is reached; to be handed to `finish`."""
        piece = [position, parts]
        self._open.append(piece)
        self.finish(piece, 0)
        return piece

    def finish(self, piece: list[Any], parts: int = 1) -> None:
        """Some parts of the piece are done; saved now and then, once all that was begun earlier is done too."""
        piece[1] -= parts
        before = self.position
        while self._open and self._open[0][1] <= 0:
            self.position = self._open.popleft()[0]
        if self.position != before and time.monotonic() - self._saved_at_s >= SAVE_INTERVAL_S:
            self.save()

    def save(self) -> None:
        """Put the position on the disk. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, json.dumps({"position": self.position}).encode())
        self._saved_at_s = time.monotonic()

    def forget(self) -> None:
        """The work is done, or is to be done anew: it begins at the beginning."""
        self._path.unlink(missing_ok=True)
        self.position = ""

    @property
    def saved_at(self) -> str:
        """When it was last saved, by this machine's clock."""
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(self._path.stat().st_mtime))

    def _read(self) -> str:
        try:
            return str(json.loads(self._path.read_bytes())["position"])
        except FileNotFoundError:
            return ""
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise PawtagError(f"{self._path} cannot be read ({error}); remove it to begin anew.") from error
