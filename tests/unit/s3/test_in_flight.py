"""In-flight messages: a message is done when all its photos are."""

import pytest

from pawtag.s3.in_flight import InFlightMessages
from pawtag.s3.message_queue import Message


@pytest.fixture
def released():
    return []


@pytest.fixture
def messages(released):
    return InFlightMessages(lambda receipt, delay_s: released.append((receipt, delay_s)), busy_delay_s=7)


def message(receipt: str, receives: int = 1) -> Message:
    return Message(receipt, "{}", receives)


def test_a_message_without_photos_is_done_at_once(messages):
    """There is nothing to wait for."""
    assert messages.open(message("m"), []) == []
    assert messages.done == ["m"]


def test_a_message_is_done_with_its_last_photo(messages, released):
    """Until then it must stay invisible to others."""
    first, second = messages.open(message("m"), ["s3://b/1", "s3://b/2"])
    messages.finish(first, None)
    assert messages.done == []
    assert [entry.receipt for entry in messages.unfinished] == ["m"]
    messages.finish(second, None)
    assert messages.done == ["m"]
    assert not messages.unfinished
    assert not released


def test_one_failed_photo_releases_the_message(messages, released):
    """After the longest of the delays."""
    events = messages.open(message("m"), [f"s3://b/{number}" for number in range(3)])
    for event, delay_s in zip(events, (5, None, 3), strict=True):
        messages.finish(event, delay_s)
    assert released == [("m", 5)]
    assert messages.done == []


def test_a_photo_in_flight_is_not_started_twice(messages, released):
    """The second message comes again when the first is done."""
    messages.open(message("first"), ["s3://b/1"])
    assert messages.open(message("second"), ["s3://b/1"]) == []
    assert released == [("second", 7)]


def test_a_message_that_shares_a_photo_comes_again(messages, released):
    """Its other photos are tagged meanwhile."""
    messages.open(message("first"), ["s3://b/1"])
    (event,) = messages.open(message("second"), ["s3://b/1", "s3://b/2"])
    assert event.ref.uri == "s3://b/2"
    messages.finish(event, None)
    assert released == [("second", 7)]


def test_the_attempt_is_counted_by_the_queue(messages):
    """The first receive is attempt 0."""
    (event,) = messages.open(message("m", receives=3), ["s3://b/1"])
    assert event.attempt == 2
