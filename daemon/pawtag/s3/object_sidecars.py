"""Records as sidecar objects: written under a condition, so that nobody else's object is overwritten."""

import logging
import time
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from pawtag.config import S3Settings
from pawtag.domain.document import (
    BROKEN_SUFFIX,
    MAX_DOCUMENT_BYTES,
    SUFFIXES,
    StoredDocument,
    encode_document,
    merge_record,
    parse_document,
    parse_stamp,
    truncate_name,
)
from pawtag.domain.errors import ChangedError, GoneError, TemporaryError
from pawtag.domain.records import PhotoRef, Stamp, TagRecord, Written
from pawtag.s3.address import build_object_params, format_uri
from pawtag.s3.client import Client
from pawtag.s3.client_errors import OBJECT_NOT_FOUND, read_error_code

log = logging.getLogger(__name__)

MAX_KEY_BYTES = 1024
PRECONDITION_FAILED = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412"})
NAME_TAKEN_DELAY_S = 300.0


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of a photo's record. `etag` is None if nothing is there."""

    uri: str
    found: StoredDocument | None = None
    etag: str | None = None
    content: bytes = b""

    @property
    def conditions(self) -> list[dict[str, str]]:
        """The conditions for a write that overwrites no object of others, to be tried in this order."""
        if self.found is None:
            return [{"IfNoneMatch": "*"}]
        return _match_conditions(self.etag) if self.etag else [{}]  # a store without ETags knows no condition

    @property
    def stamp(self) -> Stamp | None:
        """The stamp of the record; None if it has no ETag, because then it says nothing about this content."""
        document = self.found.content if self.found else None
        stamp = parse_stamp(document) if document else None
        return stamp if stamp and stamp.etag else None


class ObjectSidecars:
    """The sidecar objects of a bucket. Every method may be called from any thread."""

    def __init__(self, client: Client, settings: S3Settings) -> None:
        """`client`: an S3 client."""
        self._client, self._settings = client, settings

    def find(self, ref: PhotoRef) -> Slot:
        """The slot of the photo's record, or the first free one. Raises TemporaryError if others use both names."""
        free: Slot | None = None
        for uri in self.list_names(ref.uri):
            slot = self.look(uri)
            if slot.found is not None and slot.found.is_ours and self._is_of(slot.found, ref):
                return slot
            free = slot if slot.found is None and free is None else free
        if free is not None:
            return free
        raise TemporaryError("Other programs' objects have both names for an object's record.", NAME_TAKEN_DELAY_S)

    def look(self, uri: str) -> Slot:
        """The slot of that name."""
        try:
            with self._client.translate_errors(uri):
                answer = self._client.get_object(**build_object_params(uri))
        except GoneError:
            return Slot(uri)
        content = _read_body(answer, uri)
        return Slot(uri, parse_document(content), answer.get("ETag"), content)

    def write(self, slot: Slot, record: TagRecord, seen: Written | None = None) -> None:
        """Write the record; `seen` decides whether corrections stay. Raises ChangedError if another program wrote."""
        old = slot.found.content if slot.found else None
        there = replace(seen or Written(), corrections=old.get("corrected") if old else None)
        content = encode_document(merge_record(record, old, there))
        if slot.found is not None and slot.found.problem:
            self._keep_broken(slot, slot.found.problem)
        if not any(self._put(slot.uri, content, condition) for condition in slot.conditions):
            raise ChangedError(f"Another program wrote {slot.uri} at the same moment.")

    def _keep_broken(self, slot: Slot, problem: str) -> None:
        """Copy a record that is no valid JSON after a person's edit, before it is overwritten."""
        stem, now = slot.uri.removesuffix(SUFFIXES[0]), time.strftime("%Y%m%d-%H%M%S")
        for kept in (stem + BROKEN_SUFFIX, f"{stem}-{now}{BROKEN_SUFFIX}"):
            if self._put(kept, slot.content, {"IfNoneMatch": "*"}):
                log.warning("%s is no JSON (%s); it is kept as %s", slot.uri, problem, kept, extra={"uri": slot.uri})
                return
        raise TemporaryError(f"{slot.uri} is no JSON, and there is no free name to keep it.")

    def list_names(self, uri: str) -> tuple[str, ...]:
        """The two URIs that the record of a photo may have."""
        photo = build_object_params(uri)
        bucket, key = self._settings.sidecar_bucket or photo["Bucket"], self._settings.sidecar_prefix + photo["Key"]
        return tuple(format_uri(bucket, truncate_name(key, suffix, MAX_KEY_BYTES)) for suffix in SUFFIXES)

    def _is_of(self, found: StoredDocument, ref: PhotoRef) -> bool:
        """Whether the record is of that photo: s3.sidecar_bucket may hold records of photos in several buckets."""
        return self._settings.sidecar_bucket is None or found.source_uri in (None, ref.uri)

    def _put(self, uri: str, content: bytes, condition: dict[str, str]) -> bool:
        with self._client.translate_errors(uri):
            try:
                self._client.put_object(
                    **build_object_params(uri), Body=content, ContentType="application/json", **condition
                )
            except ClientError as error:
                # Not found, with If-Match: somebody removed the record, and the photo is still there.
                if read_error_code(error) in PRECONDITION_FAILED | OBJECT_NOT_FOUND:
                    return False
                raise
        return True


def _read_body(answer: dict[str, Any], uri: str) -> bytes:
    """Up to MAX_DOCUMENT_BYTES. A body cut off in transit must not look like a broken record of ours."""
    expected = min(answer["ContentLength"], MAX_DOCUMENT_BYTES)
    try:
        with closing(answer["Body"]) as body:
            content: bytes = body.read(MAX_DOCUMENT_BYTES)
    except (OSError, BotoCoreError) as error:
        raise TemporaryError(f"{uri} cannot be read: {error}.") from error
    if len(content) != expected:
        raise TemporaryError(f"{uri} was cut off: {len(content)} of {expected} bytes arrived.")
    return content


def _match_conditions(etag: str) -> list[dict[str, str]]:
    """The conditions for unchanged content: Ceph 16 recognises its own ETag only without the quotes."""
    return [{"IfMatch": etag}, {"IfMatch": etag.strip('"')}]
