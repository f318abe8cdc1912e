"""The keywords of a photo in the three fields that photo apps read, and how ours join a person's own."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from pawtag.domain.records import Json, TagRecord
from pawtag.outputs.xmp.packet import Field, Packet

KeywordPath = tuple[str, ...]
Words = tuple[str, ...]
ROOT_SEPARATOR = "/"

# IPTC photo metadata, ISO 16684-2; Lightroom's and digiKam's own namespaces as exiv2 registers them.
SUBJECT = Field("dc", "http://purl.org/dc/elements/1.1/", "subject", "Bag")
HIERARCHY = Field("lr", "http://ns.adobe.com/lightroom/1.0/", "hierarchicalSubject", "Bag")
TAGS_LIST = Field("digiKam", "http://www.digikam.org/ns/1.0/", "TagsList", "Seq")
FIELDS = (SUBJECT, HIERARCHY, TAGS_LIST)
SEPARATORS = {HIERARCHY: "|", TAGS_LIST: "/"}


class XmpMemory(BaseModel):
    """What a record keeps of an XMP sidecar: the file's name, and by field what pawtag added and what it carried over.

    `carried`: keywords of the photo's own in a field that pawtag made. `begun`: the write may not have been finished.
    """

    model_config = ConfigDict(frozen=True)
    file: str
    root: str
    is_new: bool = False
    added: dict[str, Words] = {}
    carried: dict[str, Words] = {}
    begun: bool = False
    problem: str | None = None
    """Why the file cannot be edited, and which version of it that is said of."""
    version: str | None = None

    @classmethod
    def parse(cls, written: Json) -> Self | None:
        """What a record holds; None for nothing, and for what somebody has broken."""
        try:
            return cls.model_validate(written)
        except ValidationError:
            return None

    def begin(self, after: Self) -> Self:
        """What is remembered while the change to `after` is being written: either may be what the file holds."""
        added = {name: _unite(self.added.get(name), after.added.get(name)) for name in {*self.added, *after.added}}
        return after.model_copy(update={"added": added, "carried": {**self.carried, **after.carried}, "begun": True})


@dataclass(frozen=True, slots=True)
class OwnKeywords:
    """A person's own keywords, of a photo or a sidecar: flat ones, and paths."""

    flat: Words = ()
    paths: tuple[KeywordPath, ...] = ()

    @classmethod
    def read(cls, packet: Packet, added: Mapping[str, Words] | None = None, flat: Words = ()) -> Self:
        """Those of a document, without those that pawtag `added`; `flat`: further ones. Raises PacketError."""
        words = {item: _without(packet.read(item) or (), (added or {}).get(str(item), ())) for item in FIELDS}
        paths = (_split(word, separator) for item, separator in SEPARATORS.items() for word in words[item])
        return cls(tuple(dict.fromkeys((*words[SUBJECT], *flat))), tuple(dict.fromkeys(paths)))


@dataclass(slots=True)
class KeywordEdit:
    """Brings the keywords of a document to `wanted`. `embedded`: those in the photo, which a new field would hide."""

    packet: Packet
    memory: XmpMemory
    wanted: tuple[KeywordPath, ...]
    embedded: Callable[[], OwnKeywords]
    added: dict[str, Words] = field(default_factory=dict)
    carried: dict[str, Words] = field(default_factory=dict)
    has_changed: bool = False

    def apply(self) -> XmpMemory:
        """Edit the document; returns what is remembered of it. Raises PacketError."""
        own = OwnKeywords.read(self.packet, self.memory.added)
        for item in FIELDS:
            self._edit(item, own)
        return self.memory.model_copy(
            update={"added": self.added, "carried": self.carried, "begun": False, "problem": None, "version": None}
        )

    def _edit(self, item: Field, own: OwnKeywords) -> None:
        name, wanted = str(item), tuple(format_keyword(item, path) for path in self.wanted)
        before, found = self.memory.added.get(name, ()), self.packet.read(item)
        for word in before:
            if word not in wanted and word in (found or ()):
                self.packet.remove(item, word)
                self.has_changed = True
        kept = tuple(word for word in before if word in wanted)
        if not self.memory.begun:
            wanted = _without(wanted, kept)  # a person who removes one of them in an app does not want it
        missing = tuple(word for word in wanted if word not in (found or ()))
        carried = self.memory.carried.get(name)
        if found is None and missing:
            carried = self._carry_over(item, own)
            missing = _without(missing, carried)
        if missing:
            self.packet.add(item, missing if found is not None else (*(carried or ()), *missing))
            self.has_changed = True
        self._remember(item, tuple(dict.fromkeys((*kept, *missing))), carried)

    def _carry_over(self, item: Field, own: OwnKeywords) -> Words:
        """The photo's own keywords, which the new field must have too: apps read it in place of what they read before."""
        embedded = self.embedded()
        flat, paths = own.flat or embedded.flat, own.paths or embedded.paths
        if item is SUBJECT:
            return flat
        parts = {part for path in paths for part in path}
        return tuple(format_keyword(item, path) for path in (*paths, *((word,) for word in flat if word not in parts)))

    def _remember(self, item: Field, added: Words, carried: Words | None) -> None:
        """A field that pawtag made goes with the last of its keywords, unless somebody has written into it."""
        found = self.packet.read(item)
        if found is not None and carried is not None and not added and set(found) <= set(carried):
            self.packet.drop(item)
            self.has_changed = True
            return
        if added:
            self.added[str(item)] = added
        if carried is not None and found is not None:
            self.carried[str(item)] = carried


def list_keyword_paths(record: TagRecord, root: str) -> tuple[KeywordPath, ...]:
    """The keywords of a record's tags, below `root`, whose levels are divided by `/`."""
    levels = tuple(level for level in (_clean(part) for part in root.split(ROOT_SEPARATOR)) if level)
    labels = (_clean(tag.label) for tag in record.tags)
    return tuple(dict.fromkeys((*levels, label) for label in labels if label))


def format_keyword(item: Field, path: KeywordPath) -> str:
    """A keyword as the field holds it: the last level alone, or all. A separator in a level becomes the other one.

    Immich does the same when it reads flat keywords.
    """
    if item is SUBJECT:
        return path[-1]
    separator, other = ("|", "/") if item is HIERARCHY else ("/", "|")
    return separator.join(level.replace(separator, other) for level in path)


def _split(word: str, separator: str) -> KeywordPath:
    return tuple(level.strip() for level in word.split(separator) if level.strip()) or (word,)


def _unite(words: Words | None, others: Words | None) -> Words:
    return tuple(dict.fromkeys((*(words or ()), *(others or ()))))


def _without(words: Iterable[str], removed: Iterable[str]) -> Words:
    gone = set(removed)
    return tuple(word for word in words if word not in gone)


def _clean(word: str) -> str:
    """Without what XML cannot hold (XML 1.0, 2.2) and white space around it."""
    return "".join(char for char in word if _is_allowed(ord(char))).strip()


def _is_allowed(code: int) -> bool:
    return code in (0x9, 0xA, 0xD) or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or code >= 0x10000  # noqa: PLR2004
