"""Records: what the tagger says of a photo, or why it cannot be tagged."""

from pawtag.clock import utc_timestamp
from pawtag.domain.errors import PermanentError
from pawtag.domain.records import SCHEMA, Failure, PhotoInfo, SourceInfo, TaggerIdentity, Tagging, TagRecord


def build_record(tagging: Tagging, name: str | None, identity: TaggerIdentity, source: SourceInfo) -> TagRecord:
    """The record of a photo that the model has seen."""
    return TagRecord(
        schema=SCHEMA,
        status="tagged" if tagging.has_pet else "no-pet",
        photo=tagging.photo.model_copy(update={"name": name}),
        tags=tagging.tags,
        scores=tagging.scores,
        source=source,
        tagged_at=utc_timestamp(),
        **_identity_fields(identity),
    )


def build_failed_record(
    error: PermanentError, photo: PhotoInfo, identity: TaggerIdentity, source: SourceInfo
) -> TagRecord:
    """The record of a photo that cannot be tagged."""
    return TagRecord(
        schema=SCHEMA,
        status="failed",
        photo=photo,
        tags=(),
        scores={},
        source=source,
        error=Failure(code=error.code, message=str(error)),
        tagged_at=utc_timestamp(),
        **_identity_fields(identity),
    )


def summarise(record: TagRecord) -> str:
    """A record in a few words, for people."""
    if record.error:
        return f"failed, {record.error.code}: {record.error.message}"
    return ", ".join(f"{tag.label} {tag.score:.2f}" for tag in record.tags) or "no pet"


def _identity_fields(identity: TaggerIdentity) -> dict[str, object]:
    return {"model": identity.model, "labels": identity.labels, "fingerprint": identity.fingerprint}
