"""What pawtag wrote for a folder: its sidecars, whose photo is still there or gone, and temporary files left over."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pawtag.config import FolderSettings
from pawtag.domain.document import SUFFIXES, truncate_name
from pawtag.files import is_temporary_name
from pawtag.folder.sidecars import Sidecars, look
from pawtag.folder.walk import is_folder, is_photo_name

SHORTENED = re.compile(r"~[0-9a-f]{12}(\.pawtag)?\.json$")  # of a photo whose name left no room


@dataclass(frozen=True, slots=True)
class Trace:
    """A file of ours. `is_orphan`: its photo is gone; `holds_yours`: a correction, or another program's keys."""

    path: Path
    is_orphan: bool
    has_user_content: bool = False


def traces(sidecars: Sidecars, settings: FolderSettings) -> Iterator[Trace]:
    """Every file that pawtag wrote for the folder, a stream. Raises OSError where the folder cannot be read."""
    with os.scandir(sidecars.root):
        pass  # a folder that is not there has no gone photos: it is not there
    top = sidecars.home
    folders = [top] if top.is_dir() else []
    while folders:
        folder = folders.pop()
        with os.scandir(folder) as found:
            entries = list(found)
        folders += [Path(entry.path) for entry in entries if is_folder(entry)]
        wanted = _names_of(sidecars.photos_of(folder))
        for entry in entries:
            if trace := _trace(Path(entry.path), wanted, settings):
                yield trace


def remove(trace: Trace, sidecars: Sidecars) -> bool:
    """Remove the file, and folders of the mirror tree that are empty then. False where it is gone or cannot be."""
    try:
        trace.path.unlink()
    except OSError:
        return False
    if sidecars.home != sidecars.root:
        with suppress(OSError):  # not empty: no more to do
            for folder in trace.path.parents:
                if folder == sidecars.home:
                    break
                folder.rmdir()
    return True


def _names_of(folder: Path) -> frozenset[str]:
    """The names that sidecars of the files in a folder have."""
    try:
        names = [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    return frozenset(truncate_name(name, suffix) for name in names for suffix in SUFFIXES)


def _trace(path: Path, wanted: frozenset[str], settings: FolderSettings) -> Trace | None:
    if path.is_symlink() or not path.is_file():
        return None
    if is_temporary_name(path.name):
        return Trace(path, is_orphan=True)
    if not path.name.endswith(".json") or (found := look(path)) is None or not found.is_ours:
        return None
    document = found.content or {}
    is_sidecar = _is_for_a_photo(path.name, settings) or SHORTENED.search(path.name)
    if not is_sidecar and path.name not in _own_names(document):
        return None  # a record that somebody saved under a name of his own
    return Trace(path, path.name not in wanted, found.has_user_content)


def _is_for_a_photo(name: str, settings: FolderSettings) -> bool:
    bases = (name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix))
    return any(is_photo_name(base, settings.patterns) for base in bases)


def _own_names(document: dict[str, Any]) -> tuple[str, ...]:
    photo = document.get("photo")
    name = photo.get("name") if isinstance(photo, dict) else None
    return tuple(truncate_name(name, suffix) for suffix in SUFFIXES) if isinstance(name, str) else ()
