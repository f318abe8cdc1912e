"""Properties that hold for any input: records, settings, messages, names, forms, metadata, stability."""

import json
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pawtag.config import S3Settings, load_settings
from pawtag.domain.document import encode_document, merge_record, parse_document, truncate_name
from pawtag.domain.errors import ConfigError, PermanentError
from pawtag.domain.records import Written
from pawtag.folder.hints import Change, Hints
from pawtag.folder.stability import StabilityTracker, StabilityWaits
from pawtag.folder.walk import matches_exclude
from pawtag.images.metadata import drop_metadata
from pawtag.s3.message_queue import Message
from pawtag.s3.message_router import route_message
from pawtag.s3.tag_encoding import encode_tags
from support.pictures import decode_picture, plain
from support.records import record_for

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=120)
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class FakeRef:
    size_bytes, mtime_ns = 10, 20


RECORD = record_for(FakeRef())


@QUICK
@given(old=st.dictionaries(st.text(max_size=12), JSON, max_size=6))
def test_F21_keys_of_other_programs_survive_any_new_record(old):
    """Whatever stands in a sidecar besides ours stays; the result is a record that parses."""
    seen = Written(corrections=old.get("corrected"))
    merged = merge_record(RECORD, old, seen)
    again = parse_document(encode_document(merged))
    assert again.is_ours
    kept = {key: value for key, value in old.items() if key not in RECORD.to_document()}
    assert {key: again.content[key] for key in kept} == json.loads(json.dumps(kept))
    assert again.content["corrected"] == json.loads(json.dumps(old.get("corrected")))


@QUICK
@given(content=st.binary(max_size=400))
def test_any_bytes_are_a_document_of_somebody(content):
    """No exception, and ours only if it begins as ours."""
    found = parse_document(content)
    assert found.written is not None
    assert not (found.is_ours and b"pawtag.record" not in content)


@QUICK
@given(name=NAMES, suffix=st.sampled_from([".json", ".pawtag.json", ".gone.json"]), max_bytes=st.integers(60, 255))
def test_F15_a_sidecars_name_fits_and_is_one_photos_alone(name, suffix, max_bytes):
    """For any name and any limit; another name gets another."""
    found = truncate_name(name, suffix, max_bytes)
    assert len(found.encode("utf-8", "surrogateescape")) <= max(max_bytes, 0)
    assert found.endswith(suffix)
    assert truncate_name(name + "x", suffix, max_bytes) != found


@QUICK
@given(
    body=st.one_of(JSON.map(json.dumps), st.text(max_size=200)),
    receives=st.integers(1, 100),
    redrive=st.none() | st.booleans(),
)
def test_S08_any_message_has_a_route(body, receives, redrive):
    """No message of a queue ends the daemon, and none names a photo outside bucket and prefix."""
    found = route_message(
        Message("r", body, receives), S3Settings(bucket="pets", prefix="in/"), "ours", has_redrive=redrive
    )
    assert found.action in ("tag", "leave", "release", "dead-letter")
    assert all(uri.startswith("s3://pets/in/") for uri in found.uris)


@QUICK
@given(labels=st.lists(st.text(min_size=1, max_size=60), max_size=6))
def test_S07_tags_of_any_label_fit_into_the_store(labels):
    """S3: 256 characters of a restricted set, whatever a label is called."""
    tags = [RECORD.tags[0].model_copy(update={"label": label}) for label in labels]
    allowed = set(string.ascii_letters + string.digits + "+-=._:/@ ")
    for value in encode_tags(RECORD.model_copy(update={"tags": tuple(tags)}), "etag", None).values():
        assert len(value) <= 256
        assert set(value) <= allowed


@QUICK
@given(section=st.sampled_from(["server", "limits", "folder", "log", "nothing"]), name=st.text(max_size=12), value=JSON)
def test_any_setting_is_taken_or_named(tmp_path, monkeypatch, section, name, value):
    """A wrong one is an error of one line that says which; never a traceback."""
    monkeypatch.chdir(tmp_path)
    try:
        load_settings(overrides={section: {name: value}})
    except ConfigError as error:
        assert section in str(error) or "setting" in str(error)


@QUICK
@given(
    parts=st.lists(st.text("ab*?[]x", min_size=1, max_size=5), min_size=1, max_size=4),
    patterns=st.lists(st.text("ab*?[]x/", max_size=6), max_size=3),
)
def test_any_pattern_excludes_or_not(parts, patterns):
    """No pattern is an error; what excludes a folder excludes what is in it."""
    path = "/".join(parts)
    if matches_exclude(path, tuple(patterns)):
        assert matches_exclude(path + "/deeper", tuple(patterns))


WHOLE = {kind: plain(kind=kind, size=(24, 18)) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF")}


@QUICK
@given(
    kind=st.sampled_from(sorted(WHOLE)),
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.binary(min_size=1, max_size=4)), max_size=5),
    cut=st.floats(0.1, 1),
)
def test_I02_any_damage_is_a_picture_or_a_code(kind, changes, cut):
    """Bytes changed anywhere, cut anywhere: a picture within limits, or a PermanentError."""
    data = bytearray(WHOLE[kind])
    for place, new in changes:
        start = place % len(data)
        data[start : start + len(new)] = new
    damaged = bytes(data[: int(len(data) * cut)])
    try:
        assert decode_picture(damaged).rgb.shape[2] == 3
    except PermanentError as error:
        assert str(error).endswith(".")


@QUICK
@given(data=st.binary(max_size=600), magic=st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"\0\0\0\x20ftyp", b""]))
def test_metadata_is_dropped_from_any_bytes(data, magic):
    """It ends, it raises nothing unexpected, and what it returns is not longer."""
    try:
        assert len(drop_metadata(magic + data)) <= len(magic + data)
    except PermanentError:
        return


@QUICK
@given(
    steps=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(list(Change))), max_size=30),
    room=st.integers(1, 3),
)
def test_no_hint_is_lost_without_a_word(steps, room):
    """Each path that was reported is among the hints, or everything is to be scanned."""
    hints = Hints(lambda: None, room)
    for path, change in steps:
        hints.add(path, change)
    changes, folders = hints.take()
    assert len(changes) <= room
    assert {path for path, _ in steps} <= set(changes) or None in folders
    latest = dict(steps)
    assert all(changes[path] is latest[path] for path in changes if None not in folders)


class Folder(RuleBasedStateMachine):
    """A writer, and a tracker that hears of some of what it does. A rescan tells it the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.tracker = StabilityTracker(StabilityWaits(1.0, 5.0, held_s=20.0, snapshot_s=30.0))
        self.version: int | None = None
        self.counter = 0
        self.is_held = False
        self.seen: int | None = None

    @rule(is_heard=st.booleans())
    def write(self, is_heard):
        self.counter += 1
        self.version, self.is_held = self.counter, True
        if is_heard:
            self.tracker.mark_held("p", self.version, self.now_s)

    @precondition(lambda self: self.is_held)
    @rule(is_heard=st.booleans())
    def close(self, is_heard):
        self.is_held = False
        if is_heard:
            self.tracker.mark_closed("p", self.now_s)

    @rule(is_heard=st.booleans())
    def delete(self, is_heard):
        self.version, self.is_held = None, False
        if is_heard:
            self.tracker.mark_gone("p", self.now_s)

    @rule(is_heard=st.booleans())
    def move_in(self, is_heard):
        self.counter += 1
        self.version, self.is_held = self.counter, False
        if is_heard:
            self.tracker.mark_closed("p", self.now_s)

    @rule(seconds=st.sampled_from([0.2, 1.0, 6.0, 25.0]))
    def wait(self, seconds):
        self.now_s += seconds
        self.look()

    @rule()
    def rescan(self):
        if self.version is not None and self.version != self.seen and "p" not in self.tracker:
            self.tracker.mark_changed("p", self.version, self.now_s)

    def look(self) -> None:
        for path in self.tracker.pop_due(self.now_s):
            if self.version is None:
                self.tracker.confirm_gone(path, self.now_s)
            elif self.tracker.confirm(path, self.version, self.now_s):
                self.seen = self.version

    @invariant()
    def nothing_waits_for_ever(self):
        due_s = self.tracker.next_due_s()
        assert (due_s is None) == (len(self.tracker) == 0)
        assert due_s is None or due_s <= self.now_s + 20.0

    def teardown(self):
        """After all of it the folder rests: a rescan and the waits bring its present content."""
        self.is_held = False
        for _ in range(6):
            self.rescan()
            self.now_s += 25.0
            self.look()
        assert self.version is None or self.seen == self.version
        assert len(self.tracker) == 0


def test_F05_any_order_of_events_and_losses_ends_right():
    """Writes, closes, moves, deletions, events that are lost, rescans: in the end the present content was looked at."""
    run_state_machine_as_test(Folder, settings=settings(max_examples=150, stateful_step_count=25, deadline=None))


@pytest.fixture(autouse=True)
def no_examples_on_disk(tmp_path, monkeypatch):
    """Hypothesis keeps what failed below the current folder."""
    monkeypatch.setenv("HYPOTHESIS_STORAGE_DIRECTORY", str(tmp_path))
