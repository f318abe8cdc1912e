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
from pawtag.s3.address import object_params
from pawtag.s3.client import translate_errors
from pawtag.s3.object_sidecars import ObjectSidecars, Slot
from pawtag.s3.object_tags import ObjectTags
from pawtag.s3.tag_encoding import encode_tags, merge_tags, parse_stamp_tag

HEAD_BYTES = 64 * 1024
# What a GET told of tags holds that long; a photo that waited longer for the model has them read again.
TAGS_FRESH_S = 0.3
TAGS_REFUSED = "not-taken"


@dataclass(frozen=True, slots=True)
class OpenObject:
    """An object as it is now: its version, its tags, its body, not yet read, and where its record is or may be."""

    ref: PhotoRef
    tags: dict[str, str]
    body: Any
    slot: Slot | None = None
    at_s: float = field(default_factory=time.monotonic)

    @property
    def is_fresh(self) -> bool:
        """Whether its tags may be taken for what is there now."""
        return time.monotonic() - self.at_s < TAGS_FRESH_S


class Objects:
    """Photos of a store, and the sink of their records; see ports.Sink. Its calls block, each photo in one thread."""

    def __init__(self, client: Any, settings: S3Settings, limits: ImageLimits) -> None:
        """`client`: boto3's for S3."""
        self._client, self._settings, self._limits = client, settings, limits
        self.object_tags, self.sidecars = ObjectTags(client), ObjectSidecars(client, settings)
        self._open: dict[str, OpenObject] = {}
        self._lock = threading.Lock()
        self._is_probed = False

    def probe(self) -> None:
        """Find out whether the store has tags, where a bucket is named; the first call asks."""
        if self._writes_tags and self._settings.bucket and not self._is_probed:
            self._is_probed = True
            with suppress(TemporaryError):  # met again, and named, by the photos
                self.object_tags.probe(self._settings.bucket, self._settings.prefix)

    def read_stamp(self, ref: PhotoRef) -> Stamp | None:
        """What is written for the object as it is now; it stays open for `read`, until `close`."""
        if ref.etag is not None:
            return self._stamp(ref, self.object_tags.read(ref) if self._writes_tags else {})[0]
        try:
            opened = self._open_object(ref)
        except PermanentError:  # `read` meets it again, and it becomes the photo's record
            return None
        stamp, slot = self._stamp(opened.ref, opened.tags)
        if slot:
            self._remember(replace(opened, slot=slot))
        return stamp

    def read(self, ref: PhotoRef) -> Payload:
        """The bytes of the object that `current` judged. Raises PermanentError as soon as it is known to be refused."""
        opened = self._find_open(ref) or self._open_object(ref)
        size = opened.ref.size_bytes
        if size > self._limits.max_bytes:
            limit = f"the limit is {self._limits.max_bytes}"
            raise PermanentError("too-many-bytes", f"The object has {size} bytes; {limit}.")
        with translate_errors(ref.uri):
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
        opened = self._find_open(ref)
        now = opened.ref if opened else ref
        slot = (opened and opened.slot) or (self.sidecars.find(now) if self._settings.output != "tags" else None)
        if slot:
            record = slot.apply_corrections(record)
        own = self._tags_of(record, now)
        there = opened.tags if opened and opened.is_fresh else own
        carries = self._writes_tags and self.object_tags.write(now, own, there)
        if self._settings.output != "tags" or not carries:
            is_refused = self._writes_tags and not carries  # by then it is known whether the store has tags at all
            self.sidecars.write(slot or self.sidecars.find(now), _without_tags(record) if is_refused else record)

    def close(self, ref: PhotoRef) -> None:
        """Let go of the object's body."""
        with self._lock:
            opened = self._open.pop(ref.uri, None)
        if opened:
            opened.body.close()

    def describe_source(self, ref: PhotoRef) -> SourceInfo:
        """What a record says of the object."""
        opened = self._find_open(ref)
        now = opened.ref if opened else ref
        return SourceInfo(kind="s3", uri=now.uri, etag=now.etag, version_id=now.version_id)

    @property
    def _writes_tags(self) -> bool:
        return self._settings.output != "sidecar" and self.object_tags.is_supported

    def _stamp(self, ref: PhotoRef, tags: dict[str, str]) -> tuple[Stamp | None, Slot | None]:
        """The stamp; and where the record is, if that had to be looked for: tags may have found no room."""
        fingerprint = parse_stamp_tag(tags, str(ref.etag)) if self._writes_tags else None
        if self._settings.output == "tags" and self._writes_tags and not self.object_tags.refuses_our_tags:
            if fingerprint:
                return _stamp_of_tags(fingerprint, ref), None
            if not tags:
                return None, None
        slot = self.sidecars.find(ref)
        stamp = slot.stamp
        if stamp is None or stamp.record is None:
            return (_stamp_of_tags(fingerprint, ref) if fingerprint and self._settings.output == "tags" else None), slot
        if self._settings.output == "both" and not self._carries(tags, stamp.record, ref):
            return None, slot  # the tags are yet to follow
        return stamp, slot

    def _carries(self, tags: dict[str, str], record: TagRecord, ref: PhotoRef) -> bool:
        """Whether those are the record's tags, or the record says that the object takes none."""
        if not self._writes_tags or _is_without_tags(record):
            return True
        return merge_tags(self._tags_of(record, ref), tags) == tags

    def _tags_of(self, record: TagRecord, ref: PhotoRef) -> dict[str, str]:
        chosen = None if self._settings.tags is None else frozenset(self._settings.tags)
        return encode_tags(record, ref.etag or "", chosen)

    def _find_open(self, ref: PhotoRef) -> OpenObject | None:
        with self._lock:
            return self._open.get(ref.uri)

    def _remember(self, opened: OpenObject) -> None:
        with self._lock:
            self._open[opened.ref.uri] = opened

    def _open_object(self, ref: PhotoRef) -> OpenObject:
        self.close(ref)
        with translate_errors(ref.uri):
            found = self._client.get_object(**object_params(ref.uri))
        version_id = found.get("VersionId")
        now = replace(
            ref,
            size_bytes=found["ContentLength"],
            etag=found["ETag"].strip('"'),
            version_id=None if version_id == "null" else version_id,
        )
        opened = OpenObject(now, {}, found["Body"])
        self._remember(opened)  # before the tags: whatever comes, `close` finds the body
        if self._writes_tags:
            opened = replace(opened, tags=self.object_tags.read_after_get(now, found.get("TagCount")))
            self._remember(opened)
        return opened


def _stamp_of_tags(fingerprint: str, ref: PhotoRef) -> Stamp:
    return Stamp(
        size_bytes=None,
        mtime_ns=None,
        sha256=None,
        fingerprint=fingerprint,
        labels="",
        model_id="",
        fallback=False,
        tagged_at="",
        etag=ref.etag,
    )


def _without_tags(record: TagRecord) -> TagRecord:
    """The record, saying that its object could not take its tags."""
    return record.model_copy(update={"source": record.source.model_copy(update={"tags": TAGS_REFUSED})})


def _is_without_tags(record: TagRecord) -> bool:
    return getattr(record.source, "tags", None) == TAGS_REFUSED
