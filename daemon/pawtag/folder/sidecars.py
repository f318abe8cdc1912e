"""Sidecars: a record next to each photo, which also says what version was tagged. Files of others stay untouched."""

import errno
import logging
import os
import stat
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pawtag.domain.document import (
    BROKEN_SUFFIX,
    GONE_SUFFIX,
    MAX_DOCUMENT_BYTES,
    SUFFIXES,
    StoredDocument,
    encode_document,
    merge_record,
    parse_document,
    truncate_name,
)
from pawtag.domain.errors import GoneError, TemporaryError
from pawtag.domain.records import PhotoRef, TagRecord, Written
from pawtag.files import move_exclusively, read_max_name_bytes, write_atomically

log = logging.getLogger(__name__)

NOT_OURS_ERRORS = (errno.EISDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO)
MAX_WRITE_ATTEMPTS = 3
NO_SPACE_ERRORS = (errno.ENOSPC, errno.EDQUOT)


class Sidecars:
    """The records of the photos below `root`, next to them or in the mirror tree `mirror`.

    `check_mirror` is called before and after each write into the mirror tree; it raises OSError where the tree is not
    mounted.
    """

    def __init__(self, root: Path, mirror: Path | None = None, check_mirror: Callable[[], None] = lambda: None) -> None:
        """Nothing is read or written yet."""
        self.root, self._mirror, self._check_mirror = root, mirror, check_mirror

    @property
    def base_dir(self) -> Path:
        """The folder of the sidecars: `root` itself, or the mirror tree."""
        return self._mirror or self.root

    def photo_folder(self, folder: Path) -> Path:
        """The folder of the photos whose sidecars are in `folder`."""
        return self.root / folder.relative_to(self.base_dir)

    def look(self, ref: PhotoRef) -> Written:
        """What is written for the photo; nothing if there is no sidecar, a broken one, or another program's file.

        Raises TemporaryError if the sidecar cannot be read.
        """
        try:
            ours = self._find_ours(ref)
            if ours is None and (kept := self._find_kept(ref)):
                return _read_kept(kept)
        except OSError as error:
            raise _translate_error(error, ref) from error
        return ours.written if ours and ours.content else Written(problem=ours.problem if ours else None)

    def write(self, ref: PhotoRef, record: TagRecord, seen: Written) -> None:
        """Write the record. Keys of other programs stay.

        Raises ChangedError if the corrections are not those that `look` has found, GoneError if the photo is gone,
        TemporaryError if the sidecar cannot be written.
        """
        if not os.path.lexists(ref.uri):
            raise GoneError(f"{ref.uri} is gone.")
        try:
            self._check_mirror()
            kept = self._find_kept(ref)
            for _ in range(MAX_WRITE_ATTEMPTS):
                path, found = self._find_slot(ref)
                if found is not None and found.problem:
                    path, found = self._keep_broken(ref, path, found.problem), None
                old = found or kept
                content = encode_document(merge_record(record, old.content if old else None, seen))
                if _write(path, found, content, make_folder=self._mirror is not None):
                    self._check_mirror()
                    if found is None and kept:
                        os.unlink(self._build_kept_path(ref))
                    return
        except OSError as error:
            raise _translate_error(error, ref) from error
        folder = os.path.dirname(ref.uri)  # noqa: PTH120 - a name may be any bytes
        raise TemporaryError(f"Other programs' files have both names for a sidecar in {folder}.", delay_s=60)

    def set_correction_aside(self, uri: str) -> bool:
        """If the photo is gone and its record holds a correction, keep the record for exactly this photo.

        Another photo of the same name does not get the correction; this photo gets it back when it returns. Returns
        whether a record was set aside. Blocks.
        """
        ref = PhotoRef(uri)
        try:
            path, found = self._find_slot(ref)
            stamp = found.written.stamp if found and found.is_ours and (found.content or {}).get("corrected") else None
            if stamp is None or os.path.lexists(uri):
                return False
            kept = self._build_kept_path(PhotoRef(uri, stamp.size_bytes, stamp.mtime_ns))
            move_exclusively(path, kept)
        except OSError as error:
            log.debug("the correction of %s cannot be set aside: %s", uri, error)
            return False
        return True

    def _find_kept(self, ref: PhotoRef) -> StoredDocument | None:
        """The record that was set aside when exactly this photo disappeared."""
        found = read_document(self._build_kept_path(ref))
        stamp = found.written.stamp if found else None
        return found if stamp and stamp.describes(ref) else None

    def _build_kept_path(self, ref: PhotoRef) -> str:
        """One for each version of a photo: several photos may have had the name."""
        return self._build_path(ref.uri, f".{ref.mtime_ns or 0:x}-{ref.size_bytes or 0:x}{GONE_SUFFIX}")

    def _find_ours(self, ref: PhotoRef) -> StoredDocument | None:
        documents = (self._read(ref, self._build_path(ref.uri, suffix)) for suffix in SUFFIXES)
        return next((found for found in documents if found is not None and found.is_ours), None)

    def _find_slot(self, ref: PhotoRef) -> tuple[str, StoredDocument | None]:
        """The path of our record; without one, the first name that is free."""
        paths = [self._build_path(ref.uri, suffix) for suffix in SUFFIXES]
        slots = [(path, self._read(ref, path)) for path in paths]
        ours = (slot for slot in slots if slot[1] is not None and slot[1].is_ours)
        free = (slot for slot in slots if slot[1] is None)
        return next(ours, None) or next(free, slots[0])

    def _read(self, ref: PhotoRef, path: str) -> StoredDocument | None:
        """The document at `path`. The record of a photo whose name differs only in case counts as another's."""
        found = read_document(path)
        if found is None or not found.is_ours or not self._mirror:
            return found
        folder, _, name = ref.uri.rpartition(os.sep)
        other = found.photo_name
        if other is None or other == name or other.casefold() != name.casefold():
            return found
        return StoredDocument(is_ours=False) if _is_neighbour(ref.uri, os.path.join(folder, other)) else found  # noqa: PTH118

    def _keep_broken(self, ref: PhotoRef, path: str, problem: str) -> str:
        """Rename a record that is no valid JSON after a person's edit; returns its path, which is free then."""
        kept = self._build_path(ref.uri, BROKEN_SUFFIX)
        if os.path.lexists(kept):
            kept = self._build_path(ref.uri, f"-{time.strftime('%Y%m%d-%H%M%S')}{BROKEN_SUFFIX}")
        move_exclusively(path, kept)
        name = kept.rpartition(os.sep)[2]
        log.warning("%s is no JSON (%s); it is kept as %s: correct that file, and copy it back", path, problem, name)
        return path

    def sidecar_folder(self, folder: str) -> str:
        """The folder of the sidecars for the photos in `folder`."""
        return str(self.base_dir / Path(folder).relative_to(self.root)) if self._mirror else folder

    def _build_path(self, uri: str, suffix: str) -> str:
        """The path of a record. A string: scans build a million of them, and a Path keeps a table of its parts."""
        folder, _, name = uri.rpartition(os.sep)
        place = self.sidecar_folder(folder)
        return f"{place}{os.sep}{truncate_name(name, suffix, read_max_name_bytes(place))}"


def _write(path: str, found: StoredDocument | None, content: bytes, *, make_folder: bool) -> bool:
    """Whether the record is written; False if the file is another program's, or the name was taken meanwhile."""
    if found is not None and not found.is_ours:
        return False
    if make_folder:
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120 - a name may be any bytes
    try:
        write_atomically(path, content, replace=found is not None)
    except FileExistsError:
        return False
    return True


def _is_neighbour(path: str, other: str) -> bool:
    """Whether `other` is a separate file, not this file under a name with other case."""
    try:
        return not os.path.samefile(path, other)  # noqa: PTH121 - a name may be any bytes
    except OSError:
        return False


def _read_kept(kept: StoredDocument) -> Written:
    """What the kept record says. The stamp gets no time, so that the photo gets a record under its own name again."""
    written = kept.written
    return replace(written, stamp=replace(written.stamp, mtime_ns=None) if written.stamp else None)


def read_document(path: str | Path) -> StoredDocument | None:
    """The document at `path`; None if there is none. Raises OSError if it cannot be read."""
    try:
        with open(path, "rb", opener=_open) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return StoredDocument(is_ours=False)
            content = file.read(min(MAX_DOCUMENT_BYTES, status.st_size + 1))
            if not status.st_size and content:  # some FUSE mounts report a size of 0
                content += file.read(MAX_DOCUMENT_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno in NOT_OURS_ERRORS:
            return StoredDocument(is_ours=False)
        raise
    return parse_document(content)


def _open(path: str, flags: int) -> int:
    """Open the file without following a link, and without waiting for the writer of a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))


def _translate_error(error: OSError, ref: PhotoRef) -> TemporaryError:
    """The message names the folder, not the photo, so that the log reports it once for all photos in the folder."""
    folder = os.path.dirname(error.filename or ref.uri)  # noqa: PTH120 - a name may be any bytes
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return TemporaryError(
            f"The folder {folder} cannot be written ({error.strerror}); set sidecar.dir to a writable folder.",
            delay_s=30,
        )
    if error.errno in NO_SPACE_ERRORS:
        return TemporaryError(f"No space is left for sidecars in {folder}; free some space.", delay_s=10)
    return TemporaryError(f"Sidecars in {folder} cannot be read or written: {error.strerror}.", delay_s=5)
