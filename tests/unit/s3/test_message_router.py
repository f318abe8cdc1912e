"""The message router: what becomes of each message of a queue."""

import json

import pytest

from pawtag.config import S3Settings
from pawtag.s3.message_queue import Message
from pawtag.s3.message_router import MAX_RECEIVES, MAX_RECEIVES_INVALID, route_message
from pawtag.s3.messages import format_message


def upload(bucket: str = "pets", **extra: str) -> str:
    entry = {"bucket": {"name": bucket}, "object": {"key": "a.jpg", "size": 7}}
    return json.dumps({"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": entry} | extra]})


def action(body: str, *, receives: int = 1, has_redrive: bool | None = None, **settings: str) -> str:
    message = Message("r", body, receives)
    return route_message(message, S3Settings(**settings), "ours", has_redrive=has_redrive).action


def test_an_upload_is_tagged():
    """The photo that the event names."""
    route = route_message(Message("r", upload(), 1), S3Settings(), "ours", has_redrive=None)
    assert route.action == "tag"
    assert route.uris == ("s3://pets/a.jpg",)


def test_what_a_message_names_besides_is_counted():
    """By reason: another prefix, another name."""
    records = [json.loads(upload())["Records"][0] for _ in range(3)]
    for record, key in zip(records, ("in/a.jpg", "in/a.txt", "out/a.jpg"), strict=True):
        record["s3"]["object"] = {"key": key}
    message = Message("r", json.dumps({"Records": records}), 1)
    route = route_message(message, S3Settings(prefix="in/"), "ours", has_redrive=None)
    assert route.uris == ("s3://pets/in/a.jpg",)
    assert route.skipped == {"not-a-photo": 1, "other-prefix": 1}


@pytest.mark.parametrize(
    ("receives", "has_redrive", "expected"),
    [(1, False, "release"), (MAX_RECEIVES, False, "dead-letter"), (MAX_RECEIVES, True, "release")],
)
def test_S20_a_message_about_another_prefix_is_left_to_other_daemons(receives, has_redrive, expected):
    """Two daemons with different prefixes may share a queue. Where no other takes it, it is kept, not dropped."""
    record = json.loads(upload())["Records"][0]
    record["s3"]["object"] = {"key": "out/a.jpg"}
    message = Message("r", json.dumps({"Records": [record]}), receives)
    route = route_message(message, S3Settings(prefix="in/"), "ours", has_redrive=has_redrive)
    assert route.action == expected
    assert "'in/'" in route.reason


@pytest.mark.parametrize("has_redrive", [True, None])
def test_garbage_is_left_to_the_redrive_policy(has_redrive):
    """However often it has been received, and also where the queue does not say."""
    assert action("garbage", receives=MAX_RECEIVES, has_redrive=has_redrive) == "leave"


def test_garbage_without_a_redrive_policy_becomes_a_dead_letter():
    """After a few receives."""
    assert action("garbage", receives=MAX_RECEIVES_INVALID - 1, has_redrive=False) == "leave"
    assert action("garbage", receives=MAX_RECEIVES_INVALID, has_redrive=False) == "dead-letter"


def test_a_message_of_another_bucket_is_left():
    """It is another daemon's, or the setting is wrong; the reason names both."""
    route = route_message(Message("r", upload("other"), 1), S3Settings(bucket="pets"), "ours", has_redrive=True)
    assert route.action == "leave"
    assert "'other'" in route.reason
    assert route.skipped == {"other-bucket": 1}


def test_a_photo_that_fails_for_hours_becomes_a_dead_letter():
    """Where the queue has no rule of its own."""
    assert action(upload(), receives=MAX_RECEIVES, has_redrive=False) == "dead-letter"
    assert action(upload(), receives=MAX_RECEIVES, has_redrive=True) == "tag"


def test_a_message_for_another_fingerprint_is_released():
    """Another daemon can tag its photo; one for this daemon is tagged, however often it was received."""
    theirs, ours = (format_message("pets", "a.jpg", "e", 7, name) for name in ("theirs", "ours"))
    assert action(theirs) == "release"
    assert action(ours, receives=MAX_RECEIVES, has_redrive=False) == "tag"
