"""What a person wrote into a record overrules the model. Pure."""

from dataclasses import dataclass
from typing import Any

from pawtag.domain.labels import NONE, Labels
from pawtag.domain.records import PET_GROUP, Corrections, Stamp, Tag, TagRecord

FORM = '{"species": ["dog"]}'


@dataclass(frozen=True, slots=True)
class ParsedCorrections:
    """The corrections by group, or None; and their problems, each in one sentence."""

    by_group: Corrections | None
    problems: tuple[str, ...] = ()


def parse_corrections(written: Any, labels: Labels) -> ParsedCorrections:
    """What a person wrote: `{"species": ["dog"]}`, also `{"species": "dog"}`, `["dog"]` or `"dog"`.

    An unknown label or group in a table is a problem, but the correction applies: a person may know more than the
    labels do. A bare label must be in exactly one group. If it is not, or if the form is unknown, this is a problem,
    and no correction applies.
    """
    if written is None or written in ({}, []):
        return ParsedCorrections(None)
    by_group = _assign_groups(written, labels) if isinstance(written, str | list) else written
    if not isinstance(by_group, dict):
        return ParsedCorrections(None, (f"The correction {written!r} is not understood; write it as {FORM}.",))
    lists = {group: [found] if isinstance(found, str) else found for group, found in by_group.items()}
    if not all(isinstance(found, list) and all(isinstance(label, str) for label in found) for found in lists.values()):
        return ParsedCorrections(None, (f"The correction {written!r} is not understood; write it as {FORM}.",))
    named = {group: [_name_label(label, labels) for label in found] for group, found in lists.items()}
    chosen = {group: [label for label in found if label != NONE] for group, found in named.items()}
    return ParsedCorrections(chosen, tuple(_find_unknown(chosen, labels)))


def apply_corrections(record: TagRecord, corrections: Corrections | None, labels: Labels) -> TagRecord:
    """`record` with the tags of the corrected groups replaced. Groups that do not apply to a corrected label go."""
    if corrections is None:
        return record
    groups = dict.fromkeys([*record.scores, *corrections])
    dropped = {
        group for group in groups if group not in corrections and _is_dropped(group, record, corrections, labels)
    }
    tags = tuple(tag for group in groups if group not in dropped for tag in _build_tags(record, group, corrections))
    status = record.status
    if status != "failed" and PET_GROUP in corrections:
        status = "tagged" if corrections[PET_GROUP] else "no-pet"
    return record.model_copy(update={"tags": tags, "status": status, "corrected": corrections})


def is_of_another_photo(stamp: Stamp | None, record: TagRecord) -> bool:
    """Whether the correction belongs to another photo: both have a time when they were taken, and the times differ.

    A program that writes keywords or rotates the picture changes its bytes, but not this time.
    """
    before = stamp.record.photo.taken_at if stamp and stamp.record else None
    return before is not None and record.photo.taken_at not in (None, before)


def follows_corrections(record: TagRecord, corrections: Corrections | None, labels: Labels) -> bool:
    """Whether the tags of a record are those that its corrections ask for."""
    return record.corrected == corrections and apply_corrections(record, corrections, labels) == record


def _assign_groups(written: str | list[Any], labels: Labels) -> Corrections | None:
    """The group of each label of a bare list; None where one is in no group, or in several."""
    by_group: Corrections = {}
    for given in [written] if isinstance(written, str) else written:
        label = _name_label(given, labels) if isinstance(given, str) else given
        groups = [name for name, group in labels.groups.items() if label in list(group.labels) and label != NONE]
        if len(groups) != 1:
            return None
        by_group.setdefault(groups[0], []).append(label)
    return by_group


def _name_label(given: str, labels: Labels) -> str:
    """The label that a person means, whatever case and spaces; an unknown one as it is, without spaces around it."""
    known = {label.casefold(): label for group in labels.groups.values() for label in group.labels}
    return known.get(given.strip().casefold(), given.strip())


def _find_unknown(corrections: Corrections, labels: Labels) -> list[str]:
    problems = []
    for group, found in corrections.items():
        if group not in labels.groups:
            problems.append(f"The correction names an unknown group {group!r}; known are {', '.join(labels.groups)}.")
            continue
        known = [label for label in labels.groups[group].labels if label != NONE]
        problems += [
            f"The correction names an unknown label {label!r} of {group}; known are {', '.join(known)}."
            for label in found
            if label not in known
        ]
    return problems


def _is_dropped(name: str, record: TagRecord, corrections: Corrections, labels: Labels) -> bool:
    """Whether the group does not fit the corrected parent group.

    It does not apply to the corrected label, or the model answered it for a label that was wrong.
    """
    group = labels.groups.get(name)
    if group is None or group.parent_group not in corrections:
        return False
    corrected = corrections[group.parent_group]
    asked_about = next((tag.label for tag in record.tags if tag.group == group.parent_group), None)
    return not set(corrected) & set(group.parent_labels) or asked_about not in corrected


def _build_tags(record: TagRecord, group: str, corrections: Corrections) -> list[Tag]:
    if group in corrections:
        return [Tag(label=label, group=group, score=1.0) for label in corrections[group]]
    return [tag for tag in record.tags if tag.group == group]
