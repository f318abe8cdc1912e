"""The frozen values that travel between the stages, and the record that each photo gets."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from pawtag import __version__
from pawtag.domain.errors import ErrorCode

SCHEMA = "pawtag.record/1"
# The group that decides whether a photo shows a pet.
PET_GROUP = "species"
OBJECT_SCHEME = "s3://"
REQUEST_SCHEME = "request:"  # of a photo that was posted; it has no place

Scores = dict[str, dict[str, float]]
Corrections = dict[str, list[str]]
# What the model says of a photo: a pet, a pet of which it cannot tell the species, none.
PetStatus = Literal["tagged", "unsure", "no-pet"]
RecordStatus = Literal["tagged", "unsure", "no-pet", "failed"]
# What an output keeps in a record: plain JSON values.
Json = Any


@dataclass(frozen=True, slots=True)
class PhotoRef:
    """One version of one photo: its URI, and what identifies the version."""

    uri: str
    size_bytes: int | None = None
    """None if it is not known (yet). The same holds for the fields below."""
    mtime_ns: int | None = None
    """When the file or the object was modified."""
    etag: str | None = None
    """Of an object."""
    version_id: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """A hint that a photo may need tagging. `receipt` is its source's own; `attempt` counts from 0."""

    ref: PhotoRef
    receipt: object = None
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Payload:
    """A photo's bytes, with the version that they really are."""

    ref: PhotoRef
    data: bytes
    is_fresh: bool = False
    """Whether it changed so recently that it may not be finished."""


class FrozenModel(BaseModel):
    """A value that pawtag reads or writes as JSON: validated, and frozen."""

    model_config = ConfigDict(frozen=True)


class Tag(FrozenModel):
    """A label that the photo got. `score`: within its group, 0 to 1."""

    label: str
    group: str
    score: float


class PhotoInfo(FrozenModel):
    """What is known about the photo itself. Unknown values are null."""

    name: str | None
    bytes: int | None = None
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    format: str | None = None
    taken_at: str | None = None
    """When it was taken, as EXIF's DateTimeOriginal says: `2026:11:23 15:00:00`."""


class ModelInfo(FrozenModel):
    """The model that was used. If it is the fallback, `wanted` names the model of the settings."""

    id: str
    revision: str | None = None
    fallback: bool = False
    wanted: str | None = None


class SourceInfo(FrozenModel):
    """Where the photo came from; for a folder, the version that was read."""

    model_config = ConfigDict(frozen=True, extra="allow")
    kind: Literal["folder", "s3", "request"]
    mtime_ns: int | None = None
    uri: str | None = None
    etag: str | None = None
    version_id: str | None = None


class Failure(FrozenModel):
    """Why a photo could not be tagged."""

    code: ErrorCode
    message: str | None
    """None where only the code is known: in object tags."""


@dataclass(frozen=True, slots=True)
class TaggerIdentity:
    """What a tagger is: the model's name, its labels, and both with all settings as one digest."""

    model: ModelInfo
    labels: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Tagging:
    """The model's result for one photo: `tags`, best first in each group, every score, and what made them."""

    status: PetStatus
    tags: tuple[Tag, ...]
    scores: Scores
    photo: PhotoInfo
    identity: TaggerIdentity


class TagRecord(FrozenModel):
    """The record of a photo: the content of its sidecar, which HTTP and the command line show too."""

    schema_: str = Field(SCHEMA, alias="schema")
    status: RecordStatus
    photo: PhotoInfo
    tags: tuple[Tag, ...]
    scores: Scores
    model: ModelInfo
    labels: str
    fingerprint: str
    source: SourceInfo
    corrected: Corrections | None = None
    outputs: dict[str, Json] = {}
    error: Failure | None = None
    tagged_at: str
    pawtag: str = __version__

    def to_document(self) -> dict[str, Any]:
        """The record as plain JSON values, its keys in the order of the schema."""
        document = self.model_dump(mode="json", by_alias=True)
        document["source"] = {name: value for name, value in document["source"].items() if value is not None}
        return document


@dataclass(frozen=True, slots=True)
class Stamp:
    """What is already written for a photo: enough to decide whether it is current.

    From object tags, only the fingerprint and the ETag are known; everything else is None.
    """

    fingerprint: str
    size_bytes: int | None = None
    mtime_ns: int | None = None
    sha256: str | None = None
    labels: str | None = None
    model_id: str | None = None
    fallback: bool | None = None
    tagged_at: str | None = None
    record: TagRecord | None = None
    etag: str | None = None
    failure: Failure | None = None

    @classmethod
    def from_record(cls, record: TagRecord) -> Self:
        """The stamp that a record is."""
        return cls(
            size_bytes=record.photo.bytes,
            mtime_ns=record.source.mtime_ns,
            sha256=record.photo.sha256,
            fingerprint=record.fingerprint,
            labels=record.labels,
            model_id=record.model.id,
            fallback=record.model.fallback,
            tagged_at=record.tagged_at,
            record=record,
            etag=record.source.etag,
            failure=record.error,
        )

    @property
    def is_unreadable(self) -> bool:
        """Whether the photo was not readable when it was recorded. It may be readable now, without a visible change."""
        return self.record is not None and self.failure is not None and self.failure.code == "unreadable"

    def describes(self, ref: PhotoRef) -> bool:
        """Whether this was written for that very version of the photo."""
        if self.etag is not None or ref.etag is not None:
            return ref.etag == self.etag
        # Some FUSE mounts tell a size of 0 for every file.
        return self.mtime_ns == ref.mtime_ns and ref.size_bytes in (self.size_bytes, 0)


@dataclass(frozen=True, slots=True)
class Written:
    """What is written for a photo: its stamp, a person's corrections in their original form, what each output wrote.

    `keeps_corrections`: whether the next write keeps corrections that pawtag did not understand, so that they are not
    in its record; false if a person removes them. `sets_aside`: the corrections belong to another photo that had this
    name; they are kept for people. `problem`: why a record that a person has edited cannot be read. `skip_reason`: why
    the photo cannot be read now, although its record can: "archived".
    """

    stamp: Stamp | None = None
    corrections: Json = None
    outputs: Mapping[str, Json] = field(default_factory=dict)
    keeps_corrections: bool = True
    sets_aside: bool = False
    problem: str | None = None
    skip_reason: str | None = None

    @property
    def output_problems(self) -> dict[str, str]:
        """What outputs could not write, and why."""
        found = {name: kept.get("problem") for name, kept in self.outputs.items() if isinstance(kept, dict)}
        return {name: str(problem) for name, problem in found.items() if problem}


def describe_source(ref: PhotoRef) -> SourceInfo:
    """What a record says of where the photo came from."""
    if ref.uri.startswith(OBJECT_SCHEME):
        return SourceInfo(kind="s3", uri=ref.uri, etag=ref.etag, version_id=ref.version_id)
    return SourceInfo(kind="folder", mtime_ns=ref.mtime_ns)


def describe_name(uri: str) -> str:
    """The base name. Bytes that are not UTF-8 become replacement characters."""
    return uri.rpartition("/")[2].encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def describe_bytes(data: bytes, name: str | None = None) -> PhotoInfo:
    """Size and digest of any bytes, picture or not. Hashing takes milliseconds: call it from a thread."""
    return PhotoInfo(name=name, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
