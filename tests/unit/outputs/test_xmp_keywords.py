"""Our keywords among a person's own."""

import pytest

from pawtag.domain.records import Tag
from pawtag.outputs.xmp.keywords import (
    HIERARCHY,
    SUBJECT,
    TAGS_LIST,
    KeywordEdit,
    OwnKeywords,
    list_keyword_paths,
)
from pawtag.outputs.xmp.memory import XmpMemory
from pawtag.outputs.xmp.packet import Packet
from support.records import record_for
from support.xmp import ALL, DARKTABLE, DIGIKAM, IMMICH, canonical, read_words

CAT, DOG = ("pets", "cat"), ("pets", "dog")


class Sidecar:
    """A document that is edited as an output edits it, round by round."""

    def __init__(self, content: str | None = None, embedded: OwnKeywords | None = None) -> None:
        self.content = content.encode() if content else Packet.create().encode()
        self.embedded = embedded or OwnKeywords()
        self.memory = XmpMemory(file="a.jpg.xmp", is_new=content is None)
        self.changes, self.is_certain = 0, True

    def bring_to(self, *wanted) -> dict[str, list[str]]:
        edit = KeywordEdit(Packet(self.content), self.memory, wanted, lambda: self.embedded, self.is_certain)
        self.memory = XmpMemory.parse(edit.apply().model_dump(mode="json"))
        self.changes += edit.has_changed
        if edit.has_changed:
            self.content = edit.packet.encode()
        return read_words(self.content)

    def type_keyword(self, old: str, new: str) -> None:
        """A person edits the file."""
        self.content = self.content.decode().replace(old, new).encode()


def test_a_tag_is_written_in_the_three_forms():
    """A leaf, and the path with the separator of each field."""
    assert Sidecar().bring_to(CAT) == {
        "dc:subject": ["cat"],
        "lr:hierarchicalSubject": ["pets|cat"],
        "digiKam:TagsList": ["pets/cat"],
    }


@pytest.mark.parametrize("app", ALL)
def test_rounds_of_tagging_leave_the_file_of_an_app_as_it_was(app):
    """Tagged, corrected, tagged by another model, cleaned."""
    sidecar = Sidecar(ALL[app])
    sidecar.bring_to(CAT, ("pets", "short-hair"))
    sidecar.bring_to(DOG)
    sidecar.bring_to(CAT)
    sidecar.bring_to()
    assert canonical(sidecar.content) == canonical(ALL[app])
    assert not sidecar.memory.added
    assert not sidecar.memory.carried


def test_a_hierarchical_field_that_is_new_takes_over_what_apps_read_before():
    """digiKam's list hides the others from Immich."""
    assert Sidecar(DARKTABLE).bring_to(CAT) == {
        "dc:subject": ["garden", "cat"],
        "lr:hierarchicalSubject": ["garden", "pets|cat"],
        "digiKam:TagsList": ["garden", "pets/cat"],
    }


def test_a_new_field_takes_over_the_keywords_in_the_photo():
    """A sidecar's field hides the photo's own in Immich, digiKam and PhotoPrism."""
    embedded = OwnKeywords({SUBJECT: ("Berlin", "b/w"), HIERARCHY: ("Places|Berlin",)})
    assert Sidecar(embedded=embedded).bring_to(CAT) == {
        "dc:subject": ["Berlin", "b/w", "cat"],
        "lr:hierarchicalSubject": ["Places|Berlin", "b/w", "pets|cat"],
        "digiKam:TagsList": ["Places/Berlin", "b|w", "pets/cat"],
    }


def test_an_existing_list_is_extended_alone():
    """Immich's own list has what Immich shows; the photo's keywords are not added to it."""
    after = Sidecar(IMMICH, OwnKeywords({SUBJECT: ("embedded",)})).bring_to(CAT)
    assert after["digiKam:TagsList"] == ["Family/Anna", "holiday", "pets/cat"]
    assert after["dc:subject"] == ["embedded", "cat"]


def test_a_keyword_that_a_person_has_typed_stays():
    """The same word is not added, and not removed."""
    sidecar = Sidecar(DIGIKAM.replace("<rdf:li>Ben<", "<rdf:li>cat<"))
    assert sidecar.bring_to(CAT)["dc:subject"] == ["cat"]
    assert sidecar.bring_to(DOG)["dc:subject"] == ["cat", "dog"]
    assert sidecar.bring_to()["dc:subject"] == ["cat"]


def test_a_keyword_that_a_person_removes_does_not_come_back():
    """Until the photo has lost the tag, and got it again."""
    sidecar = Sidecar(DIGIKAM)
    sidecar.bring_to(CAT)
    sidecar.type_keyword("<rdf:li>cat</rdf:li>", "")
    assert sidecar.bring_to(CAT, DOG)["dc:subject"] == ["Ben", "dog"]
    sidecar.bring_to(DOG)
    assert sidecar.bring_to(CAT)["dc:subject"] == ["Ben", "cat"]


def test_a_field_that_pawtag_made_stays_where_somebody_has_written_into_it():
    """With the keywords that it took over: without them the field would hide them."""
    sidecar = Sidecar(DARKTABLE)
    sidecar.bring_to(CAT)
    sidecar.type_keyword("<rdf:li>pets/cat<", "<rdf:li>pets/cat</rdf:li><rdf:li>mine<")
    after = sidecar.bring_to()
    assert after["digiKam:TagsList"] == ["garden", "mine"]
    assert "lr:hierarchicalSubject" not in after


def test_what_is_there_already_is_not_written():
    """Tagging again with the same result changes no byte."""
    sidecar = Sidecar(DIGIKAM)
    sidecar.bring_to(CAT)
    sidecar.bring_to(CAT)
    assert sidecar.changes == 1


def test_where_nobody_can_tell_what_was_written_our_keywords_are_known_as_ours():
    """A process ended, and another program has written the file since: either may be in it."""
    for is_written in (True, False):
        sidecar = Sidecar(DIGIKAM)
        sidecar.bring_to(CAT)
        old, memory = sidecar.content, sidecar.memory
        sidecar.bring_to(DOG)
        sidecar.content = sidecar.content if is_written else old
        sidecar.memory, sidecar.is_certain = memory.unite(sidecar.memory), False
        assert sidecar.bring_to(DOG)["dc:subject"] == ["Ben", "dog"]
        sidecar.bring_to()
        assert canonical(sidecar.content) == canonical(DIGIKAM)


def test_a_field_that_pawtag_made_follows_the_photo():
    """Keywords that a person writes into the photo later are not hidden."""
    sidecar = Sidecar(embedded=OwnKeywords({SUBJECT: ("sea",)}))
    sidecar.bring_to(CAT)
    sidecar.embedded = OwnKeywords({SUBJECT: ("holiday",)})
    assert sidecar.bring_to(DOG) == {
        "dc:subject": ["holiday", "dog"],
        "lr:hierarchicalSubject": ["holiday", "pets|dog"],
        "digiKam:TagsList": ["holiday", "pets/dog"],
    }


def test_the_same_field_of_the_photo_is_carried_over_beside_the_sidecars_own():
    """The photo has a list, the sidecar a hierarchy: apps read both before."""
    sidecar = Sidecar(ALL["lightroom"], OwnKeywords({TAGS_LIST: ("Places/Berlin",), SUBJECT: ("Berlin",)}))
    assert sidecar.bring_to(CAT)["digiKam:TagsList"] == ["Trips/2026", "Places/Berlin", "pets/cat"]


def test_a_field_that_a_person_has_emptied_stays_empty():
    """The photo's own keywords do not come back in another field."""
    empty = (
        DIGIKAM.replace("<rdf:li>Ben</rdf:li>", "")
        .replace("digiKam:TagsList>", "other:x>")
        .replace("xmlns:other", "xmlns:o")
    )
    empty = empty.replace("xmlns:digiKam=", 'xmlns:other="urn:o" xmlns:digiKam=')
    after = Sidecar(empty, OwnKeywords({SUBJECT: ("embedded",)})).bring_to(CAT)
    assert after["dc:subject"] == ["cat"]
    assert after["digiKam:TagsList"] == ["People/Ben", "pets/cat"]


def test_another_root_replaces_the_paths():
    """The leaf stays the same keyword."""
    sidecar = Sidecar(DIGIKAM)
    sidecar.bring_to(CAT)
    assert sidecar.bring_to(("animals", "cat"))["digiKam:TagsList"] == ["People/Ben", "animals/cat"]


def test_labels_become_paths_below_the_root():
    """The root may have levels, or be empty; characters that XML does not know go."""
    tags = tuple(Tag(label=label, group="species", score=0.9) for label in ("cat", "dog\0", "cat", " "))

    class Ref:
        size_bytes, mtime_ns = 1, 1

    record = record_for(Ref(), tags=tags)
    assert list_keyword_paths(record, "pets") == (("pets", "cat"), ("pets", "dog"))
    assert list_keyword_paths(record, "animals/ pets/") == (("animals", "pets", "cat"), ("animals", "pets", "dog"))
    assert list_keyword_paths(record, "") == (("cat",), ("dog",))


def test_a_separator_in_a_label_is_no_level():
    """It becomes the other separator, as Immich writes it."""
    after = Sidecar().bring_to(("pets", "tabby/white"), ("pets", "a|b"), ("pets", "a/b"))
    assert after["digiKam:TagsList"] == ["pets/tabby|white", "pets/a|b"]
    assert after["lr:hierarchicalSubject"] == ["pets|tabby/white", "pets|a/b"]


def test_what_a_record_remembers_may_be_broken():
    """Then nothing is known to be ours."""
    assert XmpMemory.parse({"file": 3}) is None
    assert XmpMemory.parse(None) is None
    assert XmpMemory.parse(["x"]) is None
