"""Sidecars: a record next to each photo, which is also its stamp. Files of others are never touched."""

import errno
import os
from pathlib import Path

from pawtag.domain.document import (
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
from pawtag.files import write_atomically

NOT_OURS_ERRORS = (errno.EISDIR, errno.EACCES, errno.EPERM, errno.ELOOP)
MAX_WRITE_ATTEMPTS = 3
NO_SPACE_ERRORS = (errno.ENOSPC, errno.EDQUOT)


class Sidecars:
    """The records of the photos below `root`, next to them or in the mirror tree `mirror`."""

    def __init__(self, root: Path, mirror: Path | None = None) -> None:
        """Nothing is read or written yet."""
        self.root, self._mirror = root, mirror

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
            documents = (read_document(self._build_path(ref.uri, suffix)) for suffix in SUFFIXES)
            ours = next((found for found in documents if found is not None and found.is_ours), None)
        except OSError as error:
            raise _translate_error(error, ref) from error
        return ours.written if ours and ours.content else Written()

    def write(self, ref: PhotoRef, record: TagRecord, seen: Written) -> None:
        """Write the record. Keys of other programs stay.

        Raises ChangedError if the corrections are not those that `look` has found, GoneError if the photo is gone,
        TemporaryError if the sidecar cannot be written.
        """
        if not os.path.lexists(ref.uri):
            raise GoneError(f"{ref.uri} is gone.")
        try:
            for _ in range(MAX_WRITE_ATTEMPTS):
                path, found = self._find_slot(ref)
                if _write(path, found, record, seen, make_folder=self._mirror is not None):
                    return
        except OSError as error:
            raise _translate_error(error, ref) from error
        raise TemporaryError(f"Files of others have taken both names for the sidecar of {ref.uri}.", delay_s=60)

    def _find_slot(self, ref: PhotoRef) -> tuple[Path, StoredDocument | None]:
        """The path of our record; without one, the first name that is free."""
        paths = [Path(self._build_path(ref.uri, suffix)) for suffix in SUFFIXES]
        slots = [(path, read_document(path)) for path in paths]
        ours = (slot for slot in slots if slot[1] is not None and slot[1].is_ours)
        free = (slot for slot in slots if slot[1] is None)
        return next(ours, None) or next(free, slots[0])

    def sidecar_folder(self, folder: str) -> str:
        """The folder of the sidecars for the photos in `folder`."""
        return str(self.base_dir / Path(folder).relative_to(self.root)) if self._mirror else folder

    def _build_path(self, uri: str, suffix: str) -> str:
        """The path of a record. A string, for scans build a million of them."""
        folder, _, name = uri.rpartition(os.sep)
        return f"{self.sidecar_folder(folder)}{os.sep}{truncate_name(name, suffix)}"


def _write(path: Path, found: StoredDocument | None, record: TagRecord, seen: Written, *, make_folder: bool) -> bool:
    """Whether the record is written; False if the file is another program's, or the name was taken meanwhile."""
    if found is not None and not found.is_ours:
        return False
    content = encode_document(merge_record(record, found.content if found else None, seen))
    if make_folder:
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        write_atomically(path, content, replace=found is not None)
    except FileExistsError:
        return False
    return True


def read_document(path: str | Path) -> StoredDocument | None:
    """The document at `path`; None if there is none. Raises OSError if it cannot be read."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - a million times
            content = file.read(min(MAX_DOCUMENT_BYTES, os.fstat(file.fileno()).st_size + 1))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno in NOT_OURS_ERRORS:
            return StoredDocument(is_ours=False)
        raise
    return parse_document(content)


def _translate_error(error: OSError, ref: PhotoRef) -> TemporaryError:
    """The fault names the folder, not the photo: the log names it once for all of them."""
    folder = os.path.dirname(error.filename or ref.uri)  # noqa: PTH120 - a name may be any bytes
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return TemporaryError(
            f"The folder {folder} cannot be written ({error.strerror}); set sidecar.dir to one that can.",
            delay_s=30,
        )
    if error.errno in NO_SPACE_ERRORS:
        return TemporaryError(f"No space is left for sidecars in {folder}; free some.", delay_s=10)
    return TemporaryError(f"Sidecars in {folder} cannot be read or written: {error.strerror}.", delay_s=5)
