"""Tag encoding: a record as tags that every store accepts, merged with those of others."""

import pytest

from pawtag.domain.records import Failure, PhotoRef, Tag
from pawtag.s3.tag_encoding import encode_tags, merge_tags, parse_tag_corrections, parse_tag_stamp
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
    assert parse_tag_stamp(tags, ETAG).fingerprint == "b"
    for others, etag in (
        (tags, "fedcba9876543210"),
        (tags, None),
        ({}, ETAG),
        ({"pawtag:fingerprint": "rubbish"}, ETAG),
    ):
        assert parse_tag_stamp(others, etag) is None


def test_a_photo_whose_species_is_not_sure_says_so():
    """Not that it shows none."""
    assert encode_tags(record_for(REF, status="unsure", tags=()), ETAG)["pawtag:species"] == "unsure"


@pytest.mark.parametrize("error", [None, Failure(code="truncated", message="It ends.")])
@pytest.mark.parametrize("corrected", [{"species": ["dog", "cat"]}, {"species": [], "coat": ["long-hair"]}])
def test_corrections_survive_in_tags(error, corrected):
    """Their groups are named, and their labels are the tags; also where the photo cannot be read any more."""
    tags = [Tag(label=label, group=group, score=1.0) for group, labels in corrected.items() for label in labels]
    record = record_for(REF, tags=tuple(tags), corrected=corrected, error=error)
    assert parse_tag_corrections(encode_tags(record, ETAG)) == corrected


def test_tags_without_a_corrected_group_are_no_corrections():
    """What the model wrote is not a person's."""
    assert parse_tag_corrections(encode_tags(record_for(REF), ETAG)) is None


def test_the_stamp_of_a_failed_photo_tells_its_code():
    """A code of a later version is left out."""
    failed = {"pawtag:fingerprint": "b.01234567", "pawtag:error": "truncated"}
    assert parse_tag_stamp(failed, ETAG).failure.code == "truncated"
    assert parse_tag_stamp(failed | {"pawtag:error": "of-tomorrow"}, ETAG).failure is None


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
