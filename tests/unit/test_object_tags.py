"""s3/tags: a record as tags that every store takes, beside everybody else's."""

import json
from pathlib import Path

import pytest

from pawtag.domain.records import Failure, PhotoRef, Tag
from pawtag.s3.setup.policy import PhotoLocations, daemon_policy, sender_statement
from pawtag.s3.tag_encoding import encode_tags, merge_tags, parse_stamp_tag
from sidecars import record_for

REF = PhotoRef("s3://pets/a.jpg", 5, 0)
ETAG = "0123456789abcdef"


def test_a_tagged_photo():
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


def test_no_pet_is_an_answer():
    """Not the absence of one."""
    record = record_for(REF, status="no-pet", tags=())
    assert encode_tags(record, ETAG) == {"pawtag:species": "none", "pawtag:fingerprint": "b.01234567"}


def test_a_photo_that_cannot_be_tagged():
    """The code alone."""
    record = record_for(REF, status="failed", tags=(), scores={}, error=Failure(code="truncated", message="It ends."))
    assert encode_tags(record, ETAG) == {"pawtag:error": "truncated", "pawtag:fingerprint": "b.01234567"}


def test_S07_labels_are_written_in_characters_that_every_store_takes():
    """No comma, no emoji, no slash of a label's own, 256 characters."""
    tags = tuple(Tag(label=label, group="species", score=0.9) for label in ("a,b/c", "katze 🐱", "x" * 300))
    value = encode_tags(record_for(REF, tags=tags), ETAG)["pawtag:species"]
    assert value.startswith("a_b_c/katze _/xxx")
    assert len(value) == 256


def test_S03_a_stamp_vouches_for_its_own_content_alone():
    """Tags that were copied to another object, or that stayed at an overwrite, do not."""
    tags = encode_tags(record_for(REF), ETAG)
    assert parse_stamp_tag(tags, ETAG) == "b"
    assert parse_stamp_tag(tags, "fedcba9876543210") is None
    assert parse_stamp_tag({}, ETAG) is None
    assert parse_stamp_tag({"pawtag:fingerprint": "rubbish"}, ETAG) is None


@pytest.mark.parametrize(("others", "fits"), [(0, True), (6, True), (7, False), (10, False)])
def test_S06_other_tags_stay_or_ours_give_way(others, fits):
    """Ten in all; our old ones are replaced."""
    there = {f"album{number}": "x" for number in range(others)} | {"pawtag:coat": "old", "pawtag:error": "empty"}
    own = {"pawtag:species": "cat", "pawtag:coat": "short-hair", "pawtag:score": "0.9", "pawtag:fingerprint": "b.0"}
    together = merge_tags(own, there)
    if not fits:
        assert together is None
    else:
        assert together == {f"album{number}": "x" for number in range(others)} | own


@pytest.mark.parametrize("rule_arn", [None, "arn:aws:events:eu-central-1:123456789012:rule/pets"])
def test_a_queue_takes_messages_of_its_own_account_alone(rule_arn):
    """Of the bucket, whose ARN names no account, or of EventBridge's rule, whose ARN does."""
    statement = sender_statement("pets", "pets", "arn:aws:sqs:eu-central-1:123456789012:pawtag-pets", rule_arn)
    assert "123456789012" in json.dumps(statement["Condition"])
    assert (rule_arn or "arn:aws:s3:::pets") == statement["Condition"]["ArnEquals"]["aws:SourceArn"]


def test_the_policy_in_config_is_the_least_that_pawtag_needs():
    """config/s3-policy.json is what `pawtag s3 setup` prints: it may overwrite no photo."""
    shown = json.loads((Path(__file__).parents[2] / "config/s3-policy.json").read_text())
    assert shown == daemon_policy(PhotoLocations("pets"), "arn:aws:sqs:eu-central-1:123456789012:pawtag-pets")
    (writes,) = [one for one in shown["Statement"] if "s3:PutObject" in one["Action"]]
    assert writes["Resource"].endswith(".json")
