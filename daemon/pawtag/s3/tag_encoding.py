"""A record as tags of an object, and those tags as a stamp. Pure.

S3 accepts ten tags for each object. Keys have up to 128 and values up to 256 characters: letters, digits, space and
`+-=._:/@`. Ceph and SeaweedFS count bytes, so pawtag writes only ASCII.
"""

import re
from collections.abc import Mapping

from pydantic import ValidationError

from pawtag.domain.records import PET_GROUP, Corrections, Failure, Stamp, Tag, TagRecord

TAG_PREFIX = "pawtag:"
SCORE, FINGERPRINT, ERROR = TAG_PREFIX + "score", TAG_PREFIX + "fingerprint", TAG_PREFIX + "error"
CORRECTED = TAG_PREFIX + "corrected"
NO_PET, UNSURE = "none", "unsure"
MAX_TAGS, MAX_KEY_CHARS, MAX_VALUE_CHARS = 10, 128, 256
ETAG_CHARS = 8
INVALID_CHARACTER = re.compile(r"[^A-Za-z0-9 +\-=._:/@]")


def encode_tags(record: TagRecord, etag: str, chosen: frozenset[str] | None = None) -> dict[str, str]:
    """The tags of a record. `chosen`: only these groups, and `score` if it is among them; None for all.

    Corrected groups always get their tag, because the tag stores the correction.
    """
    mark = {FINGERPRINT: format_stamp(record.fingerprint, etag)}
    if record.corrected:
        mark[CORRECTED] = _truncate("/".join(record.corrected), MAX_VALUE_CHARS)
    corrected = record.corrected or {}
    groups = corrected if record.error else dict.fromkeys([*_list_groups(record), *corrected])
    values = {TAG_PREFIX + group: _encode_labels(record, group) for group in groups}
    if record.error:
        return values | {ERROR: record.error.code} | mark
    if best := _find_best_species(record):
        values[SCORE] = f"{best.score:.3f}"
    wanted = None if chosen is None else {TAG_PREFIX + name for name in (*chosen, *corrected)}
    kept = {name: value for name, value in values.items() if wanted is None or name in wanted}
    return {_truncate(name, MAX_KEY_CHARS): _truncate(value, MAX_VALUE_CHARS) for name, value in kept.items()} | mark


def format_stamp(fingerprint: str, etag: str) -> str:
    """The record's fingerprint and the beginning of the ETag, so that tags copied to other content do not count."""
    return f"{fingerprint}.{etag[:ETAG_CHARS]}"


def parse_tag_stamp(tags: Mapping[str, str], etag: str | None) -> Stamp | None:
    """The stamp of the present content; None without one, or if the tags were copied from another."""
    fingerprint, _, mark = tags.get(FINGERPRINT, "").rpartition(".")
    if not fingerprint or etag is None or mark != etag[:ETAG_CHARS]:
        return None
    return Stamp(fingerprint, etag=etag, failure=_parse_failure(tags.get(ERROR)))


def parse_tag_corrections(tags: Mapping[str, str]) -> Corrections | None:
    """The labels of the groups that a person corrected; None without any."""
    groups = [group for group in tags.get(CORRECTED, "").split("/") if group]
    values = {group: tags[TAG_PREFIX + group] for group in groups if TAG_PREFIX + group in tags}
    found = {group: value.split("/") for group, value in values.items() if value != UNSURE}
    return {group: [label for label in labels if label != NO_PET] for group, labels in found.items()} or None


def merge_tags(own: Mapping[str, str], current: Mapping[str, str]) -> dict[str, str] | None:
    """The tags of others, and `own` in place of our old ones; None if that is more than S3's ten."""
    others = {name: value for name, value in current.items() if not is_ours(name)}
    merged = others | dict(own)
    return merged if len(merged) <= MAX_TAGS else None


def is_ours(name: str) -> bool:
    """Whether a tag of that name is pawtag's."""
    return name.startswith(TAG_PREFIX)


def _list_groups(record: TagRecord) -> list[str]:
    """The groups with a tag, and always species: `none` is an answer."""
    groups = dict.fromkeys(tag.group for tag in record.tags)
    return [PET_GROUP, *(group for group in groups if group != PET_GROUP)] if PET_GROUP in record.scores else [*groups]


def _encode_labels(record: TagRecord, group: str) -> str:
    nothing = UNSURE if record.status == "unsure" and group == PET_GROUP else NO_PET
    return "/".join(_sanitise(tag.label) for tag in record.tags if tag.group == group) or nothing


def _parse_failure(code: str | None) -> Failure | None:
    """What the error tag says; its message is in the log of the daemon that wrote it."""
    try:
        return None if code is None else Failure.model_validate({"code": code, "message": None})
    except ValidationError:
        return None  # a later version's code


def _find_best_species(record: TagRecord) -> Tag | None:
    return next((tag for tag in record.tags if tag.group == PET_GROUP), None)


def _sanitise(label: str) -> str:
    """A label in the characters that every store accepts, without `/`, which separates labels."""
    return INVALID_CHARACTER.sub("_", label.replace("/", "_"))


def _truncate(text: str, max_chars: int) -> str:
    return INVALID_CHARACTER.sub("_", text)[:max_chars]
