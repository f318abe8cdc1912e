"""The download of a checkpoint into the hub client's own cache: resumed, verified, never partial.

The client (2.4) restarts a broken download at its first byte, so pawtag fetches the bytes itself. It uses the cache
layout that the client's documentation describes: blobs named by digest, snapshots that link to them, and refs.
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
from pawtag.inference.hub.api import HubFile, HubModel, RemoteCheckpoint, request_headers
from pawtag.inference.hub.verify import is_genuine, link_blob

LOCK_TIMEOUT_S = 1.0
PARTIAL_SUFFIX = ".pawtag-incomplete"


class Download:
    """Downloads one checkpoint. Calls `on_bytes(count)` for each piece, and for what is there already."""

    def __init__(self, hub: HubModel, remote: RemoteCheckpoint, on_bytes: Callable[[int], None]) -> None:
        """Nothing is fetched before `fetch`."""
        self._hub, self._remote, self._on_bytes = hub, remote, on_bytes
        self._storage: Path = Path(constants.HF_HUB_CACHE) / repo_folder_name(
            repo_id=remote.model_id, repo_type="model"
        )
        self._snapshot: Path = self._storage / "snapshots" / remote.commit

    def fetch(self) -> Path:
        """The folder of the complete snapshot.

        Raises TemporaryError and ModelError; the next attempt resumes what has arrived.
        """
        with self._hub.translate_errors(), self._lock():
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
            reason = f"Another process is downloading {self._remote.model_id}."
            raise TemporaryError(reason, self._hub.tuning.short_delay_s) from error

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
            reason = f"{file.name} of {self._remote.model_id} did not arrive completely."
            raise TemporaryError(reason, self._hub.tuning.short_delay_s)
        os.replace(partial, blob)

    def _stream(self, file: HubFile, partial: Path) -> None:
        """Append what is missing; begin again if the hub does not resume."""
        have = partial.stat().st_size if partial.exists() else 0
        asked = request_headers() | ({"Range": f"bytes={have}-"} if have else {})
        with get_session().stream("GET", file.url, headers=asked, timeout=self._hub.tuning.read_timeout_s) as response:
            if response.is_error:
                response.read()
            hf_raise_for_status(response)
            is_resumed = response.status_code == httpx2.codes.PARTIAL_CONTENT
            self._on_bytes(have if is_resumed else 0)
            self._write(response, partial, file, mode="ab" if is_resumed else "wb")

    def _write(self, response: httpx2.Response, partial: Path, file: HubFile, *, mode: str) -> None:
        with partial.open(mode) as target:
            for piece in response.iter_bytes():
                target.write(piece)
                self._on_bytes(len(piece))
                if file.size_bytes is not None and target.tell() > file.size_bytes:
                    break  # longer than the hub describes: damaged
            target.flush()
            os.fsync(target.fileno())

    def _link(self) -> None:
        """Link the snapshot to its blobs, config.json last: with it the snapshot counts as complete."""
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
    """Keep a file that is only too short, and remove any other: it is damaged."""
    if partial.exists() and (file.size_bytes is None or partial.stat().st_size >= file.size_bytes):
        partial.unlink()
