"""A photo as the page sees it: a row of a list, or of the live feed."""

from typing import Any

from pawtag.domain.records import OBJECT_SCHEME, REQUEST_SCHEME, TagRecord, describe_name
from pawtag.state.results import RecentResult


def build_row(result: RecentResult, record: TagRecord) -> dict[str, Any]:
    """The row. Objects of a bucket have no thumbnail: each would cost a GET."""
    return {
        "id": result.photo_id,
        "name": record.photo.name or ("a request" if record.source.kind == "request" else describe_name(result.uri)),
        "uri": result.uri.encode("utf-8", "replace").decode(),  # a file's name may be any bytes, and JSON may not
        "status": record.status,
        "tags": [tag.model_dump(mode="json") for tag in record.tags],
        "error": record.error.model_dump(mode="json") if record.error else None,
        "corrected": record.corrected,
        "tagged_at": record.tagged_at,
        "has_thumbnail": has_thumbnail(result),
    }


def has_thumbnail(result: RecentResult) -> bool:
    """Whether the photo can be shown."""
    is_shown = result.record is not None and result.record.error is None
    return is_shown and not result.uri.startswith((OBJECT_SCHEME, REQUEST_SCHEME))
