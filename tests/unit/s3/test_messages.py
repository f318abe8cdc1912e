"""Messages: how each store names a new object, recognised by content."""

import base64
import json
from pathlib import Path

import pytest

from pawtag.s3.messages import MessageError, ObjectHint, parse_message
from support.paths import STORES


def record(key: str, source: str = "aws:s3", event: str = "ObjectCreated:Put", **more) -> dict:
    return {
        "eventSource": source,
        "eventName": event,
        "s3": {"bucket": {"name": "pets"}, "object": {"key": key, "size": 5, "eTag": "abc", **more}},
    }


def notification(*records: dict) -> str:
    return json.dumps({"Records": records})


@pytest.mark.parametrize(
    ("source", "written", "key"),
    [
        ("aws:s3", "in/a+b%2Bc.jpg", "in/a b+c.jpg"),
        ("aws:s3", "in%2F100%25.jpg", "in/100%.jpg"),
        ("minio:s3", "in%2Fgr%C3%BCn+1.jpg", "in/grün 1.jpg"),
        ("ceph:s3", "in/a+b%20.jpg", "in/a+b%20.jpg"),
    ],
)
def test_S02_keys_are_decoded_by_the_rule_of_their_store(source, written, key):
    """Form-encoded by S3 and MinIO, plain by Ceph."""
    (hint,) = parse_message(notification(record(written, source)))
    assert (hint.bucket, hint.key, hint.other_key) == ("pets", key, None)


def test_a_key_of_an_unknown_store_has_two_readings():
    """The object that exists decides."""
    (hint,) = parse_message(notification(record("a+b.jpg", "other:s3")))
    assert (hint.key, hint.other_key) == ("a b.jpg", "a+b.jpg")
    (plain,) = parse_message(notification(record("ab.jpg", "other:s3")))
    assert plain.other_key is None


def test_an_event_carries_an_address_and_a_size():
    """ETag, version and sequencer say what was: the object says what is."""
    entry = record("a.jpg", eTag='"abc"', versionId="", sequencer="00A1")
    assert parse_message(notification(entry)) == [ObjectHint("pets", "a.jpg", 5)]


def test_S01_several_records_in_one_message():
    """Each is one object."""
    assert [hint.key for hint in parse_message(notification(record("a.jpg"), record("b.jpg")))] == ["a.jpg", "b.jpg"]


def test_S01_a_message_through_sns_is_read_raw_and_wrapped():
    """The message in the message."""
    wrapped = json.dumps({"Type": "Notification", "Message": notification(record("a.jpg"))})
    assert [hint.key for hint in parse_message(wrapped)] == ["a.jpg"]


def test_S02_keys_from_eventbridge_are_plain():
    """No sign in them stands for another."""
    body = {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "detail": {"bucket": {"name": "pets"}, "object": {"key": "a+b %.jpg", "size": 5}},
    }
    assert parse_message(json.dumps(body)) == [ObjectHint("pets", "a+b %.jpg", 5)]


@pytest.mark.parametrize("wrapped", [False, True])
def test_S01_a_test_event_names_no_object(wrapped):
    """It is acknowledged like any other."""
    body = json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "pets"})
    assert parse_message(json.dumps({"Type": "Notification", "Message": body}) if wrapped else body) == []


@pytest.mark.parametrize(
    "event", ["ObjectTagging:Put", "ObjectRemoved:Delete", "ObjectRemoved:DeleteMarkerCreated", "s3:ObjectAcl:Put"]
)
def test_S05_events_that_do_not_change_the_content_are_ignored(event):
    """Our own tags above all."""
    assert parse_message(notification(record("a.jpg", event=event))) == []


def test_a_restored_object_is_an_event():
    """It lay in an archive and could not be read."""
    assert parse_message(notification(record("a.jpg", event="s3:ObjectRestore:Completed")))


def filer(event: str, etag: bytes | None, old: bytes | None = None, key: str = "/buckets/pets/in/a b.jpg") -> str:
    def entry(value):
        return value and {"extended": {"Seaweed-X-Amz-ETag": base64.b64encode(value).decode()}}

    message = {"new_entry": entry(etag), "old_entry": entry(old)}
    return json.dumps({"event_type": event, "key": key, "message": message})


def test_S01_events_of_the_seaweedfs_filer_are_read():
    """SeaweedFS: a path, an ETag in base64; a change of tags leaves the ETag as it was."""
    assert parse_message(filer("create", b"abc")) == [ObjectHint("pets", "in/a b.jpg")]
    assert parse_message(filer("update", b"new", b"abc")) == [ObjectHint("pets", "in/a b.jpg")]
    assert parse_message(filer("update", b"abc", b"abc")) == []
    assert parse_message(filer("create", b"abc", key="/etc/a.jpg")) == []
    assert parse_message(filer("delete", None, b"abc")) == []


@pytest.mark.parametrize(
    "body",
    [
        *(
            "",
            "no JSON",
            "[]",
            "3",
            "{}",
            '{"Records": [{}]}',
            '{"Records": 3}',
            '{"Type": "Notification", "Message": 1}',
        ),
        notification(record("half an emoji \ud83d.jpg")),
    ],
)
def test_S08_an_unknown_message_is_garbage(body):
    """One error for all of it."""
    with pytest.raises(MessageError):
        parse_message(body)


def samples() -> list[Path]:
    return sorted((STORES / "samples").glob("*.json"))


@pytest.mark.skipif(not samples(), reason=f"no samples of real stores at {STORES} (set PAWTAG_STORES)")
def test_S01_recorded_messages_of_four_stores_are_parsed():
    """Puts, copies and uploads in parts name one object; deletions, tags and tests none."""
    for path in samples():
        hints = parse_message(path.read_text("utf-8"))
        tells = not any(word in path.name for word in ("delete", "tagging", "testevent"))
        assert bool(hints) == tells, path.name
        assert all(hint.key.endswith(".jpg") for hint in hints), path.name
        if any(word in path.name for word in ("-put", "sns", "eventbridge")):
            assert " " in hints[0].key, path.name
