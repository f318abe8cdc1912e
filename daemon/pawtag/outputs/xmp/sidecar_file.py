"""The XMP sidecar of a photo: which file it is, read and replaced."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Self

from pawtag.domain.errors import ChangedError, GoneError, TemporaryError
from pawtag.domain.records import describe_name
from pawtag.files import write_atomically
from pawtag.outputs.xmp.packet import PacketError

SUFFIX = ".xmp"
MAX_BYTES = 16 * 1024 * 1024
# Of one photo these may share the stem: notes of apps, and thumbnails of cameras.
NO_MEDIA_SUFFIXES = frozenset({SUFFIX, ".json", ".txt", ".aae", ".thm", ".pp3", ".dop", ".cos", ".on1"})
OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


@dataclass(frozen=True, slots=True)
class XmpSidecarFile:
    """A file as it was read; `content` and `version` are None where there is none yet."""

    path: str
    content: bytes | None = None
    version: str | None = None

    @classmethod
    def read(cls, path: str) -> Self:
        """The file at `path`. Raises PacketError for what is no file that can be edited, OSError."""
        try:
            descriptor = os.open(path, OPEN_FLAGS)
        except FileNotFoundError:
            return cls(path)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise PacketError("its name would be too long") from error
            if error.errno in (errno.ELOOP, errno.ENXIO):
                raise PacketError("it is a link or no regular file") from error
            raise
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise PacketError("it is no regular file")
            if status.st_size > MAX_BYTES:
                raise PacketError(f"it has {status.st_size} bytes; the limit is {MAX_BYTES}")
            return cls(path, file.read(), _format_version(status))

    def replace(self, content: bytes) -> None:
        """Write it; its permissions stay. Raises ChangedError where another program has written it since, OSError."""
        try:
            write_atomically(
                self.path, content, replace=self.content is not None, before_rename=self._require_unchanged
            )
        except FileExistsError as error:
            raise ChangedError(f"{self.path} was made at the same moment.") from error

    def remove(self) -> None:
        """Remove it, unless another program has written it since. Raises ChangedError, OSError."""
        self._require_unchanged(None)
        os.unlink(self.path)

    def _require_unchanged(self, descriptor: int | None) -> None:
        """Just before the rename. The new file gets the permissions of the old one, as far as the system allows."""
        if self.content is None:
            return
        status = os.lstat(self.path)
        if _format_version(status) != self.version:
            raise ChangedError(f"Another program changed {self.path} at the same moment.")
        if descriptor is not None:
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
            with suppress(OSError):
                os.fchown(descriptor, status.st_uid, status.st_gid)


def find_name(photo: str) -> str:
    """The name of the file that apps read for the photo: photo.jpg.xmp, else photo.xmp where no other file has its stem.

    Without any, photo.jpg.xmp. Raises OSError.
    """
    own, shared = _candidates(photo)
    folder = photo.rpartition(os.sep)[0]
    has_own, has_shared = (os.path.lexists(f"{folder}{os.sep}{name}") for name in (own, shared))
    return describe_name(shared if has_shared and not has_own and not _shares_stem(photo) else own)


def join_name(photo: str, name: str) -> str:
    """The path of an XMP sidecar of that name; any other name, as a record may hold, counts as the first."""
    own, shared = _candidates(photo)
    return f"{photo.rpartition(os.sep)[0]}{os.sep}{shared if name == describe_name(shared) else own}"


def _candidates(photo: str) -> tuple[str, str]:
    name = photo.rpartition(os.sep)[2]
    return name + SUFFIX, os.path.splitext(name)[0] + SUFFIX  # noqa: PTH122 - a name may be any bytes


def read_version(path: str) -> str | None:
    """Which version of a file is there; None for none."""
    try:
        return _format_version(os.lstat(path))
    except OSError:
        return None


@contextmanager
def translate_errors(photo: str) -> Iterator[None]:
    """Turn OSError into GoneError where the photo is gone, else into TemporaryError with the cure."""
    folder = photo.rpartition(os.sep)[0]
    try:
        yield
    except OSError as error:
        if not os.path.lexists(photo):
            raise GoneError(f"{photo} is gone.") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            reason = f"XMP sidecars in {folder} cannot be written ({error.strerror})"
            raise TemporaryError(f"{reason}; grant pawtag's user access, or set sidecar.xmp = false.", 30) from error
        raise TemporaryError(f"XMP sidecars in {folder} cannot be written: {error.strerror}.", 10) from error


def _format_version(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}"


def _shares_stem(photo: str) -> bool:
    """Whether another photo, a raw file or a video has the photo's name up to the suffix."""
    folder, _, name = photo.rpartition(os.sep)
    stem = os.path.splitext(name)[0].casefold()  # noqa: PTH122 - a name may be any bytes
    with os.scandir(folder or os.sep) as entries:
        others = (os.path.splitext(entry.name) for entry in entries if entry.name != name)  # noqa: PTH122
        return any(other.casefold() == stem and suffix.lower() not in NO_MEDIA_SUFFIXES for other, suffix in others)
