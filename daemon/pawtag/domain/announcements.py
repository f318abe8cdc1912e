"""What other systems are told of a photo: an id, a reason, a document. Pure."""

from typing import Any, Literal

from pawtag.domain.labels import digest_json
from pawtag.domain.records import Corrections, PhotoRef, TagRecord, Written

Reason = Literal["new", "changed", "corrected", "re-tagged"]
ID_PREFIX = "photo_"


def find_reason(seen: Written, ref: PhotoRef, corrections: Corrections | None, record: TagRecord) -> Reason:
    """Why the photo gets a record that differs from `seen`. `corrections`: those before the change."""
    before = seen.stamp
    if before is None:
        return "new"
    # Object tags do not hold a digest of the content.
    is_same = before.describes(ref) if before.sha256 is None else before.sha256 == record.photo.sha256
    if not is_same or (before.failure and record.error is None):
        return "changed"
    return "corrected" if corrections != record.corrected else "re-tagged"


def build_announcement_id(ref: PhotoRef, record: TagRecord, follows: str | None) -> str:
    """The same id for the same photo, content, model and tags, so that a receiver can drop repetitions.

    `follows`: a digest of the corrections before this one. With it, undoing a correction does not get the first id.
    """
    tags = [[tag.group, tag.label, tag.score] for tag in record.tags]
    name = ref.uri.encode("utf-8", "surrogateescape").hex()
    content = [name, record.photo.sha256, record.fingerprint, record.status, tags, follows]
    return f"{ID_PREFIX}{digest_json(content, digits=32)}"


def describe_corrections(corrections: Corrections | None) -> str:
    """For `follows`."""
    return digest_json(corrections)


def build_announcement(ref: PhotoRef, record: TagRecord, reason: Reason, at: str) -> dict[str, Any]:
    """The body. Standard Webhooks 1.0.0, "Payload structure": type, timestamp (of the event, `at`), data."""
    return {
        "type": f"photo.{record.status}",
        "timestamp": at,
        "reason": reason,
        "uri": ref.uri.encode("utf-8", "replace").decode(),
        "data": record.to_document(),
    }
