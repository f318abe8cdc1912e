"""The freshness policy: whether the record of a photo is current."""

from dataclasses import replace

import pytest

from pawtag.domain.freshness import FreshnessPolicy
from pawtag.domain.records import Failure, ModelInfo, PhotoRef, Stamp, TaggerIdentity
from support.doubles import COLOURS
from support.records import record_for

START = "2026-11-23T12:00:00Z"
REF = PhotoRef("a.jpg", 10, 20)
OURS = TaggerIdentity(ModelInfo(id="wanted/model"), "labels", "ours")
FALLBACK = TaggerIdentity(ModelInfo(id="embedded", fallback=True, wanted="wanted/model"), "labels", "small")
STAMP = Stamp(
    "ours", 10, 20, "digest", labels="labels", model_id="wanted/model", fallback=False, tagged_at="2026-11-22T12:00:00Z"
)


@pytest.mark.parametrize(
    ("stamp", "current"),
    [
        (STAMP, True),
        (None, False),
        (replace(STAMP, size_bytes=11), False),
        (replace(STAMP, mtime_ns=21), False),
        (replace(STAMP, fingerprint="other"), False),
        (replace(STAMP, fingerprint="small", model_id="embedded", fallback=True), False),
    ],
)
def test_a_photo_is_current_when_version_and_fingerprint_are(stamp, current):
    """Another size, time, model or label set makes it stale."""
    assert FreshnessPolicy(OURS, COLOURS, START).is_current(stamp, REF) is current


def test_F23_a_fallback_never_replaces_a_record_of_the_wanted_model():
    """To the fallback, the wanted model's record with the same labels is current; with other labels not."""
    policy = FreshnessPolicy(FALLBACK, COLOURS, START)
    assert policy.is_current(STAMP, REF)
    assert not policy.is_current(replace(STAMP, labels="others"), REF)
    assert not policy.is_current(replace(STAMP, model_id="third/model"), REF)


def test_F23_two_daemons_do_not_overwrite_each_other():
    """What another daemon wrote since our start is left, unless the photo has changed."""
    policy, peer = (
        FreshnessPolicy(OURS, COLOURS, START),
        replace(STAMP, fingerprint="theirs", tagged_at="2026-11-23T12:00:01Z"),
    )
    assert policy.is_current(peer, REF)
    assert policy.written_by_peer(peer)
    assert not policy.is_current(peer, PhotoRef("a.jpg", 11, 20))


def test_what_this_process_wrote_with_an_earlier_model_is_no_other_daemons():
    """It is superseded, also where it was written after the start."""
    policy = FreshnessPolicy(OURS, COLOURS, START, own_fingerprints=frozenset({"ours", "small"}))
    stamp = replace(STAMP, fingerprint="small", tagged_at="2026-11-23T12:00:01Z")
    assert not policy.is_current(stamp, REF)
    assert not policy.written_by_peer(stamp)


def test_a_record_whose_tags_do_not_follow_the_corrections_is_stale():
    """Whatever its model; tags on an object are themselves what a person corrects."""
    record = record_for(REF, fingerprint="ours")
    policy, stamp = FreshnessPolicy(OURS, COLOURS, START), Stamp.from_record(record)
    assert policy.is_current(stamp, REF)
    assert not policy.is_current(stamp, REF, {"species": ["red"]})
    assert policy.is_current(replace(stamp, record=None), REF, {"species": ["red"]})


def test_the_fallback_leaves_tags_that_name_no_model():
    """They may be the wanted model's; those that it wrote itself are its own."""
    policy = FreshnessPolicy(FALLBACK, COLOURS, START, own_fingerprints=frozenset({"small"}))
    of_tags = Stamp("unknown", etag="e")
    assert policy.is_current(of_tags, PhotoRef("s3://b/a.jpg", etag="e"))
    assert not FreshnessPolicy(OURS, COLOURS, START).is_current(of_tags, PhotoRef("s3://b/a.jpg", etag="e"))


def test_M06_a_photo_without_numbers_is_tried_again_after_a_start():
    """The model may be repaired since. What this process has written itself is not tried again and again."""
    policy, failure = FreshnessPolicy(OURS, COLOURS, START), Failure(code="bad-score", message="No numbers.")
    assert not policy.is_current(replace(STAMP, failure=failure), REF)
    assert policy.is_current(replace(STAMP, failure=failure, tagged_at="2026-11-23T12:00:01Z"), REF)
    assert policy.is_current(replace(STAMP, failure=Failure(code="truncated", message="Cut.")), REF)
