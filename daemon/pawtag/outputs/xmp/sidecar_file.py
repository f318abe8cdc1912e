"""The XMP sidecar of a photo: which file it is, read and replaced."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Self

from pawtag.domain.errors import ChangedError, GoneError, TemporaryError
from pawtag.domain.records import describe_name
from pawtag.files import write_atomically
from pawtag.outputs.xmp.packet import PacketError

SUFFIX = ".xmp"
MAX_BYTES = 16 * 1024 * 1024
# Files with these suffixes may belong to the same photo: notes of apps, thumbnails of cameras, copies.
NO_MEDIA_SUFFIXES = frozenset({"", SUFFIX, ".json", ".txt", ".aae", ".thm", ".pp3", ".dop", ".cos", ".on1", ".bak"})
BACKUP_ENDING = "_original"  # of exiftool
REFUSED_ERRORS = {
    errno.ENAMETOOLONG: "its name would be too long",
    errno.ELOOP: "it is a link",
    errno.ENXIO: "it is no regular file",
    errno.EACCES: "pawtag has no permission to read it",
    errno.EPERM: "pawtag has no permission to read it",
}
OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


@dataclass(frozen=True, slots=True)
class XmpSidecarFile:
    """A file as it was read. `content` and `version` are None if it was not read, or does not exist."""

    path: str
    content: bytes | None = None
    version: str | None = None

    def read(self) -> Self:
        """The file with its content. Raises PacketError if it cannot be edited, OSError."""
        try:
            with open(self.path, "rb", buffering=0, opener=_open_regular) as file:
                status = os.fstat(file.fileno())
                if status.st_size > MAX_BYTES:
                    raise PacketError(f"it has {status.st_size} bytes; the limit is {MAX_BYTES}")
                return replace(self, content=file.readall(), version=_format_version(status))
        except FileNotFoundError:
            return self
        except OSError as error:
            if error.errno in REFUSED_ERRORS:
                raise PacketError(REFUSED_ERRORS[error.errno]) from error
            raise

    def replace(self, content: bytes) -> None:
        """Write it; its permissions stay. Raises ChangedError where another program has written it since, OSError.

        Its owner and its group stay as far as the system lets this process set them.
        """
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
            for owner in (-1, status.st_uid):
                with suppress(OSError):
                    os.fchown(descriptor, owner, status.st_gid)


def find_name(photo: str) -> str:
    """The name of the sidecar that apps read for the photo: photo.jpg.xmp if it exists.

    Otherwise photo.xmp, if it exists and no other photo has the same stem. If there is none, photo.jpg.xmp. Raises
    OSError.
    """
    own, shared = _candidates(photo)
    folder = photo.rpartition(os.sep)[0]
    has_own, has_shared = (os.path.lexists(f"{folder}{os.sep}{name}") for name in (own, shared))
    return describe_name(shared if has_shared and not has_own and not _shares_stem(photo) else own)


def join_name(photo: str, name: str) -> str:
    """The path of the XMP sidecar `name`. A name that is not one of the two candidates counts as photo.jpg.xmp."""
    own, shared = _candidates(photo)
    return f"{photo.rpartition(os.sep)[0]}{os.sep}{shared if name == describe_name(shared) else own}"


def _candidates(photo: str) -> tuple[str, str]:
    name = photo.rpartition(os.sep)[2]
    return name + SUFFIX, os.path.splitext(name)[0] + SUFFIX  # noqa: PTH122 - a name may be any bytes


def require_size(content: bytes | None) -> None:
    """Raise PacketError if the content is too large to be read again."""
    if content and len(content) > MAX_BYTES:
        raise PacketError(f"it would have {len(content)} bytes; the limit is {MAX_BYTES}")


def read_version(path: str) -> str | None:
    """Which version of a file is there; None for none."""
    try:
        return _format_version(os.lstat(path))
    except OSError:
        return None


@contextmanager
def translate_errors(photo: str) -> Iterator[None]:
    """Turn OSError into TemporaryError with the cure, or into GoneError where the photo is gone."""
    folder = photo.rpartition(os.sep)[0]
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            reason = f"XMP sidecars in {folder} cannot be written ({error.strerror})"
            raise TemporaryError(f"{reason}; grant pawtag's user access, or set sidecar.xmp = false.", 30) from error
        if not os.path.lexists(photo):
            raise GoneError(f"{photo} is gone.") from error
        raise TemporaryError(f"XMP sidecars in {folder} cannot be written: {error.strerror}.", 10) from error


def _format_version(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}"


def _open_regular(path: str, _: int) -> int:
    """A descriptor of a regular file. Raises PacketError for another one, OSError."""
    descriptor = os.open(path, OPEN_FLAGS)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise PacketError("it is no regular file")
    return descriptor


def _shares_stem(photo: str) -> bool:
    """Whether the photo's stem is also the stem, or the whole name, of another photo, a raw file or a video."""
    folder, _, name = photo.rpartition(os.sep)
    stem = os.path.splitext(name)[0].casefold()  # noqa: PTH122 - a name may be any bytes
    with os.scandir(folder or os.sep) as entries:
        others = [entry.name for entry in entries if entry.name != name and entry.is_file(follow_symlinks=False)]
    return any(_owns_stem(other.casefold(), stem) for other in others)


def _owns_stem(name: str, stem: str) -> bool:
    if name == stem:  # photo.heic.xmp belongs to photo.heic, not to photo.heic.jpg
        return True
    own, suffix = os.path.splitext(name)  # noqa: PTH122 - a name may be any bytes
    return own == stem and suffix not in NO_MEDIA_SUFFIXES and not suffix.endswith(BACKUP_ENDING)
