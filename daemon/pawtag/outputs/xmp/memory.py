"""What is remembered of an XMP sidecar: in the record, and before that in the state."""

import hashlib
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from pawtag.domain.records import Json
from pawtag.outputs.xmp.sidecar_file import XmpSidecarFile

Words = tuple[str, ...]


class XmpMemory(BaseModel):
    """What a record keeps: the file's name, the tags that it was written for, and by field what pawtag did.

    `added`: keywords of ours. `carried`: the photo's own keywords in a field that pawtag made. `problem`: why this
    `version` of the file cannot be edited.
    """

    model_config = ConfigDict(frozen=True)
    file: str
    wanted: Words = ()
    is_new: bool = False
    added: dict[str, Words] = {}
    carried: dict[str, Words] = {}
    problem: str | None = None
    version: str | None = None

    @classmethod
    def parse(cls, written: Json) -> Self | None:
        """The memory in a record; None if there is none, or if somebody has damaged it."""
        try:
            return cls.model_validate(written)
        except ValidationError:
            return None

    def to_json(self) -> Json:
        """Without what has its default."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def unite(self, other: Self) -> Self:
        """The union of both, if it is unclear which of them the file holds."""
        fields = {*self.added, *other.added}
        added = {name: tuple(dict.fromkeys((*self.added.get(name, ()), *other.added.get(name, ())))) for name in fields}
        return other.model_copy(
            update={"added": added, "carried": {**self.carried, **other.carried}, "is_new": self.is_new or other.is_new}
        )


class XmpIntent(BaseModel):
    """A change that may or may not have been written: from which version of the file to which content."""

    model_config = ConfigDict(frozen=True)
    before: XmpMemory | None
    after: XmpMemory
    version: str | None
    digest: str | None

    @classmethod
    def parse(cls, kept: Json) -> Self | None:
        """What the state holds; None for nothing."""
        try:
            return cls.model_validate(kept)
        except ValidationError:
            return None

    def resolve(self, recorded: XmpMemory | None, file: XmpSidecarFile) -> XmpMemory | None:
        """What the file holds, from the record's memory and the file itself; None where it cannot be told."""
        if recorded == self.after:
            return recorded  # the record was written
        if recorded == self.before and digest_content(file.content) == self.digest:
            return self.after
        if recorded == self.before and file.version == self.version:
            return recorded or XmpMemory(file=self.after.file)  # nothing was written
        return None


def digest_content(content: bytes | None) -> str | None:
    """None where there is no file."""
    return None if content is None else hashlib.sha256(content).hexdigest()
