"""A bucket's photos: read as they are now, their records written as tags or as objects beside them.

A new photo costs one GET, whose answer tells whether there are tags to read, and one PutObjectTagging. The body of
one whose stamp is current is closed unread.
"""

import json
import threading
from dataclasses import dataclass, replace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError

from pawtag.config import S3Settings
from pawtag.corrections import corrected, understood
from pawtag.errors import GoneError, PermanentError, TemporaryError
from pawtag.records import SCHEMA, Payload, PhotoRef, Source, Stamp, TagRecord
from pawtag.s3.client import code_of, explained
from pawtag.s3.tags import by_of, is_ours, merged, tags_of

SCHEME = "s3://"
SIDECAR = ".json"
OURS = SCHEMA.split("/")[0] + "/"
REFUSED_TAGS = frozenset({"BadRequest", "InvalidTag", "InvalidArgument", "MalformedXML"})
NO_TAGGING = frozenset({"NotImplemented", "MethodNotAllowed"})
LOST_RACE = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
LARGEST_SIDECAR_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Opened:
    """An object as it is now: its version, its tags, and its body, not yet read."""

    ref: PhotoRef
    tags: dict[str, str]
    body: Any


class Objects:
    """Photos of a bucket, and the sink of their records; see ports.Sink. Its calls block, each photo in one thread."""

    def __init__(self, client: Any, settings: S3Settings, *, max_bytes: int) -> None:
        """`client`: boto3's for S3."""
        self._client, self._settings, self._max_bytes = client, settings, max_bytes
        self._open: dict[str, Opened] = {}
        self._lock = threading.Lock()

    def current(self, ref: PhotoRef) -> Stamp | None:
        """What is written for the object as it is now; it stays open for `read`, until `close`."""
        opened = self._get(ref)
        self.close(ref)
        with self._lock:
            self._open[ref.uri] = opened
        by = by_of(opened.tags, str(opened.ref.etag))
        if by and self._settings.write != "sidecar":
            return _stamp_of_tags(by, opened.ref)
        beside = self._sidecar(ref) if self._settings.write != "tags" or _is_crowded(opened.tags) else None
        return _stamp_of_document(beside[0]) if beside else None

    def read(self, ref: PhotoRef) -> Payload:
        """The bytes of the object that `current` judged. Raises PermanentError for one that is too large."""
        with self._lock:
            opened = self._open.get(ref.uri)
        opened = opened or self._get(ref)
        if opened.ref.size_bytes > self._max_bytes:
            limit = f"the limit is {self._max_bytes}"
            raise PermanentError("too-many-bytes", f"The object has {opened.ref.size_bytes} bytes; {limit}.")
        with explained(ref.uri):
            try:
                data = opened.body.read()
            except (BotoCoreError, OSError) as error:
                raise TemporaryError(f"{ref.uri} could not be read to its end: {error}.") from error
        if len(data) != opened.ref.size_bytes:
            raise TemporaryError(f"{ref.uri} was cut off: {len(data)} of {opened.ref.size_bytes} bytes came.")
        return Payload(opened.ref, data)

    def write(self, ref: PhotoRef, record: TagRecord) -> None:
        """Write the record as the settings say; where tags find no room or are refused, as an object beside it."""
        version = self._as_read(ref)
        wants_tags = self._settings.write != "sidecar"
        written = wants_tags and self._write_tags(version, record)
        if not written or self._settings.write == "both":
            self._write_sidecar(version, record)

    def close(self, ref: PhotoRef) -> None:
        """Let go of the object's body."""
        with self._lock:
            opened = self._open.pop(ref.uri, None)
        if opened:
            opened.body.close()

    def origin(self, ref: PhotoRef) -> Source:
        """What a record says of the object."""
        version = self._as_read(ref)
        return Source(kind="s3", uri=version.uri, etag=version.etag, version_id=version.version_id)

    def _as_read(self, ref: PhotoRef) -> PhotoRef:
        with self._lock:
            opened = self._open.get(ref.uri)
        return opened.ref if opened else ref

    def _get(self, ref: PhotoRef) -> Opened:
        with explained(ref.uri):
            found = self._client.get_object(**_place(ref.uri))
            etag, version_id = found["ETag"].strip('"'), found.get("VersionId")
            now = replace(
                ref,
                size_bytes=found["ContentLength"],
                etag=etag,
                version_id=None if version_id == "null" else version_id,
            )
            return Opened(now, self._tags(now) if found.get("TagCount") else {}, found["Body"])

    def _tags(self, ref: PhotoRef) -> dict[str, str]:
        found = self._client.get_object_tagging(**_version(ref))
        return {tag["Key"]: tag["Value"] for tag in found.get("TagSet") or []}

    def _write_tags(self, ref: PhotoRef, record: TagRecord) -> bool:
        """Merge and write; False where the store refuses, or has no room: then the tags stay as they were."""
        chosen = None if self._settings.tags is None else frozenset(self._settings.tags)
        own = tags_of(record, str(ref.etag), chosen)
        with self._lock:
            opened = self._open.get(ref.uri)
        with explained(ref.uri):
            there = self._tags(ref) if opened is None or opened.tags else {}
            together = merged(own, there)
            if together is None:
                return False
            tag_set = [{"Key": name, "Value": value} for name, value in together.items()]
            try:
                self._client.put_object_tagging(**_version(ref), Tagging={"TagSet": tag_set})
            except ClientError as error:
                if code_of(error) in REFUSED_TAGS | NO_TAGGING:
                    return False
                raise
            return not any(not is_ours(name) for name in there) or self._holds(ref, own)

    def _holds(self, ref: PhotoRef, own: dict[str, str]) -> bool:
        """Read again where others write tags too. Raises TemporaryError where ours were lost to them."""
        if own.items() <= self._tags(ref).items():
            return True
        raise TemporaryError(f"Another program changed the tags of {ref.uri} at the same moment.")

    def _write_sidecar(self, ref: PhotoRef, record: TagRecord) -> None:
        """One object beside the photo; another program's of that name stays. Raises TemporaryError after a lost race."""
        beside = self._sidecar(ref)
        old = beside[0] if beside else {}
        document = corrected(record, old.get("corrected")).document()
        document |= {key: value for key, value in old.items() if key not in document}
        condition = {"IfMatch": beside[1]} if beside else {"IfNoneMatch": "*"}
        content = json.dumps(document, ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace")
        place = _place(ref.uri + SIDECAR)
        with explained(ref.uri + SIDECAR):
            try:
                self._client.put_object(**place, Body=content, ContentType="application/json", **condition)
            except ClientError as error:
                if code_of(error) in LOST_RACE:
                    raise TemporaryError(f"{ref.uri}{SIDECAR} was written by another at the same moment.") from error
                raise

    def _sidecar(self, ref: PhotoRef) -> tuple[dict[str, Any], str] | None:
        """Our record beside the object, and its ETag; None for none. Raises PermanentError for another program's."""
        uri = ref.uri + SIDECAR
        try:
            with explained(uri):
                found = self._client.get_object(**_place(uri))
                content = found["Body"].read(LARGEST_SIDECAR_BYTES)
        except GoneError:
            return None
        try:
            document = json.loads(content)
        except ValueError:
            document = None
        if not isinstance(document, dict) or not str(document.get("schema", "")).startswith(OURS):
            raise TemporaryError(f"{uri} is another program's: the record of its photo has no place.", delay_s=300)
        return document, found["ETag"]


def uri_of(bucket: str, key: str) -> str:
    """`s3://bucket/key`."""
    return f"{SCHEME}{bucket}/{key}"


def _place(uri: str) -> dict[str, str]:
    bucket, _, key = uri.removeprefix(SCHEME).partition("/")
    return {"Bucket": bucket, "Key": key}


def _version(ref: PhotoRef) -> dict[str, str]:
    return _place(ref.uri) | ({"VersionId": ref.version_id} if ref.version_id else {})


def _is_crowded(tags: dict[str, str]) -> bool:
    """Whether ours may have found no room: then the record is an object beside it."""
    return bool(tags)


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


def _stamp_of_document(document: dict[str, Any]) -> Stamp | None:
    try:
        record = TagRecord.model_validate(document | {"corrected": understood(document.get("corrected"))})
    except ValidationError:
        return None
    if corrected(record, record.corrected) != record or record.source.etag is None:
        return None
    return Stamp.of(record)
