"""Explains to a person why the scan of a folder would not find a path."""

import os
import stat
from pathlib import Path

from pawtag.config import FolderSettings
from pawtag.files import is_ignored_name, is_temporary_name
from pawtag.folder.walk import SIDECAR_SUFFIXES, is_photo_name, matches_exclude


def find_skip_reason(path: Path, root: Path, settings: FolderSettings) -> str | None:
    """Why pawtag passes over the path when it watches `root`; None for a photo. Raises OSError if it is not there."""
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return "It is a link, and links are not followed."
    if stat.S_ISDIR(status.st_mode):
        return "It is a folder: 'pawtag scan' tags the photos in it."
    if not stat.S_ISREG(status.st_mode):
        return "It is no regular file."
    return _find_place_reason(path, root, settings) or _find_name_reason(path.name, settings)


def _find_place_reason(path: Path, root: Path, settings: FolderSettings) -> str | None:
    parts = os.path.relpath(path.parent, root).split(os.sep)
    if parts[0] == os.pardir:
        return f"It is not below the folder that is watched, {root}."
    folders = [part for part in parts if part != os.curdir]
    if folders and not settings.recursive:
        return "It is in a subfolder, and folder.recursive is off."
    ignored = next((part for part in folders if is_ignored_name(part)), None)
    if ignored:
        return f"It is in the hidden or service folder {ignored}."
    if matches_exclude(os.path.relpath(path, root), settings.exclude):
        return "folder.exclude matches it, or a folder that contains it."
    return None


def _find_name_reason(name: str, settings: FolderSettings) -> str | None:
    if is_temporary_name(name) or name.lower().endswith(SIDECAR_SUFFIXES):
        return "Its name is that of a record or a temporary file: these are never photos."
    if name.startswith("."):
        return "It is hidden by its name."
    if not is_photo_name(name, settings.patterns):
        return "Its name matches none of folder.patterns."
    return None
