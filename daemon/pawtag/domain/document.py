"""The JSON document of a record: parsing, merging, encoding. Pure."""

import hashlib
import json
import os
import re
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from pawtag.domain.errors import ChangedError
from pawtag.domain.records import SCHEMA, Stamp, TagRecord, Written

SCHEMA_NAME = SCHEMA.split("/")[0]
MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
MAX_NAME_BYTES = 255
# The second is used if another program has a file of the first name.
SUFFIXES = (".json", ".pawtag.json")
# Names for sidecars with text of a person: one for broken sidecars, and one for sidecars without a photo.
BROKEN_SUFFIX, GONE_SUFFIX = ".broken.json", ".gone.json"
SET_ASIDE = "corrected_before"  # the correction of another photo that had the name
CORRECTION = re.compile(rb"[\"']corrected[\"']\s*:\s*(?!null)\S")
OUR_KEYS = frozenset(field.alias or name for name, field in TagRecord.model_fields.items() if name != "corrected")


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """The document under a record's name. `content` is None if it is broken, or not a record of pawtag.

    `problem`: the error in a broken record that a person has edited; None for one that was only cut off.
    """

    is_ours: bool
    content: dict[str, Any] | None = None
    problem: str | None = None

    @property
    def has_user_content(self) -> bool:
        """Whether a person's correction is in it, or another program's key."""
        document = self.content or {}
        return bool(document.get("corrected")) or not set(document) <= OUR_KEYS | {"corrected"}

    @property
    def written(self) -> Written:
        """The stamp, the corrections and the outputs that the document holds."""
        document = self.content or {}
        return Written(parse_stamp(document), document.get("corrected"), _read_outputs(document))

    @property
    def photo_name(self) -> str | None:
        """The photo's name when the record was written, where it says so."""
        photo = (self.content or {}).get("photo")
        name = photo.get("name") if isinstance(photo, dict) else None
        return name if isinstance(name, str) else None

    @property
    def source_uri(self) -> str | None:
        """Whose record it is, where it says so."""
        source = (self.content or {}).get("source")
        return source.get("uri") if isinstance(source, dict) else None


def parse_document(content: bytes) -> StoredDocument:
    """Whether `content` is a record of pawtag (also one that was cut off) or another program's file."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        is_ours = _starts_like_a_record(content)
        return StoredDocument(is_ours, problem=str(error) if is_ours and _is_edited(content) else None)
    ours = isinstance(document, dict) and str(document.get("schema", "")).startswith(SCHEMA_NAME + "/")
    return StoredDocument(ours, document if ours else None)


def merge_record(record: TagRecord, old: dict[str, Any] | None, seen: Written) -> dict[str, Any]:
    """The record's document, with the keys that other programs added to the old document.

    `seen`: what was read before the record was made. Raises ChangedError if corrections or outputs have changed since.
    """
    old = old or {}
    if old.get("corrected") != seen.corrections:
        raise ChangedError("A person changed the corrections at the same moment.")
    if _read_outputs(old) != dict(seen.outputs):
        raise ChangedError("Another daemon wrote the record at the same moment.")
    document = record.to_document()
    if document["corrected"] is None and seen.keeps_corrections:
        document["corrected"] = seen.corrections  # keeps text that was not understood, so that the person can fix it
    elif document["corrected"] is None and seen.sets_aside:
        document[SET_ASIDE] = seen.corrections
    return document | {key: value for key, value in old.items() if key not in document}


def _read_outputs(document: dict[str, Any]) -> dict[str, Any]:
    outputs = document.get("outputs")
    return outputs if isinstance(outputs, dict) else {}


def encode_document(document: dict[str, Any]) -> bytes:
    """UTF-8; lone surrogates in strings of other programs become escapes."""
    try:
        return (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode()
    except UnicodeEncodeError:
        return (json.dumps(document, indent=1) + "\n").encode()


def parse_stamp(document: dict[str, Any]) -> Stamp | None:
    """The stamp that the document is; None where it is broken."""
    corrected = document.get("corrected")
    canonical = corrected if isinstance(corrected, dict) else None
    try:
        record = TagRecord.model_validate(document | {"corrected": canonical})
    except ValidationError:
        return _parse_damaged(document)
    return Stamp.from_record(record)


def _parse_damaged(document: dict[str, Any]) -> Stamp | None:
    """The stamp of a record in which only the correction has another form: `{"species": "dog"}`."""
    if not isinstance(document.get("corrected"), dict):
        return None
    return parse_stamp(document | {"corrected": None})


def truncate_name(name: str, suffix: str, max_bytes: int = MAX_NAME_BYTES) -> str:
    """`name` with `suffix`. If that is too long, the name is cut, and gets `~` and 12 hex digits of its digest."""
    whole = os.fsencode(name)
    if len(whole) + len(suffix) <= max_bytes:
        return name + suffix
    mark = f"~{hashlib.sha256(whole).hexdigest()[:12]}{suffix}"
    cut = whole[: max_bytes - len(mark)]
    return cut.decode("utf-8", "ignore") + mark


def _is_edited(content: bytes) -> bool:
    """Whether a person has edited a broken record, and it was not just cut off: it has an end, or a correction."""
    return content.rstrip().endswith(b"}") or CORRECTION.search(content) is not None


def _starts_like_a_record(content: bytes) -> bool:
    """Whether it begins as pawtag writes it: then it is a record that was truncated or damaged."""
    return b"".join(content[:100].split()).startswith(b'{"schema":"' + SCHEMA_NAME.encode())
