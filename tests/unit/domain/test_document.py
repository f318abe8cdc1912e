"""The record's document: keys, schema, merging, encoding."""

import json

import jsonschema

from pawtag.cli.config import build_record_schema
from pawtag.domain.document import encode_document, merge_record, parse_document, parse_stamp, truncate_name
from pawtag.domain.errors import PermanentError
from pawtag.domain.records import ModelInfo, PhotoInfo, PhotoRef, SourceInfo, Tag, TaggerIdentity, Tagging
from pawtag.pipeline.recording import build_failed_record, build_record, summarise
from support.paths import ROOT
from support.records import record_for

OURS = TaggerIdentity(ModelInfo(id="m"), "0123456789ab", "ba9876543210")
KEYS = "schema status photo tags scores model labels fingerprint source corrected error tagged_at pawtag".split()


def test_the_schema_in_docs_is_current():
    """docs/record.schema.json is what `pawtag config schema --record` prints."""
    assert json.loads((ROOT / "docs/record.schema.json").read_text()) == build_record_schema()


def test_the_document_of_a_tagged_photo_has_the_keys_of_the_contract_in_order():
    """And it fits the schema."""
    photo = PhotoInfo(name=None, bytes=1, sha256="0", width=1, height=1, format="PNG")
    tagging = Tagging((Tag(label="cat", group="species", score=0.9),), {"species": {"cat": 0.9}}, photo, has_pet=True)
    document = build_record(tagging, "a.png", OURS, SourceInfo(kind="folder", mtime_ns=5)).to_document()
    assert list(document) == KEYS
    assert document["source"] == {"kind": "folder", "mtime_ns": 5}
    assert document["photo"]["name"] == "a.png"
    jsonschema.validate(document, build_record_schema())


def test_the_document_of_a_failed_photo_has_its_error():
    """What it does not tell is null; there are no tags and no scores."""
    record = build_failed_record(
        PermanentError("truncated", "Cut."), PhotoInfo(name="a.png"), OURS, SourceInfo(kind="request")
    )
    document = record.to_document()
    assert (document["status"], document["tags"], document["scores"]) == ("failed", [], {})
    assert document["error"] == {"code": "truncated", "message": "Cut."}
    assert document["photo"]["width"] is None
    assert summarise(record) == "failed, truncated: Cut."
    jsonschema.validate(document, build_record_schema())


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
