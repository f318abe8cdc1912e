"""XMP documents: what is edited, and what stays."""

import pytest

from pawtag.outputs.xmp.keywords import HIERARCHY, SUBJECT, TAGS_LIST
from pawtag.outputs.xmp.packet import Packet, PacketError
from support.xmp import ALL, DARKTABLE, DC, DIGIKAM, RDF, canonical, read_words


def document(properties: str, attributes: str = "") -> bytes:
    return (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF {RDF}><rdf:Description rdf:about="" {DC} {attributes}>'
        f"{properties}</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


@pytest.mark.parametrize("app", ALL)
def test_a_keyword_that_is_added_and_removed_leaves_the_document_as_it_was(app):
    """Of each app: comments, unknown namespaces, attributes, nested descriptions and order stay."""
    packet = Packet(ALL[app].encode())
    had = {item for item in (SUBJECT, HIERARCHY, TAGS_LIST) if packet.read(item) is not None}
    for item in (SUBJECT, HIERARCHY, TAGS_LIST):
        packet.add(item, ["cat"])
    between = Packet(packet.encode())
    for item in (SUBJECT, HIERARCHY, TAGS_LIST):
        assert between.read(item)[-1] == "cat"
        between.remove(item, "cat")
        if item not in had:
            between.drop(item)
    assert canonical(between.encode()) == canonical(ALL[app])


def test_the_white_space_of_the_file_stays():
    """A person who compares two versions sees the keyword alone."""
    packet = Packet(DARKTABLE.encode())
    packet.add(SUBJECT, ["cat"])
    after = packet.encode().decode()
    added = [line for line in after.splitlines() if line not in DARKTABLE.splitlines()]
    assert [line.strip() for line in added if "rdf:li>" in line] == ["<rdf:li>cat</rdf:li>"]
    assert "     <rdf:li>cat</rdf:li>\n    </rdf:Bag>" in after


@pytest.mark.parametrize(
    ("properties", "attributes"),
    [
        ("<dc:subject><rdf:Seq><rdf:li>mine</rdf:li></rdf:Seq></dc:subject>", ""),
        ("<dc:subject>mine</dc:subject>", ""),
        ("", 'dc:subject="mine"'),
        ('<dc:subject><rdf:Bag><rdf:li rdf:value="mine"/></rdf:Bag></dc:subject>', ""),
        (
            "<dc:subject><rdf:Bag><rdf:li><rdf:Description><rdf:value>mine</rdf:value></rdf:Description></rdf:li></rdf:Bag></dc:subject>",
            "",
        ),
    ],
)
def test_a_field_in_another_form_keeps_its_keyword(properties, attributes):
    """An ordered array, a text, an attribute, a value with qualifiers."""
    packet = Packet(document(properties, attributes))
    packet.add(SUBJECT, ["cat"])
    assert read_words(packet.encode()) == {"dc:subject": ["mine", "cat"]}
    packet.remove(SUBJECT, "cat")
    assert read_words(packet.encode()) == {"dc:subject": ["mine"]}


def test_a_field_that_stands_in_two_descriptions_is_read_as_one():
    """The keyword is removed where it stands."""
    one = "<dc:subject><rdf:Bag><rdf:li>a</rdf:li></rdf:Bag></dc:subject>"
    packet = Packet(document(f'{one}</rdf:Description><rdf:Description rdf:about="" {DC}>{one.replace("a<", "b<")}'))
    assert packet.read(SUBJECT) == ("a", "b")
    packet.remove(SUBJECT, "b")
    assert packet.read(SUBJECT) == ("a",)


def test_of_two_that_are_the_same_one_goes():
    """The other is a person's."""
    packet = Packet(document("<dc:subject><rdf:Bag><rdf:li>cat</rdf:li><rdf:li>cat</rdf:li></rdf:Bag></dc:subject>"))
    packet.remove(SUBJECT, "cat")
    assert packet.read(SUBJECT) == ("cat",)


def test_keywords_of_nested_descriptions_are_not_the_photos():
    """Lightroom keeps those of other photos there."""
    assert "dc:subject" not in read_words(ALL["lightroom"])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1"])
def test_the_encoding_stays(encoding):
    """Also a byte order mark, and the declaration."""
    name = "utf-8" if encoding == "utf-8-sig" else encoding
    text = DIGIKAM.replace("\ufeff", "").replace("UTF-8", name).replace("People/Ben", "Süden/Ben")
    packet = Packet(text.encode(encoding))
    packet.add(SUBJECT, ["cat"])
    after = packet.encode()
    assert after[:2] == text.encode(encoding)[:2]
    assert "<dc:subject>" in after.decode(encoding)
    assert read_words(after)["digiKam:TagsList"] == ["Süden/Ben"]
    assert ("<?xml" in after.decode(encoding)) is True


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no XML"),
        (b"<x:xmpmeta", "no XML"),
        (b"\x00\x01\x02", "no XML"),
        (b"<html/>", "no rdf:RDF"),
        (b'<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>', "DOCTYPE"),
        (b'<!DOCTYPE a SYSTEM "http://127.0.0.1:9/x"><a/>', "DOCTYPE"),
    ],
)
def test_what_is_no_xmp_is_refused(content, reason):
    """The reason says what it is."""
    with pytest.raises(PacketError, match=reason):
        Packet(content)


def test_a_field_of_an_unknown_form_is_refused():
    """It is not guessed at."""
    packet = Packet(document('<dc:subject rdf:parseType="Resource"><dc:a>x</dc:a></dc:subject>'))
    with pytest.raises(PacketError, match="dc:subject has a form"):
        packet.add(SUBJECT, ["cat"])


def test_entities_are_not_expanded():
    """A bomb of entities costs nothing."""
    bomb = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 20))
    with pytest.raises(PacketError):
        Packet(f'<!DOCTYPE a [<!ENTITY e0 "x">{bomb}]><a>&e19;</a>'.encode())
