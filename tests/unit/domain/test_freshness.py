"""The freshness policy: whether the record of a photo is current."""

from dataclasses import replace

import pytest

from pawtag.domain.freshness import FreshnessPolicy
from pawtag.domain.records import ModelInfo, PhotoRef, Stamp, TaggerIdentity

START = "2026-11-23T12:00:00Z"
REF = PhotoRef("a.jpg", 10, 20)
OURS = TaggerIdentity(ModelInfo(id="wanted/model"), "labels", "ours")
FALLBACK = TaggerIdentity(ModelInfo(id="embedded", fallback=True, wanted="wanted/model"), "labels", "small")
STAMP = Stamp(10, 20, "digest", "ours", "labels", "wanted/model", fallback=False, tagged_at="2026-11-22T12:00:00Z")


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
    assert FreshnessPolicy(OURS, START).is_current(stamp, REF) is current


def test_F23_a_fallback_never_replaces_a_record_of_the_wanted_model():
    """To the fallback, the wanted model's record with the same labels is current; with other labels not."""
    policy = FreshnessPolicy(FALLBACK, START)
    assert policy.is_current(STAMP, REF)
    assert not policy.is_current(replace(STAMP, labels="others"), REF)
    assert not policy.is_current(replace(STAMP, model_id="third/model"), REF)


def test_F23_two_daemons_do_not_overwrite_each_other():
    """What another daemon wrote since our start is left, unless the photo has changed."""
    policy, peer = FreshnessPolicy(OURS, START), replace(STAMP, fingerprint="theirs", tagged_at="2026-11-23T12:00:01Z")
    assert policy.is_current(peer, REF)
    assert policy.written_by_peer(peer)
    assert not policy.is_current(peer, PhotoRef("a.jpg", 11, 20))
