"""Removing what pawtag wrote for a folder: sidecars, with or without their photo, and left-over temporary files."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from pawtag.config import FolderSettings
from pawtag.domain.document import SUFFIXES, StoredDocument, encode_document, truncate_name
from pawtag.domain.records import Json
from pawtag.files import is_temporary_name, read_max_name_bytes, write_atomically
from pawtag.folder.sidecars import Sidecars, read_document
from pawtag.folder.walk import is_folder, is_photo_name

# Names of records that are kept because a person edited them: the record is broken, or its photo is gone.
KEPT_NAME = re.compile(r"(.+?)(?:-\d{8}-\d{6}|\.[0-9a-f]+-[0-9a-f]+)?(?:\.broken|\.gone)\.json")
SHORTENED_NAME = re.compile(r"~[0-9a-f]{12}(\.pawtag)?\.json$")  # of a photo with a long name


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file that pawtag wrote. `is_orphan`: its photo is gone.

    `has_user_content`: it holds a correction, or another program's keys. `photo`: the path of a record's photo, even if
    the photo does not exist. `outputs`: what other outputs wrote for the photo.
    """

    path: Path
    is_orphan: bool
    has_user_content: bool = False
    photo: str = ""
    outputs: Mapping[str, Json] = field(default_factory=dict)


def find_written_files(sidecars: Sidecars, settings: FolderSettings) -> Iterator[WrittenFile]:
    """Every file that pawtag wrote for the folder, as a stream. Raises OSError if the folder cannot be read."""
    with os.scandir(sidecars.root):
        pass  # a missing folder must not make all sidecars orphans
    top = sidecars.base_dir
    folders = [top] if top.is_dir() else []
    while folders:
        folder = folders.pop()
        with os.scandir(folder) as found:
            entries = list(found)
        folders += [Path(entry.path) for entry in entries if is_folder(entry)]
        max_bytes = read_max_name_bytes(str(folder))
        photos = sidecars.photo_folder(folder)
        names = _sidecar_names(photos, max_bytes)
        for entry in entries:
            if file := _classify(Path(entry.path), names, settings, max_bytes):
                yield replace(file, photo=str(photos / file.photo)) if file.photo else file


def forget_outputs(file: WrittenFile) -> bool:
    """Remove the outputs' notes from the record. False if it cannot be written. A broken record stays unchanged."""
    found = read_document(file.path)
    if not file.outputs or found is None or found.content is None:
        return True
    try:
        write_atomically(file.path, encode_document({**found.content, "outputs": {}}))
    except OSError:
        return False
    return True


def remove_file(file: WrittenFile, sidecars: Sidecars) -> bool:
    """Remove the file, and mirror folders that are empty then. False if it is gone or cannot be removed."""
    try:
        file.path.unlink()
    except OSError:
        return False
    if sidecars.base_dir != sidecars.root:
        with suppress(OSError):  # not empty
            for folder in file.path.parents:
                if folder == sidecars.base_dir:
                    break
                folder.rmdir()
    return True


def _sidecar_names(folder: Path, max_bytes: int) -> frozenset[str]:
    """The names of the sidecars that files in a folder may have."""
    try:
        names = [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    return frozenset(truncate_name(name, suffix, max_bytes) for name in names for suffix in SUFFIXES)


def _classify(path: Path, names: frozenset[str], settings: FolderSettings, max_bytes: int) -> WrittenFile | None:
    if path.is_symlink() or not path.is_file():
        return None
    if is_temporary_name(path.name):
        return WrittenFile(path, is_orphan=True)
    if not path.name.endswith(".json") or (found := read_document(path)) is None or not found.is_ours:
        return None
    recorded = [truncate_name(found.photo_name, suffix, max_bytes) for suffix in SUFFIXES] if found.photo_name else []
    is_sidecar = _is_for_a_photo(path.name, settings) or SHORTENED_NAME.search(path.name)
    if not is_sidecar and path.name not in recorded:
        return None  # a record that somebody saved under another name
    has_user_content = found.has_user_content or found.problem is not None
    photo = _find_photo_name(path.name, found)
    return WrittenFile(path, path.name not in names, has_user_content, photo, found.written.outputs)


def _find_photo_name(name: str, found: StoredDocument) -> str:
    """The name of the photo whose record has that name."""
    if SHORTENED_NAME.search(name):
        return found.photo_name or ""
    if kept := KEPT_NAME.fullmatch(name):
        return kept[1]
    return next(name.removesuffix(suffix) for suffix in reversed(SUFFIXES) if name.endswith(suffix))


def _is_for_a_photo(name: str, settings: FolderSettings) -> bool:
    bases = [name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)]
    if kept := KEPT_NAME.fullmatch(name):
        bases.append(kept[1])
    return any(is_photo_name(base, settings.patterns) for base in bases)
