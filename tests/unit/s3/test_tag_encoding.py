"""Tag encoding: a record as tags that every store accepts, merged with those of others."""

import pytest

from pawtag.domain.records import Failure, PhotoRef, Tag
from pawtag.s3.tag_encoding import encode_tags, merge_tags, parse_stamp_tag
from support.records import record_for

REF = PhotoRef("s3://pets/a.jpg", 5, 0)
ETAG = "0123456789abcdef"


def test_a_tagged_photo_has_a_tag_for_each_group():
    """A tag for each group, the best species' score, and the stamp with the content's mark."""
    record = record_for(
        REF,
        tags=(
            Tag(label="cat", group="species", score=0.98123),
            Tag(label="dog", group="species", score=0.3),
            Tag(label="short-hair", group="coat", score=0.8),
        ),
        fingerprint="0a1b2c3d4e5f",
    )
    assert encode_tags(record, ETAG) == {
        "pawtag:species": "cat/dog",
        "pawtag:coat": "short-hair",
        "pawtag:score": "0.981",
        "pawtag:fingerprint": "0a1b2c3d4e5f.01234567",
    }
    assert set(encode_tags(record, ETAG, frozenset({"species"}))) == {"pawtag:species", "pawtag:fingerprint"}


def test_a_photo_without_a_pet_has_the_species_none():
    """Not the absence of one."""
    record = record_for(REF, status="no-pet", tags=())
    assert encode_tags(record, ETAG) == {"pawtag:species": "none", "pawtag:fingerprint": "b.01234567"}


def test_a_failed_photo_has_its_error_code():
    """The code alone."""
    record = record_for(REF, status="failed", tags=(), scores={}, error=Failure(code="truncated", message="It ends."))
    assert encode_tags(record, ETAG) == {"pawtag:error": "truncated", "pawtag:fingerprint": "b.01234567"}


def test_S07_labels_are_encoded_in_characters_that_every_store_accepts():
    """No comma, no emoji, no slash of a label's own, 256 characters."""
    tags = tuple(Tag(label=label, group="species", score=0.9) for label in ("a,b/c", "katze 🐱", "x" * 300))
    value = encode_tags(record_for(REF, tags=tags), ETAG)["pawtag:species"]
    assert value.startswith("a_b_c/katze _/xxx")
    assert len(value) == 256


def test_S03_a_stamp_is_valid_for_its_own_content_alone():
    """Tags that were copied to another object, or that stayed at an overwrite, do not."""
    tags = encode_tags(record_for(REF), ETAG)
    assert parse_stamp_tag(tags, ETAG) == "b"
    assert parse_stamp_tag(tags, "fedcba9876543210") is None
    assert parse_stamp_tag({}, ETAG) is None
    assert parse_stamp_tag({"pawtag:fingerprint": "rubbish"}, ETAG) is None


@pytest.mark.parametrize(("others", "fits"), [(0, True), (6, True), (7, False), (10, False)])
def test_S06_where_ten_tags_leave_no_room_other_tags_stay(others, fits):
    """Ten in all; our old ones are replaced."""
    there = {f"album{number}": "x" for number in range(others)} | {"pawtag:coat": "old", "pawtag:error": "empty"}
    own = {"pawtag:species": "cat", "pawtag:coat": "short-hair", "pawtag:score": "0.9", "pawtag:fingerprint": "b.0"}
    together = merge_tags(own, there)
    if not fits:
        assert together is None
    else:
        assert together == {f"album{number}": "x" for number in range(others)} | own
