"""The whole daemon on a bucket, as a user runs it: no fault loses an upload."""

import asyncio
import signal
import time
from contextlib import closing

import pytest

from pawtag.state.database import StateDatabase
from pawtag.state.dead_letters import DeadLetters
from support.buckets import behind, count_messages, daemon_environment, put, tags, until
from support.fault_proxy import Answer, FaultProxy
from support.process import daemon

PHOTOS, KILLS = 40, 3


@pytest.mark.timeout(180)
def test_S14_P02_kills_lose_no_upload_and_leave_no_message(store, tmp_path, chelsea):
    """Every photo carries its tags and its own; the queue is empty, and nobody's dead letters were needed."""
    cli_store = daemon_environment(store, tmp_path) | {
        "PAWTAG_MODEL__ID": "embedded",
        "PAWTAG_S3__VISIBILITY_TIMEOUT_S": "10",
    }
    photo = chelsea.read_bytes()
    for number in range(PHOTOS):
        put(store, f"{number}.png", photo, **({"album": "summer"} if number % 4 == 0 else {}))
    for pause_s in range(KILLS):
        with daemon(tmp_path, **cli_store) as running:
            time.sleep(0.2 + 0.2 * pause_s)
            running.stop(signal.SIGKILL)
    with daemon(tmp_path, **cli_store):
        asyncio.run(until(lambda: count_messages(store) == 0, 90))
    found = [tags(store, f"{number}.png") for number in range(PHOTOS)]
    assert [one["pawtag:species"] for one in found] == ["cat"] * PHOTOS
    assert [one.get("album") for one in found] == [None if number % 4 else "summer" for number in range(PHOTOS)]
    with closing(StateDatabase(tmp_path / "state")) as database:
        assert list(DeadLetters(database).list_letters()) == []


@pytest.mark.timeout(60)
@pytest.mark.parametrize("what", ["its queue and its listing", "a photo"])
def test_a_store_that_does_not_answer_does_not_delay_the_stop(store, tmp_path, what):
    """Whatever it is asked for; a photo in flight comes again."""
    put(store, "a.png", b"no matter")
    is_photo = lambda asked: asked.path.endswith("/a.png")  # noqa: E731
    is_other = lambda asked: asked.operation == "ReceiveMessage" or "list-type" in asked.query  # noqa: E731
    matches = is_photo if what == "a photo" else is_other
    with FaultProxy(store.address, lambda asked: Answer(delay_s=25) if matches(asked) else None) as proxy:
        own = daemon_environment(behind(store, proxy), tmp_path) | {"PAWTAG_S3__RESCAN_S": "60"}
        with daemon(tmp_path, **own, PAWTAG_MODEL__ID="embedded") as running:
            asyncio.run(until(lambda: any(map(matches, proxy.asked))))
            asked_s = time.monotonic()
            assert running.stop(signal.SIGTERM) == 0
            took_s = time.monotonic() - asked_s
    assert took_s < 10
    if what == "a photo":
        assert "is retried later" in running.said()
