"""Any XMP in: all that was there out, with our keywords between."""

from xml.sax.saxutils import escape, quoteattr

from hypothesis import given, settings
from hypothesis import strategies as st

from pawtag.outputs.xmp.keywords import FIELDS, SUBJECT, KeywordEdit, OwnKeywords
from pawtag.outputs.xmp.memory import XmpMemory
from pawtag.outputs.xmp.packet import Packet
from support.xmp import canonical, read_words

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn", "Co")), min_size=1, max_size=12).filter(
    lambda text: text.strip() == text
)
WORD = TEXT | st.sampled_from(["cat", "dog", "pets/cat", "pets|cat", "pets"])
NAME = st.sampled_from(["Rating", "Label", "subject", "TagsList", "title"])
SPACE = st.sampled_from(["", " ", "\n  "])


@st.composite
def arrays(draw, words=WORD):
    kind, space = draw(st.sampled_from(["Bag", "Seq"])), draw(SPACE)
    items = "".join(f"{space}<rdf:li>{escape(word)}</rdf:li>" for word in draw(st.lists(words, max_size=4)))
    return f"<rdf:{kind}>{items}{space}</rdf:{kind}>"


@st.composite
def properties(draw):
    """A field of keywords, or any other property: a text, an array, a structure, a comment."""
    kind = draw(st.sampled_from(["field", "text", "array", "structure", "comment"]))
    if kind == "comment":
        return f"<!--{draw(st.sampled_from(['note', 'x y']))}-->"
    if kind == "field":
        item = draw(st.sampled_from(FIELDS))
        return f'<f:{item.name} xmlns:f="{item.namespace}">{draw(arrays())}</f:{item.name}>'
    name, value = draw(NAME), escape(draw(TEXT))
    inner = {"text": value, "array": draw(arrays()), "structure": f"<u:x>{value}</u:x><u:y a:z='1'/>"}[kind]
    parse = ' rdf:parseType="Resource"' if kind == "structure" else ""
    return f"<u:{name}{parse}>{inner}</u:{name}>"


@st.composite
def documents(draw):
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        space = draw(SPACE)
        inner = "".join(space + each for each in draw(st.lists(properties(), max_size=4))) + space
        attribute = f" u:attribute={quoteattr(draw(TEXT))}" if draw(st.booleans()) else ""
        parts.append(f'<rdf:Description rdf:about=""{attribute}>{inner}</rdf:Description>')
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        f'xmlns:u="urn:unknown" xmlns:a="urn:another">{draw(SPACE).join(parts)}</rdf:RDF></x:xmpmeta>'
    )


@settings(max_examples=300, deadline=None)
@given(
    document=documents(),
    embedded=st.lists(WORD, max_size=3),
    rounds=st.lists(st.lists(st.sampled_from(["cat", "dog", "pets"]), unique=True, max_size=2), max_size=4),
)
def test_any_rounds_of_tagging_leave_any_document_as_it_was(document, embedded, rounds):
    """And while our keywords are there, every keyword of the person's is there too."""
    content, memory = document.encode(), XmpMemory(file="a.jpg.xmp")
    own = read_words(document)
    for labels in [*rounds, []]:
        packet = Packet(content)
        wanted = tuple(("pets", label) for label in labels)
        edit = KeywordEdit(packet, memory, wanted, lambda: OwnKeywords({SUBJECT: tuple(dict.fromkeys(embedded))}))
        memory = XmpMemory.parse(edit.apply().model_dump(mode="json"))
        content = packet.encode()
        now = read_words(content)
        assert all(set(words) <= set(now[name]) for name, words in own.items())
        assert set(labels) <= set(now.get("dc:subject", embedded))
    assert canonical(content) == canonical(document)
