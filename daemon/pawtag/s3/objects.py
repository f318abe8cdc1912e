"""A bucket's photos: read as they are now, their records written as tags or as objects beside them.

A new photo costs one GET, whose answer tells whether there are tags to read, and one PutObjectTagging. The body of
one whose stamp is current is closed unread. One that a listing names, with its ETag, is judged by its tags alone.
"""

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from botocore.exceptions import BotoCoreError

from pawtag.config import S3Settings
from pawtag.domain.errors import PermanentError, TemporaryError
from pawtag.domain.records import Payload, PhotoRef, SourceInfo, Stamp, TagRecord
from pawtag.images import ImageLimits, check_header
from pawtag.s3.address import place
from pawtag.s3.client import explained
from pawtag.s3.object_sidecars import Beside, Spot
from pawtag.s3.object_tags import Tagging
from pawtag.s3.tag_encoding import by_of, merged, tags_of

HEAD_BYTES = 64 * 1024
# What a GET told of tags holds that long; a photo that waited longer for the model has them read again.
FRESH_S = 0.3
NOT_TAKEN = "not-taken"


@dataclass(frozen=True, slots=True)
class Opened:
    """An object as it is now: its version, its tags, its body, not yet read, and where its record is or may be."""

    ref: PhotoRef
    tags: dict[str, str]
    body: Any
    spot: Spot | None = None
    at_s: float = field(default_factory=time.monotonic)

    @property
    def is_fresh(self) -> bool:
        """Whether its tags may be taken for what is there now."""
        return time.monotonic() - self.at_s < FRESH_S


class Objects:
    """Photos of a store, and the sink of their records; see ports.Sink. Its calls block, each photo in one thread."""

    def __init__(self, client: Any, settings: S3Settings, limits: ImageLimits) -> None:
        """`client`: boto3's for S3."""
        self._client, self._settings, self._limits = client, settings, limits
        self.tagging, self.beside = Tagging(client), Beside(client, settings)
        self._open: dict[str, Opened] = {}
        self._lock = threading.Lock()
        self._is_probed = False

    def probe(self) -> None:
        """Find out whether the store has tags, where a bucket is named; the first call asks."""
        if self._writes_tags and self._settings.bucket and not self._is_probed:
            self._is_probed = True
            with suppress(TemporaryError):  # met again, and named, by the photos
                self.tagging.probe(self._settings.bucket, self._settings.prefix)

    def read_stamp(self, ref: PhotoRef) -> Stamp | None:
        """What is written for the object as it is now; it stays open for `read`, until `close`."""
        if ref.etag is not None:
            return self._stamp(ref, self.tagging.of(ref) if self._writes_tags else {})[0]
        try:
            opened = self._opened(ref)
        except PermanentError:  # `read` meets it again, and it becomes the photo's record
            return None
        stamp, spot = self._stamp(opened.ref, opened.tags)
        if spot:
            self._keep(replace(opened, spot=spot))
        return stamp

    def read(self, ref: PhotoRef) -> Payload:
        """The bytes of the object that `current` judged. Raises PermanentError as soon as it is known to be refused."""
        opened = self._of(ref) or self._opened(ref)
        size = opened.ref.size_bytes
        if size > self._limits.max_bytes:
            limit = f"the limit is {self._limits.max_bytes}"
            raise PermanentError("too-many-bytes", f"The object has {size} bytes; {limit}.")
        with explained(ref.uri):
            try:
                head = opened.body.read(HEAD_BYTES)
                check_header(head, self._limits)
                data = head + opened.body.read()
            except (BotoCoreError, OSError) as error:
                raise TemporaryError(f"{ref.uri} could not be read to its end: {error}.") from error
        if len(data) != size:
            raise TemporaryError(f"{ref.uri} was cut off: {len(data)} of {size} bytes came.")
        return Payload(opened.ref, data)

    def write(self, ref: PhotoRef, record: TagRecord) -> None:
        """Write the record as the settings say; where tags find no room or are refused, as an object beside it."""
        opened = self._of(ref)
        now = opened.ref if opened else ref
        spot = (opened and opened.spot) or (self.beside.find(now) if self._settings.write != "tags" else None)
        if spot:
            record = spot.apply_corrections(record)
        own = self._tags_of(record, now)
        there = opened.tags if opened and opened.is_fresh else own
        carries = self._writes_tags and self.tagging.write(now, own, there)
        if self._settings.write != "tags" or not carries:
            is_refused = self._writes_tags and not carries  # by then it is known whether the store has tags at all
            self.beside.write(spot or self.beside.find(now), _without_tags(record) if is_refused else record)

    def close(self, ref: PhotoRef) -> None:
        """Let go of the object's body."""
        with self._lock:
            opened = self._open.pop(ref.uri, None)
        if opened:
            opened.body.close()

    def describe_source(self, ref: PhotoRef) -> SourceInfo:
        """What a record says of the object."""
        opened = self._of(ref)
        now = opened.ref if opened else ref
        return SourceInfo(kind="s3", uri=now.uri, etag=now.etag, version_id=now.version_id)

    @property
    def _writes_tags(self) -> bool:
        return self._settings.write != "sidecar" and self.tagging.is_there

    def _stamp(self, ref: PhotoRef, tags: dict[str, str]) -> tuple[Stamp | None, Spot | None]:
        """The stamp; and where the record is, if that had to be looked for: tags may have found no room."""
        by = by_of(tags, str(ref.etag)) if self._writes_tags else None
        if self._settings.write == "tags" and self._writes_tags and not self.tagging.refuses_ours:
            if by:
                return _stamp_of_tags(by, ref), None
            if not tags:
                return None, None
        spot = self.beside.find(ref)
        stamp = spot.stamp
        if stamp is None or stamp.record is None:
            return (_stamp_of_tags(by, ref) if by and self._settings.write == "tags" else None), spot
        if self._settings.write == "both" and not self._carries(tags, stamp.record, ref):
            return None, spot  # the tags are yet to follow
        return stamp, spot

    def _carries(self, tags: dict[str, str], record: TagRecord, ref: PhotoRef) -> bool:
        """Whether those are the record's tags, or the record says that the object takes none."""
        if not self._writes_tags or _is_without_tags(record):
            return True
        return merged(self._tags_of(record, ref), tags) == tags

    def _tags_of(self, record: TagRecord, ref: PhotoRef) -> dict[str, str]:
        chosen = None if self._settings.tags is None else frozenset(self._settings.tags)
        return tags_of(record, ref.etag or "", chosen)

    def _of(self, ref: PhotoRef) -> Opened | None:
        with self._lock:
            return self._open.get(ref.uri)

    def _keep(self, opened: Opened) -> None:
        with self._lock:
            self._open[opened.ref.uri] = opened

    def _opened(self, ref: PhotoRef) -> Opened:
        self.close(ref)
        with explained(ref.uri):
            found = self._client.get_object(**place(ref.uri))
        version_id = found.get("VersionId")
        now = replace(
            ref,
            size_bytes=found["ContentLength"],
            etag=found["ETag"].strip('"'),
            version_id=None if version_id == "null" else version_id,
        )
        opened = Opened(now, {}, found["Body"])
        self._keep(opened)  # before the tags: whatever comes, `close` finds the body
        if self._writes_tags:
            opened = replace(opened, tags=self.tagging.opened(now, found.get("TagCount")))
            self._keep(opened)
        return opened


def _stamp_of_tags(by: str, ref: PhotoRef) -> Stamp:
    return Stamp(
        size_bytes=None,
        mtime_ns=None,
        sha256=None,
        by=by,
        labels="",
        model_id="",
        fallback=False,
        tagged_at="",
        etag=ref.etag,
    )


def _without_tags(record: TagRecord) -> TagRecord:
    """The record, saying that its object could not take its tags."""
    return record.model_copy(update={"source": record.source.model_copy(update={"tags": NOT_TAKEN})})


def _is_without_tags(record: TagRecord) -> bool:
    return getattr(record.source, "tags", None) == NOT_TAKEN
