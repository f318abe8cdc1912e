"""What is remembered of an XMP sidecar, and what a change that may not have been written says."""

from pawtag.outputs.xmp.memory import XmpIntent, XmpMemory, digest_content
from pawtag.outputs.xmp.sidecar_file import XmpSidecarFile

BEFORE = XmpMemory(file="a.jpg.xmp", added={"dc:subject": ("cat",)}, wanted=("pets/cat",))
AFTER = XmpMemory(file="a.jpg.xmp", added={"dc:subject": ("dog",)}, wanted=("pets/dog",))
OTHER = XmpMemory(file="a.jpg.xmp", added={"dc:subject": ("bird",)}, wanted=("pets/bird",))
OLD = XmpSidecarFile("a.jpg.xmp", b"old", "1")
NEW = XmpSidecarFile("a.jpg.xmp", b"new", "2")
FOREIGN = XmpSidecarFile("a.jpg.xmp", b"foreign", "3")
INTENT = XmpIntent(before=BEFORE, after=AFTER, version="1", digest=digest_content(b"new"))


def test_a_record_that_was_written_settles_the_change():
    """Whatever the file is now."""
    assert INTENT.resolve(AFTER, FOREIGN) == AFTER


def test_the_file_tells_whether_the_change_was_written():
    """Where the record is as it was: the same version, or the new content."""
    assert INTENT.resolve(BEFORE, OLD) == BEFORE
    assert INTENT.resolve(BEFORE, NEW) == AFTER
    first = XmpIntent(before=None, after=AFTER, version=None, digest="x")
    assert first.resolve(None, XmpSidecarFile("a.jpg.xmp")) == XmpMemory(file="a.jpg.xmp")


def test_a_removal_is_known_by_the_missing_file():
    """Its digest is none."""
    gone = XmpIntent(before=BEFORE, after=XmpMemory(file="a.jpg.xmp"), version="1", digest=None)
    assert gone.resolve(BEFORE, XmpSidecarFile("a.jpg.xmp")) == XmpMemory(file="a.jpg.xmp")


def test_where_it_cannot_be_told_nothing_is_said():
    """Another program, or another daemon, has written since; either may be in the file."""
    assert INTENT.resolve(BEFORE, FOREIGN) is None
    assert INTENT.resolve(OTHER, NEW) is None
    made = AFTER.model_copy(update={"is_new": True})
    assert BEFORE.unite(made).added == {"dc:subject": ("cat", "dog")}
    assert made.unite(BEFORE).is_new


def test_what_is_kept_survives_the_state_and_the_record():
    """As JSON; without what has its default."""
    assert XmpIntent.parse(INTENT.model_dump(mode="json")) == INTENT
    assert XmpMemory.parse(AFTER.to_json()) == AFTER
    assert XmpMemory(file="a.jpg.xmp").to_json() == {"file": "a.jpg.xmp"}
    assert XmpIntent.parse(None) is None
