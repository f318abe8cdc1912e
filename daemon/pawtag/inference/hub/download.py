"""What the hub offers, brought into the hub client's own cache: resumed, verified, never half.

The client (2.4) begins a broken download anew, so the bytes are fetched here. The cache's layout is the one that its
documentation describes: blobs by digest, snapshots that point at them, and refs.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
from filelock import Timeout
from huggingface_hub import constants
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import WeakFileLock, get_session, hf_raise_for_status

from pawtag.domain.errors import TemporaryError
from pawtag.files import write_atomically
from pawtag.inference.hub.api import (
    READ_TIMEOUT_S,
    SHORT_DELAY_S,
    HubFile,
    RemoteCheckpoint,
    request_headers,
    translate_errors,
)
from pawtag.inference.hub.verify import is_genuine, link_blob

LOCK_TIMEOUT_S = 1.0
PARTIAL_SUFFIX = ".pawtag-incomplete"


class Download:
    """Brings one offer into the cache. `told(bytes)` hears of what has arrived, piece by piece, and what is there."""

    def __init__(self, offer: RemoteCheckpoint, told: Callable[[int], None]) -> None:
        """Nothing is fetched yet."""
        self._remote, self._on_bytes = offer, told
        self._storage: Path = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=offer.model_id, repo_type="model")
        self._snapshot: Path = self._storage / "snapshots" / offer.commit

    def fetch(self) -> Path:
        """The snapshot's folder, whole.

        Raises TemporaryError and ModelError; what has arrived by then is kept for the next try.
        """
        with translate_errors(self._remote.model_id), self._lock():
            for file in self._remote.files:
                self._fetch(file)
            self._link()
        return self._snapshot

    @contextmanager
    def _lock(self) -> Iterator[None]:
        (self._storage / "blobs").mkdir(parents=True, exist_ok=True)
        try:
            with WeakFileLock(self._storage / "pawtag.lock", timeout=LOCK_TIMEOUT_S):
                yield
        except Timeout as error:
            raise TemporaryError(f"Another process is downloading {self._remote.model_id}.", SHORT_DELAY_S) from error

    def _fetch(self, file: HubFile) -> None:
        blob = self._storage / "blobs" / file.digest
        if _is_complete(blob, file):
            self._on_bytes(file.size_bytes or 0)
            return
        partial = blob.with_name(blob.name + PARTIAL_SUFFIX)
        _drop_unless_resumable(partial, file)
        self._stream(file, partial)
        if not _is_complete(partial, file):
            _drop_unless_resumable(partial, file)
            raise TemporaryError(f"{file.name} of {self._remote.model_id} did not arrive whole.", SHORT_DELAY_S)
        os.replace(partial, blob)

    def _stream(self, file: HubFile, partial: Path) -> None:
        """Append what is missing; from the beginning where the hub does not resume."""
        have = partial.stat().st_size if partial.exists() else 0
        asked = request_headers() | ({"Range": f"bytes={have}-"} if have else {})
        with get_session().stream("GET", file.url, headers=asked, timeout=READ_TIMEOUT_S) as response:
            if response.is_error:
                response.read()
            hf_raise_for_status(response)
            is_resumed = response.status_code == httpx2.codes.PARTIAL_CONTENT
            self._on_bytes(have if is_resumed else 0)
            self._write(response, partial, file, mode="ab" if is_resumed else "wb")

    def _write(self, response: httpx2.Response, partial: Path, file: HubFile, *, mode: str) -> None:
        with partial.open(mode) as there:
            for piece in response.iter_bytes():
                there.write(piece)
                self._on_bytes(len(piece))
                if file.size_bytes is not None and there.tell() > file.size_bytes:
                    break  # longer than it was said to be: it is damaged
            there.flush()
            os.fsync(there.fileno())

    def _link(self) -> None:
        """Point the snapshot at its blobs, config.json last: with it the snapshot counts as there."""
        self._snapshot.mkdir(parents=True, exist_ok=True)
        for file in reversed(self._remote.files):
            link_blob(self._snapshot / file.name, self._storage / "blobs" / file.digest)
        if self._remote.revision != self._remote.commit:
            ref = self._storage / "refs" / self._remote.revision
            ref.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(ref, self._remote.commit.encode())


def _is_complete(path: Path, file: HubFile) -> bool:
    """Whether the file has the size and the digest that the hub names."""
    if not path.is_file() or file.size_bytes not in (None, path.stat().st_size):
        return False
    return is_genuine(path, file.digest)


def _drop_unless_resumable(partial: Path, file: HubFile) -> None:
    """What is merely cut off is resumed; anything else is damaged."""
    if partial.exists() and (file.size_bytes is None or partial.stat().st_size >= file.size_bytes):
        partial.unlink()
