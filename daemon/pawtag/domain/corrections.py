"""What a person wrote into a record overrules the model. Pure."""

from pydantic import TypeAdapter, ValidationError

from pawtag.domain.records import PET_GROUP, Corrections, Tag, TagRecord

CORRECTIONS: TypeAdapter[Corrections] = TypeAdapter(Corrections)


def apply_corrections(record: TagRecord, corrections: object) -> TagRecord:
    """`record` with the tags of the corrected groups replaced; anything that is no correction changes nothing."""
    by_group = parse_corrections(corrections)
    if by_group is None:
        return record
    groups = list(dict.fromkeys([*record.scores, *by_group]))
    tags = tuple(tag for group in groups for tag in _build_tags(record, group, by_group))
    status = record.status
    if status != "failed" and PET_GROUP in by_group:
        status = "tagged" if by_group[PET_GROUP] else "no-pet"
    return record.model_copy(update={"tags": tags, "status": status, "corrected": by_group})


def parse_corrections(corrections: object) -> Corrections | None:
    """What a person wrote, `{"species": "dog"}` as `{"species": ["dog"]}`; None for what is no correction."""
    if not isinstance(corrections, dict):
        return None
    try:
        return CORRECTIONS.validate_python(
            {group: [labels] if isinstance(labels, str) else labels for group, labels in corrections.items()}
        )
    except ValidationError:
        return None


def _build_tags(record: TagRecord, group: str, by_group: Corrections) -> list[Tag]:
    if group in by_group:
        return [Tag(label=label, group=group, score=1.0) for label in by_group[group]]
    return [tag for tag in record.tags if tag.group == group]
