"""The record's document: parsing, merging, encoding."""

from pawtag.domain.document import encode_document, merge_record, parse_document, parse_stamp, truncate_name
from pawtag.domain.records import PhotoRef
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
    """And the corrected group has the person's labels."""
    old = {"corrected": {"species": ["dog"]}, "album": "Rex", "status": "failed"}
    document = merge_record(record_for(PhotoRef("/p/a.jpg", 5, 0)), old)
    assert (document["album"], document["corrected"], document["status"]) == ("Rex", {"species": ["dog"]}, "tagged")
    assert [tag["label"] for tag in document["tags"]] == ["dog"]


def test_F21_a_record_whose_tags_do_not_follow_its_correction_is_no_stamp():
    """So that the photo is tagged again."""
    document = record_for(PhotoRef("/p/a.jpg", 5, 0)).to_document()
    assert parse_stamp(document) is not None
    assert parse_stamp(document | {"corrected": {"species": ["dog"]}}) is None
    assert parse_stamp({"schema": "pawtag.record/1"}) is None


def test_F15_a_name_that_is_too_long_is_truncated():
    """At a whole character, with a digest that keeps two names apart."""
    first, second = (truncate_name("ä" * 126 + end, ".json") for end in ("1.jpg", "2.jpg"))
    assert first != second
    assert len(first.encode()) <= 255
    assert first.endswith(".json")
    assert truncate_name("a.jpg", ".json") == "a.jpg.json"
