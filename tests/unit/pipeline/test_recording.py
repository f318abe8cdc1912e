"""Recording: the record of a tagging, and of a failure."""

import jsonschema

from pawtag.cli.config import build_record_schema
from pawtag.domain.errors import PermanentError
from pawtag.domain.records import ModelInfo, PhotoInfo, SourceInfo, Tag, TaggerIdentity, Tagging
from pawtag.pipeline.recording import build_failed_record, build_record, summarise

OURS = TaggerIdentity(ModelInfo(id="m"), "0123456789ab", "ba9876543210")
KEYS = (
    "schema status photo tags scores model labels fingerprint source corrected outputs error tagged_at pawtag".split()
)


def test_the_document_of_a_tagged_photo_has_the_keys_of_the_contract_in_order():
    """And it fits the schema."""
    photo = PhotoInfo(name=None, bytes=1, sha256="0", width=1, height=1, format="PNG")
    tags = (Tag(label="cat", group="species", score=0.9),)
    tagging = Tagging("tagged", tags, {"species": {"cat": 0.9}}, photo, OURS)
    document = build_record(tagging, "a.png", SourceInfo(kind="folder", mtime_ns=5)).to_document()
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


def test_an_unsure_photo_is_summarised_by_its_candidates():
    """The best two species, and never `none`."""
    scores = {"species": {"cat": 0.49, "dog": 0.39, "none": 0.08}}
    tagging = Tagging("unsure", (), scores, PhotoInfo(name=None), OURS)
    assert summarise(build_record(tagging, "a.png", SourceInfo(kind="request"))) == "unsure: cat 0.49 or dog 0.39"


def test_a_photo_without_a_pet_is_summarised_with_its_other_tags():
    """A group of one's own is asked about every photo."""
    tagging = Tagging("no-pet", (Tag(label="outdoors", group="place", score=0.74),), {}, PhotoInfo(name=None), OURS)
    assert summarise(build_record(tagging, "a.png", SourceInfo(kind="request"))) == "no pet, outdoors 0.74"
