"""Atomic writes (a file is complete or absent), and rules for file names."""

import errno
import os
import re
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from fnmatch import translate
from functools import cache, lru_cache
from pathlib import Path

# FUSE and some network file systems refuse to flush. Then nothing more can be done.
FLUSH_REFUSED_ERRORS = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)
MAX_NAME_BYTES = 255
TEMPORARY_AGE_S = 60.0
# Folders for thumbnails, trash and snapshots of NAS systems (Synology, QNAP, TrueNAS, Netatalk), Linux, Windows and
# macOS. They are compared without case, because Windows spells its trash in several ways. Names that begin with a dot
# (.Trash-1000, .snapshots) are ignored anyway.
SERVICE_FOLDERS = frozenset(
    {
        "@eadir",
        "@tmp",
        "#recycle",
        "#snapshot",
        "@recycle",
        "@recycle.bin",
        "@recently-snapshot",
        "@sharesnap",
        "@sharebin",
        "@transcode",
        "lost+found",
        "$recycle.bin",
        "recycler",
        "recycled",
        "system volume information",
        "found.000",
        "__macosx",
        "network trash folder",
        "temporary items",
        "lost_found",
    }
)
TEMPORARY_NAME = re.compile(r"\.pawtag-[0-9a-f]{12}\.tmp")


def write_atomically(
    path: str | Path,
    content: bytes,
    *,
    replace: bool = True,
    flush: bool = True,
    before_rename: Callable[[int], None] = lambda _: None,
) -> None:
    """Write `content` to `path` through a temporary file in the same folder, flushed to disk before the rename.

    If `replace` is false and `path` exists, raises FileExistsError. If `flush` is false, a power cut may leave an
    incomplete file. The umask sets the mode. `before_rename` gets the file descriptor, and may raise. Raises OSError;
    then no temporary file is left.
    """
    # No pathlib: it interns the parts of each path, so the interpreter's table of strings would grow with every photo.
    temporary = os.path.join(os.path.dirname(path), f".pawtag-{secrets.token_hex(6)}.tmp")  # noqa: PTH118, PTH120
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if flush:
                _flush(file.fileno())
            before_rename(descriptor)
        if replace:
            os.replace(temporary, path)
        else:
            move_exclusively(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def is_temporary_name(name: str) -> bool:
    """Whether a file's name is one that `write_atomically` makes."""
    return TEMPORARY_NAME.fullmatch(name) is not None


def is_ignored_name(name: str) -> bool:
    """Whether a folder of that name is ignored: hidden, or a service folder of a NAS or desktop system."""
    return name.startswith(".") or name.lower() in SERVICE_FOLDERS


def matches_any(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether the name fits one of the shell patterns, whatever its case."""
    return bool(patterns) and _compile(patterns)(name) is not None


@cache
def _compile(patterns: tuple[str, ...]) -> Callable[[str], re.Match[str] | None]:
    """One expression for all patterns."""
    return re.compile("|".join(translate(pattern.lower()) for pattern in patterns), re.IGNORECASE).match


@lru_cache(maxsize=1024)
def read_max_name_bytes(folder: str) -> int:
    """The longest file name in the folder, in bytes: 143 on eCryptfs, 255 on most others and if it is unknown."""
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except FileNotFoundError:  # it will be made
        parent = os.path.dirname(folder)  # noqa: PTH120 - a name may be any bytes
        return read_max_name_bytes(parent) if parent not in ("", folder) else MAX_NAME_BYTES
    except (OSError, ValueError, AttributeError):
        return MAX_NAME_BYTES


def remove_left_overs(folder: Path) -> None:
    """Remove pawtag's temporary files below `folder`: their process ended before it could rename them."""
    for place, _, names in os.walk(folder):
        for name in names:
            if is_temporary_name(name):
                remove_left_over(os.path.join(place, name))  # noqa: PTH118 - a name may be any bytes


def remove_left_over(path: str) -> None:
    """Remove a temporary file of pawtag, unless it is so new that a process may still write it."""
    with suppress(OSError):
        if time.time() - os.lstat(path).st_mtime > TEMPORARY_AGE_S:
            os.unlink(path)


def _flush(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in FLUSH_REFUSED_ERRORS:
            raise


def move_exclusively(source: str | Path, target: str | Path) -> None:
    """Rename a file, unless the new name exists; a hard link makes this atomic. Raises OSError."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(target) from None
        os.rename(source, target)
        return
    os.unlink(source)
