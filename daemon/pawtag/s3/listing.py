"""A bucket's listing, page by page."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pawtag.config import S3Settings
from pawtag.domain.records import PhotoRef
from pawtag.s3.address import NOT_A_PHOTO, format_uri, is_photo_key, read_etag
from pawtag.s3.client import Client

# Storage classes that S3 reads at once and without a fee. Colder ones are read only if named.
DEFAULT_STORAGE_CLASSES = frozenset({"STANDARD", "INTELLIGENT_TIERING", "REDUCED_REDUNDANCY", "EXPRESS_ONEZONE"})
ARCHIVE_CLASSES = frozenset({"GLACIER", "DEEP_ARCHIVE"})


@dataclass(frozen=True, slots=True)
class Page:
    """Up to a thousand keys: the photos among them, the last key, and counts of what is skipped, by reason."""

    photos: tuple[PhotoRef, ...]
    last_key: str
    skipped: Counter[str]
    server_time: str | None = None
    """The time by the store's clock: the Date header of its answer."""


class Listing:
    """The photos of a bucket below a prefix. Its calls block."""

    def __init__(
        self,
        client: Client,
        settings: S3Settings,
        uri: tuple[str, str],
        classes: frozenset[str] = DEFAULT_STORAGE_CLASSES,
    ) -> None:
        """`client`: an S3 client; `uri`: bucket and prefix; `classes`: the storage classes to read."""
        self._client, self._settings, self._classes = client, settings, classes
        self.bucket, self.prefix = uri

    def pages(self, after: str = "") -> Iterator[Page]:
        """The listing in the store's order, after the key `after`. One request a page.

        Raises what `Client.translate_errors` raises.
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
            with self._client.translate_errors(f"The bucket {self.bucket}"):
                found = self._client.list_objects_v2(
                    Bucket=self.bucket, Prefix=self.prefix, MaxKeys=self._client.tuning.page_keys, **more
                )
            yield found
            if not found.get("IsTruncated"):
                return
            more = {"ContinuationToken": found["NextContinuationToken"]}

    def _page(self, entries: list[dict[str, Any]], server_time: str | None) -> Page:
        photos: list[PhotoRef] = []
        skipped: Counter[str] = Counter()
        for entry in entries:
            if reason := find_skip_reason(entry["Key"], entry.get("StorageClass"), self._settings, self._classes):
                skipped[reason] += 1
            else:
                photos.append(parse_entry(self.bucket, entry))
        return Page(tuple(photos), entries[-1]["Key"], skipped, server_time)


def find_skip_reason(key: str, storage: str | None, settings: S3Settings, classes: frozenset[str]) -> str | None:
    """Why an object is skipped: its name, or its storage class; None for a photo."""
    storage = storage or "STANDARD"
    if not is_photo_key(key, settings):
        return NOT_A_PHOTO
    return storage if storage in ARCHIVE_CLASSES or storage not in classes else None


def parse_entry(bucket: str, entry: dict[str, Any]) -> PhotoRef:
    """The photo of one entry in a listing."""
    modified: datetime = entry["LastModified"]
    return PhotoRef(
        format_uri(bucket, entry["Key"]),
        entry["Size"],
        int(modified.timestamp() * 1e9),
        read_etag(entry, entry["Size"]),
    )
