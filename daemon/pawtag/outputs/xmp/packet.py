"""An XMP document whose keyword fields are edited; everything else stays. The only importer of lxml.

Adobe's XMP Specification, Part 1 (ISO 16684-1): 7.4 arrays, 7.9.2.2 properties as attributes.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from lxml import etree

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
RDF_ROOT, DESCRIPTION, ABOUT, ITEM, VALUE = (
    f"{{{RDF}}}{name}" for name in ("RDF", "Description", "about", "li", "value")
)
MAX_WORDS = 10_000
ARRAYS = frozenset(f"{{{RDF}}}{name}" for name in ("Bag", "Seq", "Alt"))
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
DECLARATION = re.compile(rb"^(?:\xff\xfe|\xfe\xff|\xef\xbb\xbf)?\0?<\0?\?\0?x\0?m\0?l\0?[ \t\r\n]")
EMPTY = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="{RDF}">
  <rdf:Description rdf:about=""/>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>""".encode()


class PacketError(Exception):
    """pawtag cannot edit the document; the message says why."""


@dataclass(frozen=True, slots=True)
class Field:
    """A property that holds keywords, as an array of the kind `array`."""

    prefix: str
    namespace: str
    name: str
    array: str

    @property
    def tag(self) -> str:
        """Its qualified name, as lxml writes it."""
        return f"{{{self.namespace}}}{self.name}"

    def __str__(self) -> str:
        """As people write it: `dc:subject`."""
        return f"{self.prefix}:{self.name}"


class Packet:
    """A parsed document. A field may stand several times, as an array, a text or an attribute; all count."""

    def __init__(self, content: bytes) -> None:
        """Parse `content`, in any encoding. Raises PacketError."""
        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
        try:
            self._tree = etree.fromstring(content, parser).getroottree()
        except etree.XMLSyntaxError as error:
            raise PacketError(f"it is no XML ({error.msg})") from error
        if self._tree.docinfo.doctype:
            raise PacketError("it has a DOCTYPE, which XMP does not allow")
        root = self._tree.getroot()
        found = root if root.tag == RDF_ROOT else next(root.iterchildren(RDF_ROOT), None)
        if found is None:
            raise PacketError("it holds no rdf:RDF")
        self._rdf, self._has_mark = found, content.startswith(BYTE_ORDER_MARK)
        self._has_declaration = DECLARATION.match(content) is not None

    @classmethod
    def create(cls) -> Self:
        """A document without any property."""
        return cls(EMPTY)

    @property
    def is_empty(self) -> bool:
        """Whether the document is empty: it has only descriptions without properties, and no comments."""
        return all(child.tag == DESCRIPTION and not len(child) and set(child.attrib) <= {ABOUT} for child in self._rdf)

    def encode(self) -> bytes:
        """The document in its own encoding."""
        docinfo = self._tree.docinfo
        standalone = docinfo.standalone if self._has_declaration else None
        encoded: bytes = etree.tostring(
            self._tree,
            encoding=docinfo.encoding or "UTF-8",
            xml_declaration=self._has_declaration,
            standalone=standalone,
        )
        return (BYTE_ORDER_MARK if self._has_mark else b"") + encoded

    def read(self, field: Field) -> tuple[str, ...] | None:
        """The keywords of the field, in their order; None where there is no such field. Raises PacketError."""
        attributes = [owner.get(field.tag) for owner in self._owners() if field.tag in owner.attrib]
        properties = self._properties(field)
        if not attributes and not properties:
            return None
        words = [*attributes, *(word for found in properties for word in _read_property(found, field))]
        if len(words) > MAX_WORDS:
            raise PacketError(f"{field} has {len(words)} keywords; the limit is {MAX_WORDS}")
        return tuple(word for word in (word.strip() for word in words) if word)

    def add(self, field: Field, words: Sequence[str]) -> None:
        """Append keywords; the field is made where there is none. Raises PacketError."""
        array = self._make_array(field)
        for word in words:
            _append_item(array, word)

    def remove(self, field: Field, word: str) -> None:
        """Remove a keyword once. Raises PacketError."""
        for found in self._properties(field):
            for item in _list_items(found, field):
                if _read_item(item) == word:
                    _detach(item)
                    return
            if _find_array(found, field) is None and (found.text or "").strip() == word:
                found.text = None
                return
        for owner in self._owners():
            if owner.get(field.tag, "").strip() == word:
                del owner.attrib[field.tag]
                return

    def drop(self, field: Field) -> None:
        """Remove the field."""
        for found in self._properties(field):
            _detach(found)

    def _owners(self) -> Iterator[etree._Element]:
        """The elements whose children and attributes are properties of the photo."""
        yield from self._rdf.iterchildren(etree.Element)

    def _properties(self, field: Field) -> list[etree._Element]:
        return [found for owner in self._owners() for found in owner.iterchildren(field.tag)]

    def _make_array(self, field: Field) -> etree._Element:
        for found in self._properties(field):
            array = _find_array(found, field)
            return _nest_text(found, field) if array is None else array
        owner = next(self._owners(), None)
        if owner is None:
            owner = etree.Element(DESCRIPTION, {ABOUT: ""})
            _append(self._rdf, owner)
        created = etree.Element(field.tag, nsmap={field.prefix: field.namespace})
        _append(owner, created)
        given = owner.attrib.pop(field.tag, None)
        created.text = given
        return _nest_text(created, field)


def _read_property(found: etree._Element, field: Field) -> Iterable[str]:
    is_text = _find_array(found, field) is None
    return [found.text or ""] if is_text else [_read_item(item) for item in _list_items(found, field)]


def _list_items(found: etree._Element, field: Field) -> list[etree._Element]:
    array = _find_array(found, field)
    return [] if array is None else list(array.iterchildren(ITEM))


def _find_array(found: etree._Element, field: Field) -> etree._Element | None:
    """The array of a property; None where it is a text. Raises PacketError for another form."""
    children = list(found.iterchildren(etree.Element))
    is_array = len(children) == 1 and children[0].tag in ARRAYS
    is_plain = not any(name.startswith(f"{{{RDF}}}") for name in found.attrib)
    if not is_plain or not (is_array or len(found) == 0):
        raise PacketError(f"{field} has a form that pawtag does not know")
    if is_array and any(item.tag != ITEM for item in children[0].iterchildren(etree.Element)):
        raise PacketError(f"{field} has an array that pawtag does not know")
    return children[0] if is_array else None


def _read_item(item: etree._Element) -> str:
    """The text of an item; of one with qualifiers, its value (ISO 16684-1, 7.8)."""
    value = next(item.iter(VALUE), item)
    return (value.text or item.get(VALUE) or "").strip()


def _nest_text(found: etree._Element, field: Field) -> etree._Element:
    """Make a property an array; a text that it has becomes the first item."""
    text, found.text = (found.text or "").strip(), None
    array = etree.Element(f"{{{RDF}}}{field.array}")
    _append(found, array)
    if text:
        _append_item(array, text)
    return array


def _append_item(array: etree._Element, word: str) -> None:
    item = etree.Element(ITEM)
    item.text = word
    _append(array, item)


def _append(parent: etree._Element, child: etree._Element) -> None:
    """Append, indented as its siblings are, or one space deeper than the parent."""
    last = next(parent.iterchildren(reversed=True), None)
    if last is not None:
        child.tail, last.tail = last.tail, parent.text if not (parent.text or "").strip() else last.tail
    else:
        margin = _find_margin(parent)
        parent.text, child.tail = f"{margin} ", margin
    parent.append(child)


def _find_margin(element: etree._Element) -> str:
    """The line break and the white space before an element."""
    before = element.getprevious()
    parent = element.getparent()
    text = before.tail if before is not None else parent.text if parent is not None else None
    return f"\n{(text or '').rpartition(chr(10))[2]}" if not (text or "").strip() else "\n"


def _detach(element: etree._Element) -> None:
    """Remove an element with the white space that belongs to it."""
    parent, before = element.getparent(), element.getprevious()
    if parent is None:
        return
    tail, is_last = element.tail or "", element.getnext() is None
    kept = tail if is_last or tail.strip() else None
    parent.remove(element)
    if before is not None:
        before.tail = kept if is_last else (before.tail or "") + (kept or "")
    elif not len(parent):
        parent.text = tail.strip() or None
    elif kept:
        parent.text = (parent.text or "") + kept
