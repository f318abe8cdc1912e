"""An object that is opened as a photo; its record is its tags, or a sidecar object.

A new photo costs one GET and one PutObjectTagging; the answer to the GET contains the number of tags. If the stamp is
current, the body is not read. A photo from a listing costs one GetObjectTagging, because its ETag is known.
"""

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from botocore.exceptions import BotoCoreError

from pawtag.config import S3Settings
from pawtag.domain.errors import ChangedError, GoneError, PawtagError, PermanentError, TemporaryError
from pawtag.domain.records import Payload, PhotoRef, Stamp, TagRecord, Written
from pawtag.images import ImageLimits, check_header
from pawtag.s3.address import build_object_params, read_etag
from pawtag.s3.client import Client
from pawtag.s3.client_errors import ARCHIVED_REASON
from pawtag.s3.object_sidecars import ObjectSidecars, Slot
from pawtag.s3.object_tags import ObjectTags
from pawtag.s3.tag_encoding import encode_tags, merge_tags, parse_tag_corrections, parse_tag_stamp

HEAD_BYTES = 64 * 1024
# How long the tags of a GET count as current. A photo that waits longer for the model has them read again.
TAGS_FRESH_S = 0.3
TAGS_REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class StoreAccess:
    """What every object of a store needs."""

    client: Client
    settings: S3Settings
    limits: ImageLimits
    object_tags: ObjectTags
    sidecars: ObjectSidecars

    @property
    def writes_tags(self) -> bool:
        """Whether records become tags, as far as is known."""
        return self.settings.output != "sidecar" and self.object_tags.is_supported


class StoredObject:
    """See threaded_photo.BlockingPhoto."""

    def __init__(self, ref: PhotoRef, access: StoreAccess) -> None:
        """Nothing is requested yet. With an ETag in `ref`, `look` reads the tags alone."""
        self.version = ref
        self._access = access
        self._tags: dict[str, str] = {}
        self._tags_at_s = 0.0
        self._body: Any = None
        self._slot: Slot | None = None
        self._fault: PawtagError | None = None

    def look(self) -> Written:
        """What tags and sidecar object say. Where no ETag was known the body stays open for `read`."""
        if self._body is not None or (self.version.etag is not None and self._fault is None):
            self._read_tags()
        else:
            self._look_by_get()
        stamp, self._slot = self._find_stamp()
        document = (self._slot.found.content if self._slot and self._slot.found else None) or {}
        corrections = document.get("corrected")
        if corrections is None and self._access.writes_tags:
            corrections = parse_tag_corrections(self._tags)
        outputs = self._slot.found.written.outputs if self._slot and self._slot.found else {}
        archived = self._fault.reason if isinstance(self._fault, GoneError) else None
        return Written(stamp, corrections, outputs, skip_reason=archived)

    def read(self) -> Payload:
        """The object's bytes as they are now. Raises PermanentError as early as possible."""
        if self._fault:
            raise self._fault
        if self._body is None:
            self._get()
        size, limits = self.version.size_bytes or 0, self._access.limits
        if size > limits.max_bytes:
            raise PermanentError("too-many-bytes", f"The object has {size} bytes; the limit is {limits.max_bytes}.")
        with self._access.client.translate_errors(self.version.uri):
            try:
                head = self._body.read(HEAD_BYTES)
                check_header(head, limits)
                data = head + self._body.read()
            except (BotoCoreError, OSError) as error:
                raise TemporaryError(f"{self.version.uri} could not be read to its end: {error}.") from error
            finally:
                self.close()
        if len(data) != size:
            raise TemporaryError(f"{self.version.uri} was cut off: {len(data)} of {size} bytes arrived.")
        return Payload(self.version, data)

    def write(self, record: TagRecord, seen: Written) -> None:
        """Write the record as s3.output says. If the tags do not fit or are refused, it becomes a sidecar object."""
        access, settings = self._access, self._access.settings
        own = self._encode(record)
        is_recent = time.monotonic() - self._tags_at_s < TAGS_FRESH_S
        known = self._tags if is_recent else own
        corrections = parse_tag_corrections(self._tags)
        carries = access.writes_tags and access.object_tags.write(self.version, own, known, corrections)
        if settings.output != "tags" or not carries:
            is_refused = access.writes_tags and not carries  # the write has shown whether the store supports tags
            access.sidecars.write(self._choose_slot(seen), _mark_refused(record) if is_refused else record, seen)

    @property
    def is_open(self) -> bool:
        """Whether its body holds a connection."""
        return self._body is not None

    def close(self) -> None:
        """Close the object's body."""
        if self._body is not None:
            body, self._body = self._body, None
            body.close()

    def _look_by_get(self) -> None:
        try:
            self._get()
        except PermanentError as error:
            self._fault = error  # `read` raises it, and it becomes the record
            with suppress(PawtagError):
                self._read_tags()
        except GoneError as error:
            if error.reason != ARCHIVED_REASON:
                raise
            self._look_at_archived(error)

    def _look_at_archived(self, fault: GoneError) -> None:
        """Read the version and the tags of an archived object. Raises `fault` if they cannot be read."""
        try:
            self._head()
            self._read_tags()
        except PawtagError:
            raise fault from None
        self._fault = fault

    def _get(self) -> None:
        self.close()
        with self._access.client.translate_errors(self.version.uri):
            found = self._access.client.get_object(**build_object_params(self.version.uri))
        self._body = found["Body"]
        self._note_version(found)
        if self._access.writes_tags:
            tags = self._access.object_tags.read_after_get(self.version, found.get("TagCount"))
            self._tags, self._tags_at_s = tags, time.monotonic()

    def _head(self) -> None:
        with self._access.client.translate_errors(self.version.uri):
            self._note_version(self._access.client.head_object(**build_object_params(self.version.uri)))

    def _note_version(self, found: dict[str, Any]) -> None:
        version_id = found.get("VersionId")
        self.version = replace(
            self.version,
            size_bytes=found["ContentLength"],
            etag=read_etag(found, found["ContentLength"]),
            version_id=None if version_id == "null" else version_id,
        )

    def _read_tags(self) -> None:
        if self._access.writes_tags:
            self._tags, self._tags_at_s = self._access.object_tags.read(self.version), time.monotonic()

    def _choose_slot(self, seen: Written) -> Slot:
        """The slot that `look` read, or the photo's slot as it is now. Raises ChangedError for unseen corrections."""
        if self._slot:
            return self._slot
        slot = self._access.sidecars.find(self.version)
        document = (slot.found.content if slot.found else None) or {}
        if document.get("corrected") not in (None, seen.corrections):
            self._slot = slot
            raise ChangedError(f"{slot.uri} holds corrections that were not looked at.")
        return slot

    def _find_stamp(self) -> tuple[Stamp | None, Slot | None]:
        """The stamp, and the sidecar's slot. The sidecar is read only if the tags may not be the whole record."""
        access, settings = self._access, self._access.settings
        by_tags = parse_tag_stamp(self._tags, self.version.etag) if access.writes_tags else None
        if settings.output == "tags" and access.writes_tags and not access.object_tags.refuses_our_tags:
            if by_tags:
                return by_tags, None
            if not self._tags and self._slot is None:
                return None, None
        slot = access.sidecars.find(self.version)
        stamp = slot.stamp
        if stamp is None or stamp.record is None:
            return (by_tags if settings.output == "tags" else None), slot
        if settings.output == "both" and not self._carries(stamp.record):
            return None, slot  # the tags must follow
        return stamp, slot

    def _carries(self, record: TagRecord) -> bool:
        """Whether the object has the record's tags, or the record says that the object refuses them."""
        if not self._access.writes_tags or _is_refused(record):
            return True
        return merge_tags(self._encode(record), self._tags) == self._tags

    def _encode(self, record: TagRecord) -> dict[str, str]:
        settings = self._access.settings
        chosen = None if settings.tags is None else frozenset(settings.tags)
        return encode_tags(record, self.version.etag or "", chosen)


def _mark_refused(record: TagRecord) -> TagRecord:
    """The record, with a note that its object does not accept its tags."""
    return record.model_copy(update={"source": record.source.model_copy(update={"tags": TAGS_REFUSED})})


def _is_refused(record: TagRecord) -> bool:
    return getattr(record.source, "tags", None) == TAGS_REFUSED
