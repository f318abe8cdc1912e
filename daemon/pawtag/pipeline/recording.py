"""Records: what the tagger says of a photo, or why it cannot be tagged."""

from pawtag.clock import utc_timestamp
from pawtag.domain.errors import PermanentError
from pawtag.domain.labels import NONE
from pawtag.domain.records import PET_GROUP, SCHEMA, Failure, PhotoInfo, SourceInfo, TaggerIdentity, Tagging, TagRecord

MAX_CANDIDATES = 2


def build_record(tagging: Tagging, name: str | None, source: SourceInfo) -> TagRecord:
    """The record of a photo that the model has seen."""
    return TagRecord(
        schema=SCHEMA,
        status=tagging.status,
        photo=tagging.photo.model_copy(update={"name": name}),
        tags=tagging.tags,
        scores=tagging.scores,
        source=source,
        tagged_at=utc_timestamp(),
        **_identity_fields(tagging.identity),
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
    if record.status == "unsure":
        return f"unsure{_list_candidates(record)}"
    tags = [f"{tag.label} {tag.score:.2f}" for tag in record.tags]
    return ", ".join(["no pet", *tags] if record.status == "no-pet" else tags) or "no tag"


def _list_candidates(record: TagRecord) -> str:
    """The most likely species of a photo that shows a pet of an unclear species."""
    scores = {label: score for label, score in record.scores.get(PET_GROUP, {}).items() if label != NONE}
    best = sorted(scores, key=lambda label: -scores[label])[:MAX_CANDIDATES]
    return f": {' or '.join(f'{label} {scores[label]:.2f}' for label in best)}" if best else ""


def _identity_fields(identity: TaggerIdentity) -> dict[str, object]:
    return {"model": identity.model, "labels": identity.labels, "fingerprint": identity.fingerprint}
