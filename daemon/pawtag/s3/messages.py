"""The objects that a notification names, whatever store or service wrote it. Pure.

The content decides the form: S3's own notifications (versions 2.0 to 2.6), raw or wrapped by SNS, EventBridge's,
MinIO's, Ceph's, and the posts of SeaweedFS's filer. A message is only a hint: what the store holds now decides.
"""

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote_plus, unquote_plus

TEST_EVENT = "s3:TestEvent"
# A restored object could not be read before. All other events leave the content unchanged.
CREATION_EVENTS = ("ObjectCreated:", "ObjectRestore:Completed")
EVENTBRIDGE_DETAIL_TYPES = ("Object Created", "Object Restore Completed")
FILER_EVENT_TYPES = ("create", "update")
# Sources with plain keys, and with form-encoded ones (`+` for a space, `%2F`).
PLAIN_KEY_SOURCES = ("ceph:s3",)
ENCODED_KEY_SOURCES = ("aws:s3", "minio:s3")
FILER_BUCKETS_PATH = "/buckets/"


class MessageError(ValueError):
    """A message that names no object in any known form."""


@dataclass(frozen=True, slots=True)
class ObjectHint:
    """An object that may be new. `other_key`: the key decoded in another way, if the form is ambiguous.

    `fingerprint`: the fingerprint that the object's record should get, if `pawtag s3 enqueue` sent the message.
    """

    bucket: str
    key: str
    size_bytes: int | None = None
    other_key: str | None = None
    fingerprint: str | None = None

    def __post_init__(self) -> None:
        """Raises TypeError, ValueError for values of the wrong type."""
        is_named = isinstance(self.bucket, str) and isinstance(self.key, str) and self.bucket and self.key
        if not is_named or not all(isinstance(text, str | None) for text in (self.other_key, self.fingerprint)):
            raise TypeError("a name is no text")
        self.key.encode()  # a lone surrogate names no object
        if not isinstance(self.size_bytes, int | None):
            raise TypeError("a size is no number")


def parse_message(body: str) -> list[ObjectHint]:
    """The objects that a message names; none if it is a test, a removal, or a change of tags.

    Raises MessageError for anything that is no notification.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MessageError("The message is no JSON.") from error
    if not isinstance(document, dict):
        raise MessageError("The message is no JSON object.")
    try:
        return list(_parse_document(document))
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise MessageError(f"The message is no valid event of a store: {error!r}.") from error


def format_message(bucket: str, key: str, etag: str, size_bytes: int, fingerprint: str) -> str:
    """Our own message about an object, in S3's form, for daemons whose records have that fingerprint."""
    found = {"key": quote_plus(key), "eTag": etag, "size": size_bytes}
    record = {
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": bucket}, "object": found},
    }
    return json.dumps({"Records": [record], "pawtag": {"fingerprint": fingerprint}})


def _parse_document(document: dict[str, Any]) -> Iterator[ObjectHint]:
    if document.get("Event") == TEST_EVENT:
        return
    if document.get("Type") == "Notification":
        yield from parse_message(document["Message"])
    elif "Records" in document:
        fingerprint = document.get("pawtag", {}).get("fingerprint")
        for record in document["Records"]:
            yield from (replace(hint, fingerprint=fingerprint) for hint in _parse_record(record))
    elif document.get("source") == "aws.s3" or "detail-type" in document:
        yield from _parse_eventbridge(document)
    elif "event_type" in document and "message" in document:
        yield from _parse_filer(document)
    else:
        raise MessageError("The message has no format that pawtag knows.")


def _parse_record(record: dict[str, Any]) -> Iterator[ObjectHint]:
    if not record["eventName"].removeprefix("s3:").startswith(CREATION_EVENTS):
        return
    found, source = record["s3"]["object"], record.get("eventSource", "")
    key, decoded = found["key"], unquote_plus(found["key"])
    is_plain = source in PLAIN_KEY_SOURCES
    ambiguous = None if is_plain or source in ENCODED_KEY_SOURCES or decoded == key else key
    yield ObjectHint(
        bucket=record["s3"]["bucket"]["name"],
        key=key if is_plain else decoded,
        size_bytes=found.get("size"),
        other_key=ambiguous,
    )


def _parse_eventbridge(document: dict[str, Any]) -> Iterator[ObjectHint]:
    if document["detail-type"] not in EVENTBRIDGE_DETAIL_TYPES:
        return
    detail = document["detail"]
    found = detail["object"]
    yield ObjectHint(bucket=detail["bucket"]["name"], key=found["key"], size_bytes=found.get("size"))


def _parse_filer(document: dict[str, Any]) -> Iterator[ObjectHint]:
    """SeaweedFS posts paths in its filer. Folders, and changes that leave the content alone, are skipped."""
    entry = document["message"].get("new_entry")
    if document["event_type"] not in FILER_EVENT_TYPES or not entry or entry.get("is_directory"):
        return
    etag = _filer_etag(entry)
    if etag is None or etag == _filer_etag(document["message"].get("old_entry") or {}):
        return
    is_object = document["key"].startswith(FILER_BUCKETS_PATH)  # the filer has files of its own, too
    bucket, _, key = document["key"].removeprefix(FILER_BUCKETS_PATH).partition("/")
    if is_object and bucket and key:
        yield ObjectHint(bucket, key, entry.get("attributes", {}).get("file_size"))


def _filer_etag(entry: dict[str, Any]) -> str | None:
    encoded = entry.get("extended", {}).get("Seaweed-X-Amz-ETag")
    try:
        return base64.b64decode(encoded).decode("ascii") if encoded else None
    except (binascii.Error, UnicodeDecodeError):
        return None
