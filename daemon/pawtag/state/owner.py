"""The owner of a row: the process that wrote it. It is alive as long as it holds the lock of its owner file."""

import secrets
from pathlib import Path

from filelock import FileLock, Timeout

SUFFIX = ".owner"


class Owner:
    """The owner of the rows that this process writes.

    It uses a lock, not the process id: in a container, the daemon always has the id 1.
    """

    def __init__(self, folder: Path | None) -> None:
        """Take the lock of a new owner in `folder`. Raises OSError. None: nobody else sees the rows."""
        self.name = secrets.token_hex(8)
        self._folder = folder
        self._lock = FileLock(folder / f"{self.name}{SUFFIX}") if folder else None
        if self._lock:
            self._lock.acquire(timeout=0)

    def find_living(self) -> list[str]:
        """The owners whose process lives, this one among them. The files of the others are removed."""
        files = self._folder.glob(f"*{SUFFIX}") if self._folder else ()
        others = [path for path in files if path.stem != self.name]
        return [self.name, *(path.stem for path in others if not _remove_if_dead(path))]

    def release(self) -> None:
        """Give the lock up, and remove its file."""
        if self._lock and self._folder:
            (self._folder / f"{self.name}{SUFFIX}").unlink(missing_ok=True)
            self._lock.release()


def _remove_if_dead(path: Path) -> bool:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):
        return False
    path.unlink(missing_ok=True)
    lock.release()
    return True
