"""The files of the folder: which entries are photos, which version they are, and their bytes."""

import errno
import os
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO

from pawtag.config import FolderSettings
from pawtag.domain.errors import GoneError, PermanentError, TemporaryError, UnfinishedError
from pawtag.domain.records import Payload, PhotoRef
from pawtag.files import is_ignored_name, is_temporary_name, matches_any, remove_left_over

SIDECAR_SUFFIXES = (".json", ".xmp")  # no photos, whatever the patterns
OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
NOT_A_PHOTO, NOT_A_FILE = "not-a-photo", "not-a-file"
GONE_ERRORS = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE, errno.ENXIO)


@dataclass(frozen=True, slots=True)
class FoundPhoto:
    """A photo on disk. `age_s`: seconds since its mtime or ctime by the system clock, whichever is later."""

    ref: PhotoRef
    age_s: float

    def is_stable(self, stable_age_s: float) -> bool:
        """Whether the file is finished by its age alone."""
        return self.age_s > stable_age_s


@dataclass(slots=True)
class Walk:
    """A stream over the photos below `root`.

    After the walk, `unreadable` names the folders that could not be read, and `skipped` counts the files that are no
    photos, by reason. `removes_temporary`: it removes left-over temporary files of pawtag. `is_ended`: when it returns
    True, the walk ends early.
    """

    root: Path
    settings: FolderSettings
    removes_temporary: bool = True
    is_ended: Callable[[], bool] = lambda: False
    top: Path | None = None
    """The folder that folder.exclude is relative to; `root` by default."""
    passed_over: frozenset[str] = frozenset()
    """Folders that are scanned by themselves."""
    unreadable: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def __iter__(self) -> Iterator[FoundPhoto]:
        """Every photo, folder by folder. Raises OSError if the root cannot be read."""
        for _, entries in self.folders():
            for entry in entries:
                if self.is_ended():
                    return
                found = find_photo(entry.path)
                self.skipped[NOT_A_FILE] += found is None
                if found:
                    yield found

    def folders(self) -> Iterator[tuple[str, list["os.DirEntry[str]"]]]:
        """Each folder with its entries that have a photo's name. Raises OSError if the root cannot be read."""
        folders = [str(self.root)]
        while folders and not self.is_ended():
            folder = folders.pop()
            try:
                entries = os.scandir(folder)
            except OSError as error:
                if folder == str(self.root):
                    raise
                if error.errno not in GONE_ERRORS:
                    self.unreadable.append(folder)
                continue
            with entries:
                photos = [entry for entry in entries if self._is_photo(entry, folders)]
            yield folder, photos

    def _is_photo(self, entry: "os.DirEntry[str]", folders: list[str]) -> bool:
        """Whether the entry has a photo's name; adds a folder to `folders`."""
        name = entry.name
        if name.lower().endswith(SIDECAR_SUFFIXES) and not entry.is_dir(follow_symlinks=False):
            return False
        if is_temporary_name(name):
            if self.removes_temporary:
                remove_left_over(entry.path)
        elif self.settings.recursive and is_folder(entry):
            if not (entry.path in self.passed_over or self.is_excluded(entry.path)):
                folders.append(entry.path)
        elif is_photo_name(name, self.settings.patterns):
            return not self.is_excluded(entry.path)
        else:
            self.skipped[NOT_A_PHOTO] += is_other_file(name) and entry.is_file(follow_symlinks=False)
        return False

    def is_excluded(self, path: str) -> bool:
        """Whether folder.exclude names it."""
        return bool(self.settings.exclude) and matches_exclude(
            os.path.relpath(path, self.top or self.root), self.settings.exclude
        )


def is_photo_name(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a file of that name counts as a photo."""
    return not name.startswith(".") and not name.lower().endswith(SIDECAR_SUFFIXES) and matches_any(name, patterns)


def is_other_file(name: str) -> bool:
    """Whether a file without a photo's name counts as skipped. Hidden files and sidecars do not."""
    return not name.startswith(".") and not name.lower().endswith(SIDECAR_SUFFIXES)


def matches_exclude(path: str, patterns: tuple[str, ...]) -> bool:
    """Whether a path, relative to the root, or one of its folders, is excluded: by its name, or by its whole path."""
    parts = path.split(os.sep)
    places = accumulate(parts, lambda folder, name: f"{folder}{os.sep}{name}")
    return any(matches_any(name, patterns) for name in (*parts, *places))


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether the scan enters it. Links are not followed."""
    return not is_ignored_name(entry.name) and entry.is_dir(follow_symlinks=False)


def is_within(path: str, root: Path, settings: FolderSettings) -> bool:
    """Whether the scan would find the path of an event."""
    parts = os.path.relpath(path, root).split(os.sep)
    if parts[0] == os.pardir or (len(parts) > 1 and not settings.recursive):
        return False
    if any(is_ignored_name(part) for part in parts[:-1]) or not is_photo_name(parts[-1], settings.patterns):
        return False
    return not matches_exclude(os.path.relpath(path, root), settings.exclude)


def is_folder_within(path: str, root: Path, settings: FolderSettings) -> bool:
    """Whether the scan would enter the folder of an event."""
    parts = os.path.relpath(path, root).split(os.sep)
    is_ignored = any(part == os.pardir or is_ignored_name(part) for part in parts)
    return settings.recursive and not is_ignored and not matches_exclude(os.path.relpath(path, root), settings.exclude)


def find_photo(path: str) -> FoundPhoto | None:
    """The photo at `path` as it is now; None if there is no regular file."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return FoundPhoto(_build_ref(path, status), age_s=time.time() - max(status.st_mtime, status.st_ctime))


def read_photo(path: str, max_bytes: int) -> Payload:
    """The file's bytes and their version.

    Raises GoneError if there is no regular file (any more), UnfinishedError if it changes while it is read,
    PermanentError if it is too large or may not be read, TemporaryError for any other fault.
    """
    with open(path, "rb", opener=_open) as file:
        before = os.fstat(file.fileno())
        if before.st_size > max_bytes:
            raise PermanentError("too-many-bytes", f"The file has {before.st_size} bytes; the limit is {max_bytes}.")
        data = _read_all(file, path, max_bytes)
        after = os.fstat(file.fileno())
    if len(data) > max_bytes:
        raise PermanentError("too-many-bytes", f"The file has more bytes than the limit of {max_bytes}.")
    tells_size = after.st_size > 0 or not data  # some FUSE mounts report 0 for a file that is downloaded on reading
    if _build_ref(path, before) != _build_ref(path, after) or (tells_size and len(data) != after.st_size):
        raise UnfinishedError(f"{path} changed while it was read.")
    return Payload(_build_ref(path, after), data)


def _open(path: str, _: int) -> int:
    """Open a regular file, without following a link, and without waiting for the writer of a pipe."""
    try:
        descriptor = os.open(path, OPEN_FLAGS)
    except OSError as error:
        if error.errno in GONE_ERRORS:
            raise GoneError(f"{path} is gone.") from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise PermanentError("unreadable", "The file may not be read; grant pawtag's user read access.") from error
        raise TemporaryError(f"Files in {_folder_of(path)} cannot be opened: {error.strerror}.") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise GoneError(f"{path} is no regular file.")
    return descriptor


def _read_all(file: BinaryIO, path: str, max_bytes: int) -> bytes:
    try:
        return file.read(max_bytes + 1)
    except OSError as error:
        raise TemporaryError(f"Files in {_folder_of(path)} cannot be read: {error.strerror}.") from error


def _folder_of(path: str) -> str:
    """Messages name the folder, not the photo, so that the log reports one fault of a folder only once."""
    return os.path.dirname(path)  # noqa: PTH120 - a name may be any bytes


def _build_ref(path: str, status: os.stat_result) -> PhotoRef:
    return PhotoRef(path, status.st_size, status.st_mtime_ns)
