"""S3 Inventory: a listing of a bucket that S3 writes once a day, as CSV (gzip) or Parquet, with a manifest."""

import csv
import gzip
import io
import itertools
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from typing import IO, Any
from urllib.parse import unquote_plus

from pawtag.config import S3Settings
from pawtag.domain.errors import ConfigError, PawtagError
from pawtag.domain.records import PhotoRef
from pawtag.s3.address import format_uri, parse_uri
from pawtag.s3.client import Client
from pawtag.s3.listing import Page, find_skip_reason

Row = dict[str, Any]
FALSE_VALUES = ("false", "False", False)
TRUE_VALUES = ("true", "True", True)
# Parquet files name their columns differently from the manifest.
PARQUET_COLUMNS = {"bucket": "Bucket", "key": "Key", "size": "Size", "e_tag": "ETag", "storage_class": "StorageClass"}
PARQUET_COLUMNS |= {"is_latest": "IsLatest", "is_delete_marker": "IsDeleteMarker"}


class Inventory:
    """The photos of an inventory's newest versions. Its calls block."""

    def __init__(self, client: Client, settings: S3Settings, manifest: str, classes: frozenset[str]) -> None:
        """`client`: an S3 client; `manifest`: the URI of its manifest.json. Raises ConfigError, PawtagError."""
        self._client, self._settings, self._classes = client, settings, classes
        bucket, key = parse_uri(manifest)
        with client.translate_errors(manifest):
            content = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        try:
            document = json.loads(content)
            self._format = document["fileFormat"]
            self._names = [name.strip() for name in document["fileSchema"].split(",")]
            self._files = [(bucket, one["key"]) for one in document["files"]]
            self.bucket = document["sourceBucket"]
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ConfigError(f"{manifest} is no manifest of an S3 Inventory: {error!r}.") from error
        if self._format not in ("CSV", "Parquet"):
            raise ConfigError(f"The inventory is {self._format}; pawtag reads CSV and Parquet.")

    def pages(self, after: str = "") -> Iterator[Page]:
        """A thousand rows a page, after the position `after` ("file:row")."""
        first, _, row = after.partition(":")
        begin, done = int(first or 0), int(row or 0)
        for number in range(begin, len(self._files)):
            rows = self._rows(*self._files[number])
            at = done if number == begin else 0
            rows = itertools.islice(rows, at, None)
            while chunk := list(itertools.islice(rows, self._client.tuning.page_keys)):
                at += len(chunk)
                yield self._page(chunk, f"{number}:{at}")

    def _page(self, rows: list[Row], position: str) -> Page:
        photos: list[PhotoRef] = []
        skipped: Counter[str] = Counter()
        for row in rows:
            if row.get("IsLatest") in FALSE_VALUES or row.get("IsDeleteMarker") in TRUE_VALUES:
                skipped["not-the-newest"] += 1
            elif reason := find_skip_reason(row["Key"], row.get("StorageClass"), self._settings, self._classes):
                skipped[reason] += 1
            else:
                etag = str(row.get("ETag") or "").strip('"') or None
                photos.append(PhotoRef(format_uri(self.bucket, row["Key"]), int(row.get("Size") or 0), etag=etag))
        return Page(tuple(photos), position, skipped)

    def _rows(self, bucket: str, key: str) -> Iterator[Row]:
        # Download to a file first: checking the rows takes longer than S3 keeps a connection open.
        with self._client.translate_errors(format_uri(bucket, key)), tempfile.TemporaryFile() as file:
            for chunk in self._client.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(1 << 20):
                file.write(chunk)
            file.seek(0)
            yield from self._csv(file) if self._format == "CSV" else _read_parquet(file, self._client.tuning.page_keys)

    def _csv(self, file: IO[bytes]) -> Iterator[Row]:
        """CSV files hold form-encoded keys."""
        with io.TextIOWrapper(gzip.GzipFile(fileobj=file), "utf-8", newline="") as text:
            for values in csv.reader(text):
                row = dict(zip(self._names, values, strict=False))
                yield row | {"Key": unquote_plus(row["Key"])}


def _read_parquet(file: IO[bytes], batch_rows: int) -> Iterator[Row]:
    """Parquet files hold plain keys."""
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise PawtagError("Parquet needs pyarrow: pip install pyarrow, or let S3 write CSV.") from error
    for batch in ParquetFile(file).iter_batches(batch_rows):
        for row in batch.to_pylist():
            yield {PARQUET_COLUMNS.get(name, name): value for name, value in row.items()}
