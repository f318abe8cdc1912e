"""A bucket's listing, page by page, and how far it has been worked off."""

import hashlib
import json
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pawtag.config import S3Settings
from pawtag.errors import PawtagError
from pawtag.files import write_whole
from pawtag.records import PhotoRef
from pawtag.s3.address import is_photo_key, uri_of
from pawtag.s3.client import explained

# Read at once and without a fee for reading; the colder ones only when they are named.
WARM = frozenset({"STANDARD", "INTELLIGENT_TIERING", "REDUCED_REDUNDANCY", "EXPRESS_ONEZONE"})
ASLEEP = frozenset({"GLACIER", "DEEP_ARCHIVE"})
SAVED_AT_MOST_S = 2.0
PAGE_KEYS = 1000


@dataclass(frozen=True, slots=True)
class Page:
    """Up to a thousand keys: the photos among them, the last key, and how many were passed over, by reason."""

    photos: tuple[PhotoRef, ...]
    last_key: str
    skipped: Counter[str]
    server_time: str | None = None
    """The store's own clock, as its answer's Date header."""


class Listing:
    """The photos of a bucket below a prefix. Its calls block."""

    def __init__(self, client: Any, settings: S3Settings, uri: tuple[str, str], classes: frozenset[str] = WARM) -> None:
        """`client`: boto3's for S3; `uri`: bucket and prefix; `classes`: the storage classes that are read."""
        self._client, self._settings, self._classes = client, settings, classes
        self.bucket, self.prefix = uri

    def pages(self, after: str = "") -> Iterator[Page]:
        """The listing in the store's order, a request a page, from behind the key `after` on.

        Raises what `explained` raises.
        """
        for found in self._answers(after):
            if entries := found.get("Contents", []):
                yield self._page(entries, found["ResponseMetadata"].get("HTTPHeaders", {}).get("date"))

    def entries(self) -> Iterator[dict[str, Any]]:
        """Every object, photo or not, as the store lists it."""
        for found in self._answers(""):
            yield from found.get("Contents", [])

    def _answers(self, after: str) -> Iterator[dict[str, Any]]:
        more = {"StartAfter": after} if after else {}
        while True:
            with explained(f"The bucket {self.bucket}"):
                found = self._client.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix, MaxKeys=PAGE_KEYS, **more)
            yield found
            if not found.get("IsTruncated"):
                return
            more = {"ContinuationToken": found["NextContinuationToken"]}

    def _page(self, entries: list[dict[str, Any]], server_time: str | None) -> Page:
        photos: list[PhotoRef] = []
        skipped: Counter[str] = Counter()
        for entry in entries:
            if reason := reason_to_pass(entry["Key"], entry.get("StorageClass"), self._settings, self._classes):
                skipped[reason] += 1
            else:
                photos.append(ref_of(self.bucket, entry))
        return Page(tuple(photos), entries[-1]["Key"], skipped, server_time)


def reason_to_pass(key: str, storage: str | None, settings: S3Settings, classes: frozenset[str]) -> str | None:
    """Why an object is not looked at: "not-a-photo", or its storage class; None where it is."""
    storage = storage or "STANDARD"
    if not is_photo_key(key, settings):
        return "not-a-photo"
    return storage if storage in ASLEEP or storage not in classes else None


def ref_of(bucket: str, entry: dict[str, Any]) -> PhotoRef:
    """The photo that an entry of a listing is."""
    modified: datetime = entry["LastModified"]
    return PhotoRef(
        uri_of(bucket, entry["Key"]), entry["Size"], int(modified.timestamp() * 1e9), entry["ETag"].strip('"')
    )


class Checkpoint:
    """How far a long work is, in a file of its own: everything up to `position` is done."""

    def __init__(self, folder: Path, *what: str) -> None:
        """`what` names the work: what it is, on what, for whom. Raises PawtagError where the file cannot be read."""
        self._path = folder / f"{what[0]}-{hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]}.json"
        self._saved_at_s = 0.0
        self._open: deque[list[Any]] = deque()
        self.position: str = self._read()

    def begin(self, position: str, parts: int) -> list[Any]:
        """A piece of work of so many parts, after which `position` is reached; to be handed to `finish`."""
        piece = [position, parts]
        self._open.append(piece)
        self.finish(piece, 0)
        return piece

    def finish(self, piece: list[Any], parts: int = 1) -> None:
        """Some parts of the piece are done; saved now and then, once all that was begun earlier is done too."""
        piece[1] -= parts
        before = self.position
        while self._open and self._open[0][1] <= 0:
            self.position = self._open.popleft()[0]
        if self.position != before and time.monotonic() - self._saved_at_s >= SAVED_AT_MOST_S:
            self.save()

    def save(self) -> None:
        """Put the position on the disk. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._path, json.dumps({"position": self.position}).encode())
        self._saved_at_s = time.monotonic()

    def forget(self) -> None:
        """The work is done, or is to be done anew: it begins at the beginning."""
        self._path.unlink(missing_ok=True)
        self.position = ""

    @property
    def saved_at(self) -> str:
        """When it was last saved, by this machine's clock."""
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(self._path.stat().st_mtime))

    def _read(self) -> str:
        try:
            return str(json.loads(self._path.read_bytes())["position"])
        except FileNotFoundError:
            return ""
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise PawtagError(f"{self._path} cannot be read ({error}); remove it to begin anew.") from error
