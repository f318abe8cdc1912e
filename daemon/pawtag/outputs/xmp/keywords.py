"""The keywords of a photo in the three fields that photo apps read, and how ours join a person's own."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self, TypeVar

from pawtag.domain.records import TagRecord
from pawtag.outputs.xmp.memory import Words, XmpMemory
from pawtag.outputs.xmp.packet import Field, Packet

KeywordPath = tuple[str, ...]
Item = TypeVar("Item")
ROOT_SEPARATOR = "/"

# IPTC photo metadata, ISO 16684-2; Lightroom's and digiKam's own namespaces as exiv2 registers them.
SUBJECT = Field("dc", "http://purl.org/dc/elements/1.1/", "subject", "Bag")
HIERARCHY = Field("lr", "http://ns.adobe.com/lightroom/1.0/", "hierarchicalSubject", "Bag")
TAGS_LIST = Field("digiKam", "http://www.digikam.org/ns/1.0/", "TagsList", "Seq")
FIELDS = (SUBJECT, HIERARCHY, TAGS_LIST)
SEPARATORS = {HIERARCHY: "|", TAGS_LIST: "/"}


@dataclass(frozen=True, slots=True)
class OwnKeywords:
    """A person's keywords by field, as a photo or a sidecar has them; a field that is not there is left out."""

    words: Mapping[Field, Words] = field(default_factory=dict)

    @classmethod
    def read(cls, packet: Packet, flat: Words = ()) -> Self:
        """The keywords of a document. `flat`: IPTC keywords, which count as flat keywords. Raises PacketError."""
        found = {item: words for item in FIELDS if (words := packet.read(item)) is not None}
        if flat:
            found[SUBJECT] = _unite(found.get(SUBJECT, ()), flat)
        return cls(found)

    def carry_into(self, item: Field) -> Words:
        """The keywords that a new field must have, because apps read this field instead of all others.

        A flat keyword that is also a level of a path is not repeated.
        """
        if item is SUBJECT:
            return self.words.get(SUBJECT, ())
        paths = _unite(
            *(tuple(_split(word, SEPARATORS[each]) for word in self.words.get(each, ())) for each in SEPARATORS)
        )
        levels = {level for path in paths for level in path}
        flat = tuple((word,) for word in self.words.get(SUBJECT, ()) if word not in levels)
        return tuple(format_keyword(item, path) for path in (*paths, *flat))


@dataclass(slots=True)
class KeywordEdit:
    """Changes the keywords of a document to `wanted`. `embedded`: those in the photo, which a new field would hide.

    `trusts_absence`: if a keyword of pawtag is absent, a person has removed it, and it is not added again.
    """

    packet: Packet
    memory: XmpMemory
    wanted: tuple[KeywordPath, ...]
    embedded: Callable[[], OwnKeywords]
    trusts_absence: bool = True
    added: dict[str, Words] = field(default_factory=dict)
    carried: dict[str, Words] = field(default_factory=dict)
    has_changed: bool = False

    def apply(self) -> XmpMemory:
        """Edit the document; returns what is remembered of it. Raises PacketError."""
        own = OwnKeywords.read(self.packet).words
        own = {item: _without(words, self.memory.added.get(str(item), ())) for item, words in own.items()}
        for item in FIELDS:
            self._edit(item, own)
        paths = format_paths(self.wanted)
        update = {"wanted": paths, "added": self.added, "carried": self.carried, "problem": None, "version": None}
        return self.memory.model_copy(update=update)

    def _edit(self, item: Field, own: Mapping[Field, Words]) -> None:
        name, wanted = str(item), _unite(tuple(format_keyword(item, path) for path in self.wanted))
        before, carried = self.memory.added.get(name, ()), self.memory.carried.get(name)
        found = self.packet.read(item)
        kept = tuple(word for word in before if word in wanted)
        self._remove(item, _without(before, wanted))
        missing = _without(wanted, (*(found or ()), *(kept if self.trusts_absence else ())))
        if missing and found is None:
            carried = self._carry(item, own)
            missing = _without(missing, carried)
            self._add(item, (*carried, *missing) if missing else ())
        elif wanted and found is not None and carried is not None:
            carried = self._refresh(item, own, carried)
            self._add(item, missing)
        else:
            self._add(item, missing)
        self._remember(item, _unite(kept, missing), carried)

    def _carry(self, item: Field, own: Mapping[Field, Words]) -> Words:
        """The photo's keywords for a field that pawtag makes. Fields that pawtag made before are not read for this."""
        given = {each: words for each, words in own.items() if str(each) not in self.memory.carried}
        return OwnKeywords({**self.embedded().words, **given}).carry_into(item)

    def _refresh(self, item: Field, own: Mapping[Field, Words], carried: Words) -> Words:
        """Follow keywords that have changed in the photo since."""
        now = self._carry(item, own)
        self._remove(item, _without(carried, now))
        self._add(item, _without(now, (*carried, *(self.packet.read(item) or ()))))
        return now

    def _remember(self, item: Field, added: Words, carried: Words | None) -> None:
        """Note what pawtag wrote; remove a field that pawtag made and that holds only copied keywords now."""
        found = self.packet.read(item)
        if found is not None and carried is not None and not added and set(found) <= set(carried):
            self.packet.drop(item)
            self.has_changed = True
            return
        if added:
            self.added[str(item)] = added
        if carried is not None and found is not None:
            self.carried[str(item)] = carried

    def _add(self, item: Field, words: Words) -> None:
        if words:
            self.packet.add(item, words)
            self.has_changed = True

    def _remove(self, item: Field, words: Words) -> None:
        present = self.packet.read(item) or ()
        for word in words:
            if word in present:
                self.packet.remove(item, word)
                self.has_changed = True


def list_keyword_paths(record: TagRecord, root: str) -> tuple[KeywordPath, ...]:
    """The keywords of a record's tags, below `root`; `/` separates the levels of `root`."""
    levels = tuple(level for level in (_clean(part) for part in root.split(ROOT_SEPARATOR)) if level)
    labels = (_clean(tag.label) for tag in record.tags)
    return tuple(dict.fromkeys((*levels, label) for label in labels if label))


def format_keyword(item: Field, path: KeywordPath) -> str:
    """A keyword in the form of the field: only the last level, or all levels.

    A separator inside a level is replaced with the other separator, as Immich does when it reads flat keywords.
    """
    if item is SUBJECT:
        return path[-1]
    separator, other = ("|", "/") if item is HIERARCHY else ("/", "|")
    return separator.join(level.replace(separator, other) for level in path)


def _split(word: str, separator: str) -> KeywordPath:
    return tuple(level.strip() for level in word.split(separator) if level.strip()) or (word,)


def format_paths(paths: Iterable[KeywordPath]) -> Words:
    """What a record remembers of the keywords that it asks for."""
    return _unite(tuple(format_keyword(TAGS_LIST, path) for path in paths))


def _unite(*parts: tuple[Item, ...]) -> tuple[Item, ...]:
    """All items in order, without repetitions."""
    return tuple(dict.fromkeys(item for part in parts for item in part))


def _without(words: Iterable[str], removed: Iterable[str]) -> Words:
    gone = set(removed)
    return tuple(word for word in words if word not in gone)


def _clean(word: str) -> str:
    """`word` without characters that XML forbids (XML 1.0, 2.2), and without white space around it."""
    return "".join(char for char in word if _is_allowed(ord(char))).strip()


def _is_allowed(code: int) -> bool:
    return code in (0x9, 0xA, 0xD) or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or code >= 0x10000  # noqa: PLR2004
