"""A record as an object's tags, and an object's tags as a stamp. Pure.

S3 takes ten tags an object, keys of 128 and values of 256 characters out of letters, digits, space and `+-=._:/@`;
Ceph and SeaweedFS count bytes, so ASCII alone is written.
"""

import re
from collections.abc import Mapping

from pawtag.domain.records import PET_GROUP, Tag, TagRecord

PREFIX = "pawtag:"
SCORE, FINGERPRINT, ERROR = PREFIX + "score", PREFIX + "fingerprint", PREFIX + "error"
NO_PET = "none"
MAX_TAGS, MAX_KEY_CHARS, MAX_VALUE_CHARS = 10, 128, 256
ETAG_CHARS = 8
INVALID_CHARACTER = re.compile(r"[^A-Za-z0-9 +\-=._:/@]")


def encode_tags(record: TagRecord, etag: str, chosen: frozenset[str] | None = None) -> dict[str, str]:
    """The tags that a record is on its object; `chosen`: only these groups, and `score` where it is named."""
    mark = {FINGERPRINT: format_stamp(record.fingerprint, etag)}
    if record.error:
        return {ERROR: record.error.code, **mark}
    values = {PREFIX + group: _encode_labels(record, group) for group in _list_groups(record)}
    if best := _find_best_species(record):
        values[SCORE] = f"{best.score:.3f}"
    wanted = {name: value for name, value in values.items() if chosen is None or name.removeprefix(PREFIX) in chosen}
    return {_truncate(name, MAX_KEY_CHARS): _truncate(value, MAX_VALUE_CHARS) for name, value in wanted.items()} | mark


def format_stamp(fingerprint: str, etag: str) -> str:
    """The record's `by` and the beginning of the ETag, so that copied tags do not vouch for another content."""
    return f"{fingerprint}.{etag[:ETAG_CHARS]}"


def parse_stamp_tag(tags: Mapping[str, str], etag: str) -> str | None:
    """The `by` that an object's tags tell of its present content; None for none, or for copied ones."""
    fingerprint, _, mark = tags.get(FINGERPRINT, "").rpartition(".")
    return fingerprint if fingerprint and mark == etag[:ETAG_CHARS] else None


def merge_tags(own: Mapping[str, str], there: Mapping[str, str]) -> dict[str, str] | None:
    """All that is there but our old tags, and ours; None where the ten tags of S3 leave no room."""
    others = {name: value for name, value in there.items() if not is_ours(name)}
    together = others | dict(own)
    return together if len(together) <= MAX_TAGS else None


def is_ours(name: str) -> bool:
    """Whether pawtag writes tags of that name."""
    return name.startswith(PREFIX)


def _list_groups(record: TagRecord) -> list[str]:
    """The groups with a tag, and species always: `none` is an answer."""
    groups = dict.fromkeys(tag.group for tag in record.tags)
    return [PET_GROUP, *(group for group in groups if group != PET_GROUP)] if PET_GROUP in record.scores else [*groups]


def _encode_labels(record: TagRecord, group: str) -> str:
    return "/".join(_sanitise(tag.label) for tag in record.tags if tag.group == group) or NO_PET


def _find_best_species(record: TagRecord) -> Tag | None:
    return next((tag for tag in record.tags if tag.group == PET_GROUP), None)


def _sanitise(label: str) -> str:
    """A label in the characters that every store takes; `/` parts labels, so it is none of them."""
    return INVALID_CHARACTER.sub("_", label.replace("/", "_"))


def _truncate(text: str, longest: int) -> str:
    return INVALID_CHARACTER.sub("_", text)[:longest]
