"""Faults: each lasts until a photo that it has hit succeeds."""

from pawtag.pipeline import faults as module
from pawtag.pipeline.faults import Faults

FULL, DENIED = "No space is left in /a.", "/b cannot be written."


def test_W08_a_success_elsewhere_does_not_end_a_fault():
    """One folder is full, another is well."""
    faults = Faults()
    for name in ("/a/1.jpg", "/a/2.jpg"):
        faults.note(name, FULL)
    faults.note("/b/1.jpg", DENIED)
    assert faults.texts == {FULL, DENIED}
    faults.clear("/c/1.jpg")
    assert faults.first == FULL
    faults.clear("/b/1.jpg")
    assert faults.first == FULL


def test_the_end_of_a_fault_for_one_photo_is_its_end_for_all():
    """The others are retried soon; until then nobody is told of what is over."""
    faults = Faults()
    for name in ("/a/1.jpg", "/a/2.jpg"):
        faults.note(name, FULL)
    faults.clear("/a/2.jpg")
    assert faults.first is None
    faults.note("/a/1.jpg", FULL)
    assert faults.first == FULL


def test_faults_of_many_photos_are_bounded(monkeypatch):
    """The first ones are kept."""
    monkeypatch.setattr(module, "MAX_PHOTOS", 3)
    faults = Faults()
    for number in range(10):
        faults.note(f"{number}.jpg", FULL)
    assert len(faults._by_uri) == 3


def test_W08_a_fault_of_a_photo_that_is_not_tried_again_ends(monkeypatch):
    """The photo was deleted meanwhile, and nobody says so."""
    faults, now_s = Faults(), [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now_s[0])
    faults.note("/a/1.jpg", FULL)
    now_s[0] = 600.0
    assert faults.first == FULL
    now_s[0] = 1000.0
    assert faults.first is None
