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
from pawtag.files import write_whole
from pawtag.inference.hub.api import READ_S, SOON_S, HubFile, Offer, explained, headers
from pawtag.inference.hub.verify import is_genuine, point

LOCK_S = 1.0
PARTIAL = ".pawtag-incomplete"


class Download:
    """Brings one offer into the cache. `told(bytes)` hears of what has arrived, piece by piece, and what is there."""

    def __init__(self, offer: Offer, told: Callable[[int], None]) -> None:
        """Nothing is fetched yet."""
        self._offer, self._told = offer, told
        self._storage: Path = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=offer.model_id, repo_type="model")
        self._snapshot: Path = self._storage / "snapshots" / offer.commit

    def fetch(self) -> Path:
        """The snapshot's folder, whole.

        Raises TemporaryError and ModelError; what has arrived by then is kept for the next try.
        """
        with explained(self._offer.model_id), self._alone():
            for file in self._offer.files:
                self._fetch(file)
            self._link()
        return self._snapshot

    @contextmanager
    def _alone(self) -> Iterator[None]:
        (self._storage / "blobs").mkdir(parents=True, exist_ok=True)
        try:
            with WeakFileLock(self._storage / "pawtag.lock", timeout=LOCK_S):
                yield
        except Timeout as error:
            raise TemporaryError(f"Another process is downloading {self._offer.model_id}.", SOON_S) from error

    def _fetch(self, file: HubFile) -> None:
        blob = self._storage / "blobs" / file.digest
        if _is_whole(blob, file):
            self._told(file.size_bytes or 0)
            return
        partial = blob.with_name(blob.name + PARTIAL)
        _drop_unless_short(partial, file)
        self._stream(file, partial)
        if not _is_whole(partial, file):
            _drop_unless_short(partial, file)
            raise TemporaryError(f"{file.name} of {self._offer.model_id} did not arrive whole.", SOON_S)
        os.replace(partial, blob)

    def _stream(self, file: HubFile, partial: Path) -> None:
        """Append what is missing; from the beginning where the hub does not resume."""
        have = partial.stat().st_size if partial.exists() else 0
        asked = headers() | ({"Range": f"bytes={have}-"} if have else {})
        with get_session().stream("GET", file.url, headers=asked, timeout=READ_S) as response:
            if response.is_error:
                response.read()
            hf_raise_for_status(response)
            is_resumed = response.status_code == httpx2.codes.PARTIAL_CONTENT
            self._told(have if is_resumed else 0)
            self._write(response, partial, file, mode="ab" if is_resumed else "wb")

    def _write(self, response: httpx2.Response, partial: Path, file: HubFile, *, mode: str) -> None:
        with partial.open(mode) as there:
            for piece in response.iter_bytes():
                there.write(piece)
                self._told(len(piece))
                if file.size_bytes is not None and there.tell() > file.size_bytes:
                    break  # longer than it was said to be: it is damaged
            there.flush()
            os.fsync(there.fileno())

    def _link(self) -> None:
        """Point the snapshot at its blobs, config.json last: with it the snapshot counts as there."""
        self._snapshot.mkdir(parents=True, exist_ok=True)
        for file in reversed(self._offer.files):
            point(self._snapshot / file.name, self._storage / "blobs" / file.digest)
        if self._offer.revision != self._offer.commit:
            ref = self._storage / "refs" / self._offer.revision
            ref.parent.mkdir(parents=True, exist_ok=True)
            write_whole(ref, self._offer.commit.encode())


def _is_whole(path: Path, file: HubFile) -> bool:
    """Whether the file has the size and the digest that the hub names."""
    if not path.is_file() or file.size_bytes not in (None, path.stat().st_size):
        return False
    return is_genuine(path, file.digest)


def _drop_unless_short(partial: Path, file: HubFile) -> None:
    """What is merely cut off is resumed; anything else is damaged."""
    if partial.exists() and (file.size_bytes is None or partial.stat().st_size >= file.size_bytes):
        partial.unlink()
