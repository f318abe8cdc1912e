"""Files that are whole or absent."""

import os
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from fnmatch import translate
from functools import cache
from pathlib import Path

# Here other machines write: they send no file events, and share no memory.
NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "fuse", "9p", "virtiofs", "afs", "ceph", "glusterfs", "vboxsf", "drvfs")
TEMPORARY_NAME = re.compile(r"\.pawtag-[0-9a-f]{12}\.tmp")


def write_atomically(path: Path, content: bytes, *, replace: bool = True, flush: bool = True) -> None:
    """Write `content` to `path` through a temporary file in the same folder, flushed to disk before the rename.

    With `replace` false, FileExistsError is raised where something stands there already. With `flush` false, a power
    cut may leave a file that is not whole. Mode as the umask says. Raises OSError; then nothing of ours is left.
    """
    temporary = path.parent / f".pawtag-{secrets.token_hex(6)}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if flush:
                os.fsync(file.fileno())
        if replace:
            os.replace(temporary, path)
        else:
            _create(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def is_temporary_name(name: str) -> bool:
    """Whether a file's name is one that `write_atomically` makes."""
    return TEMPORARY_NAME.fullmatch(name) is not None


def matches_any(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether the name fits one of the shell patterns, whatever its case."""
    return _compile(patterns)(name) is not None


@cache
def _compile(patterns: tuple[str, ...]) -> Callable[[str], re.Match[str] | None]:
    """One expression for all patterns."""
    return re.compile("|".join(translate(pattern.lower()) for pattern in patterns), re.IGNORECASE).match


def is_on_network(path: Path) -> bool:
    """Whether other machines may write to the file system of `path`. Known on Linux; elsewhere assumed not to be so."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return False
    place, best, kind = path.resolve(), -1, ""
    for line in mounts:
        left, _, right = line.partition(" - ")
        point = left.split()[4].replace("\\040", " ")
        if place.is_relative_to(point) and len(point) >= best:
            best, kind = len(point), right.split()[0]
    return kind.startswith(NETWORK_FILE_SYSTEMS)


def _create(temporary: Path, path: Path) -> None:
    """Give the file its name unless the name is taken; a hard link does that in one step."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(path):
            raise FileExistsError(path) from None
        os.rename(temporary, path)
        return
    os.unlink(temporary)
