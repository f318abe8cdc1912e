"""What other systems are told of a photo: an id, a reason, a document. Pure."""

from typing import Any, Literal

from pawtag.domain.labels import digest_json
from pawtag.domain.records import PhotoRef, TagRecord, Written

Reason = Literal["new", "changed", "corrected", "re-tagged"]
ID_PREFIX = "photo_"


def find_reason(seen: Written, ref: PhotoRef, record: TagRecord) -> Reason:
    """Why the photo gets another record than `seen` has."""
    before = seen.stamp
    if before is None:
        return "new"
    # Tags of an object tell no digest of its content.
    is_same = before.describes(ref) if before.sha256 is None else before.sha256 == record.photo.sha256
    if not is_same:
        return "changed"
    corrected_before = before.record.corrected if before.record else seen.corrections
    return "corrected" if corrected_before != record.corrected else "re-tagged"


def build_announcement_id(ref: PhotoRef, record: TagRecord) -> str:
    """The same for the same photo, content, model and tags: a receiver drops what comes twice."""
    tags = [[tag.group, tag.label, tag.score] for tag in record.tags]
    name = ref.uri.encode("utf-8", "surrogateescape").hex()
    digest = digest_json([name, record.photo.sha256, record.fingerprint, record.status, tags], digits=32)
    return f"{ID_PREFIX}{digest}"


def build_announcement(ref: PhotoRef, record: TagRecord, reason: Reason) -> dict[str, Any]:
    """The body. Standard Webhooks 1.0.0, "Payload structure": type, timestamp, data."""
    return {
        "type": f"photo.{record.status}",
        "timestamp": record.tagged_at,
        "reason": reason,
        "uri": ref.uri.encode("utf-8", "replace").decode(),
        "data": record.to_document(),
    }
