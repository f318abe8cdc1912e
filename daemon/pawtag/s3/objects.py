"""A bucket's photos, read as they are now; their records, written as tags or as sidecar objects.

A new photo costs one GET, whose answer contains the number of tags, and one PutObjectTagging. If the stamp is current
the body is not read. A photo of a listing, whose ETag is known, costs one GetObjectTagging.
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
from pawtag.s3.address import build_object_params
from pawtag.s3.client import Client
from pawtag.s3.object_sidecars import ObjectSidecars, Slot
from pawtag.s3.object_tags import ObjectTags
from pawtag.s3.tag_encoding import encode_tags, merge_tags, parse_stamp_tag

HEAD_BYTES = 64 * 1024
# How long the tags of a GET count as current. A photo that waits longer for the model has them read again.
TAGS_FRESH_S = 0.3
TAGS_REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class OpenObject:
    """An object as it is now: its version, its tags, its unread body, and the slot of its sidecar."""

    ref: PhotoRef
    tags: dict[str, str]
    body: Any
    slot: Slot | None = None
    at_s: float = field(default_factory=time.monotonic)

    @property
    def has_recent_tags(self) -> bool:
        """Whether the tags may count as the current ones."""
        return time.monotonic() - self.at_s < TAGS_FRESH_S


class Objects:
    """Photos of a store, and the sink of their records; see ports.Sink. All calls block; one thread for each photo."""

    def __init__(self, client: Client, settings: S3Settings, limits: ImageLimits) -> None:
        """`client` is one of S3."""
        self._client, self._settings, self._limits = client, settings, limits
        self.object_tags, self.sidecars = ObjectTags(client), ObjectSidecars(client, settings)
        self._open: dict[str, OpenObject] = {}
        self._lock = threading.Lock()
        self._is_probed = False

    def probe(self) -> None:
        """Ask once whether the store supports tags, if s3.bucket is set."""
        if self._writes_tags and self._settings.bucket and not self._is_probed:
            self._is_probed = True
            with suppress(TemporaryError):  # each photo meets and names it again
                self.object_tags.probe(self._settings.bucket, self._settings.prefix)

    def read_stamp(self, ref: PhotoRef) -> Stamp | None:
        """The stamp of the object as it is now. The object stays open for `read`, until `close`."""
        if ref.etag is not None:
            return self._stamp(ref, self.object_tags.read(ref) if self._writes_tags else {})[0]
        try:
            opened = self._open_object(ref)
        except PermanentError:  # `read` raises it again, and it becomes the record
            return None
        stamp, slot = self._stamp(opened.ref, opened.tags)
        if slot:
            self._remember(replace(opened, slot=slot))
        return stamp

    def read(self, ref: PhotoRef) -> Payload:
        """The bytes of the object that `read_stamp` opened. Raises PermanentError as early as possible."""
        opened = self._find_open(ref) or self._open_object(ref)
        size = opened.ref.size_bytes
        if size > self._limits.max_bytes:
            limit = f"the limit is {self._limits.max_bytes}"
            raise PermanentError("too-many-bytes", f"The object has {size} bytes; {limit}.")
        with self._client.translate_errors(ref.uri):
            try:
                head = opened.body.read(HEAD_BYTES)
                check_header(head, self._limits)
                data = head + opened.body.read()
            except (BotoCoreError, OSError) as error:
                raise TemporaryError(f"{ref.uri} could not be read to its end: {error}.") from error
        if len(data) != size:
            raise TemporaryError(f"{ref.uri} was cut off: {len(data)} of {size} bytes arrived.")
        return Payload(opened.ref, data)

    def write(self, ref: PhotoRef, record: TagRecord) -> None:
        """Write the record as s3.output says. Where tags find no room or are refused, it becomes a sidecar object."""
        opened = self._find_open(ref)
        current = opened.ref if opened else ref
        slot = (opened and opened.slot) or (self.sidecars.find(current) if self._settings.output != "tags" else None)
        if slot:
            record = slot.apply_corrections(record)
        own = self._encode(record, current)
        known = opened.tags if opened and opened.has_recent_tags else own
        carries = self._writes_tags and self.object_tags.write(current, own, known)
        if self._settings.output != "tags" or not carries:
            is_refused = self._writes_tags and not carries  # the write has shown whether the store supports tags
            self.sidecars.write(slot or self.sidecars.find(current), _mark_refused(record) if is_refused else record)

    def close(self, ref: PhotoRef) -> None:
        """Close the object's body."""
        with self._lock:
            opened = self._open.pop(ref.uri, None)
        if opened:
            opened.body.close()

    def describe_source(self, ref: PhotoRef) -> SourceInfo:
        """What a record says of the object."""
        opened = self._find_open(ref)
        current = opened.ref if opened else ref
        return SourceInfo(kind="s3", uri=current.uri, etag=current.etag, version_id=current.version_id)

    @property
    def _writes_tags(self) -> bool:
        return self._settings.output != "sidecar" and self.object_tags.is_supported

    def _stamp(self, ref: PhotoRef, tags: dict[str, str]) -> tuple[Stamp | None, Slot | None]:
        """The stamp; and the slot of the sidecar, if it had to be read because tags may have found no room."""
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
            return None, slot  # the tags must follow
        return stamp, slot

    def _carries(self, tags: dict[str, str], record: TagRecord, ref: PhotoRef) -> bool:
        """Whether the object has the record's tags, or the record says that the object refuses them."""
        if not self._writes_tags or _is_refused(record):
            return True
        return merge_tags(self._encode(record, ref), tags) == tags

    def _encode(self, record: TagRecord, ref: PhotoRef) -> dict[str, str]:
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
        with self._client.translate_errors(ref.uri):
            found = self._client.get_object(**build_object_params(ref.uri))
        version_id = found.get("VersionId")
        current = replace(
            ref,
            size_bytes=found["ContentLength"],
            etag=found["ETag"].strip('"'),
            version_id=None if version_id == "null" else version_id,
        )
        opened = OpenObject(current, {}, found["Body"])
        self._remember(opened)  # before the tags are read: `close` must find the body
        if self._writes_tags:
            opened = replace(opened, tags=self.object_tags.read_after_get(current, found.get("TagCount")))
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


def _mark_refused(record: TagRecord) -> TagRecord:
    """The record, with a note that its object does not accept its tags."""
    return record.model_copy(update={"source": record.source.model_copy(update={"tags": TAGS_REFUSED})})


def _is_refused(record: TagRecord) -> bool:
    return getattr(record.source, "tags", None) == TAGS_REFUSED
