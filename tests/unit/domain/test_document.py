"""The record's document: parsing, merging, encoding."""

import pytest

from pawtag.domain.document import encode_document, merge_record, parse_document, parse_stamp, truncate_name
from pawtag.domain.errors import ChangedError
from pawtag.domain.records import PhotoRef, Written
from support.records import record_for


def test_another_programs_document_is_not_ours():
    """Whatever it is."""
    for content in (b'{"title": "IMG_1"}', b"[1]", b"not json", b""):
        assert not parse_document(content).is_ours


def test_F21_a_truncated_record_is_ours():
    """It still begins as pawtag writes it."""
    whole = encode_document(record_for(PhotoRef("/p/a.jpg", 5, 0)).to_document())
    stored = parse_document(whole[:200])
    assert stored.is_ours
    assert stored.content is None


def test_F21_a_new_record_keeps_correction_and_unknown_fields():
    """Also a correction that the record does not have: it was not understood."""
    old = {"corrected": ["unknown"], "album": "Rex", "status": "failed"}
    document = merge_record(record_for(PhotoRef("/p/a.jpg", 5, 0)), old, Written(corrections=["unknown"]))
    assert (document["album"], document["corrected"], document["status"]) == ("Rex", ["unknown"], "tagged")


def test_F21_a_correction_that_was_not_looked_at_is_not_overwritten():
    """Whoever writes must look again."""
    with pytest.raises(ChangedError):
        merge_record(record_for(PhotoRef("/p/a.jpg", 5, 0)), {"corrected": {"species": ["dog"]}}, Written())


@pytest.mark.parametrize("corrected", [None, {"species": ["dog"]}, {"species": "dog"}, ["dog"], 5])
def test_F21_a_record_is_a_stamp_whatever_its_correction(corrected):
    """What is written for the photo tells the correction as it stands there."""
    document = record_for(PhotoRef("/p/a.jpg", 5, 0)).to_document() | {"corrected": corrected, "outputs": {"xmp": 1}}
    assert parse_stamp(document) is not None
    written = parse_document(encode_document(document)).written
    assert (written.corrections, written.outputs) == (corrected, {"xmp": 1})
    assert parse_stamp({"schema": "pawtag.record/1"}) is None


def test_F15_a_name_that_is_too_long_is_truncated():
    """At a whole character, with a digest that keeps two names apart."""
    first, second = (truncate_name("ä" * 126 + end, ".json") for end in ("1.jpg", "2.jpg"))
    assert first != second
    assert len(first.encode()) <= 255
    assert first.endswith(".json")
    assert truncate_name("a.jpg", ".json") == "a.jpg.json"
