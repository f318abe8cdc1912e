"""Files of the hub client's cache: blobs named by their digest, and snapshots that link to them."""

import hashlib
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

SHA256, GIT_SHA1 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")


def is_genuine(path: Path, digest: str) -> bool:
    """Whether a file holds what its digest says: SHA-256 of a large one, git's SHA-1 of a small one.

    Another name (of a mirror) cannot be checked, and is accepted.
    """
    if SHA256.fullmatch(digest):
        return compute_sha256(path) == digest
    if GIT_SHA1.fullmatch(digest):
        content = path.read_bytes()
        header = f"blob {len(content)}\0".encode()
        return hashlib.sha1(header + content, usedforsecurity=False).hexdigest() == digest
    return True


def find_digest(path: Path) -> str | None:
    """The digest that the cache gives a snapshot's file; None for any other file."""
    target = path.readlink() if path.is_symlink() else path
    return target.name if target.parent.name == "blobs" else None


def compute_sha256(path: Path) -> str:
    """A file's SHA-256, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def link_blob(pointer: Path, blob: Path) -> None:
    """Make a snapshot's file a link to the blob; a copy if the file system has no links."""
    if pointer.exists() and pointer.resolve() == blob.resolve():
        return
    with suppress(FileNotFoundError):
        pointer.unlink()
    try:
        pointer.symlink_to(os.path.relpath(blob, pointer.parent))
    except OSError:
        shutil.copyfile(blob, pointer)
