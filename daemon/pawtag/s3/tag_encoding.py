"""A record as an object's tags, and an object's tags as a stamp. Pure.

S3 takes ten tags an object, keys of 128 and values of 256 characters out of letters, digits, space and `+-=._:/@`;
Ceph and SeaweedFS count bytes, so ASCII alone is written.
"""

import re
from collections.abc import Mapping

from pawtag.domain.records import PET_GROUP, Tag, TagRecord

PREFIX = "pawtag:"
SCORE, BY, ERROR = PREFIX + "score", PREFIX + "by", PREFIX + "error"
NO_PET = "none"
MOST_TAGS, LONGEST_KEY, LONGEST_VALUE = 10, 128, 256
ETAG_MARK = 8
REFUSED = re.compile(r"[^A-Za-z0-9 +\-=._:/@]")


def tags_of(record: TagRecord, etag: str, chosen: frozenset[str] | None = None) -> dict[str, str]:
    """The tags that a record is on its object; `chosen`: only these groups, and `score` where it is named."""
    mark = {BY: stamp_value(record.by, etag)}
    if record.error:
        return {ERROR: record.error.code, **mark}
    values = {PREFIX + group: _value(record, group) for group in _groups(record)}
    if best := _best_species(record):
        values[SCORE] = f"{best.score:.3f}"
    wanted = {name: value for name, value in values.items() if chosen is None or name.removeprefix(PREFIX) in chosen}
    return {_fit(name, LONGEST_KEY): _fit(value, LONGEST_VALUE) for name, value in wanted.items()} | mark


def stamp_value(by: str, etag: str) -> str:
    """The record's `by` and the beginning of the ETag, so that copied tags do not vouch for another content."""
    return f"{by}.{etag[:ETAG_MARK]}"


def by_of(tags: Mapping[str, str], etag: str) -> str | None:
    """The `by` that an object's tags tell of its present content; None for none, or for copied ones."""
    by, _, mark = tags.get(BY, "").rpartition(".")
    return by if by and mark == etag[:ETAG_MARK] else None


def merged(own: Mapping[str, str], there: Mapping[str, str]) -> dict[str, str] | None:
    """All that is there but our old tags, and ours; None where the ten tags of S3 leave no room."""
    others = {name: value for name, value in there.items() if not is_ours(name)}
    together = others | dict(own)
    return together if len(together) <= MOST_TAGS else None


def is_ours(name: str) -> bool:
    """Whether pawtag writes tags of that name."""
    return name.startswith(PREFIX)


def _groups(record: TagRecord) -> list[str]:
    """The groups with a tag, and species always: `none` is an answer."""
    groups = dict.fromkeys(tag.group for tag in record.tags)
    return [PET_GROUP, *(group for group in groups if group != PET_GROUP)] if PET_GROUP in record.scores else [*groups]


def _value(record: TagRecord, group: str) -> str:
    return "/".join(_plain(tag.label) for tag in record.tags if tag.group == group) or NO_PET


def _best_species(record: TagRecord) -> Tag | None:
    return next((tag for tag in record.tags if tag.group == PET_GROUP), None)


def _plain(label: str) -> str:
    """A label in the characters that every store takes; `/` parts labels, so it is none of them."""
    return REFUSED.sub("_", label.replace("/", "_"))


def _fit(text: str, longest: int) -> str:
    return REFUSED.sub("_", text)[:longest]
