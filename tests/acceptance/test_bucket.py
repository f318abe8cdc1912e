"""The whole daemon on a bucket, as a user runs it: nothing that happens to it loses an upload."""

import asyncio
import signal
import time

import pytest

from buckets import BUCKET, REGION, address, put, store, tags, until, waiting  # noqa: F401 - fixtures
from process import daemon

PHOTOS, KILLS = 40, 3


@pytest.mark.timeout(180)
def test_S14_kills_lose_no_upload_and_leave_no_message(store, tmp_path, chelsea):
    """Every photo carries its tags and its own; the queue is empty, and nobody's dead letters were needed."""
    surroundings = {
        "PAWTAG_MODEL__ID": "embedded",
        "PAWTAG_STATE__DIR": str(tmp_path / "state"),
        "PAWTAG_S3__ENDPOINT_URL": store.address,
        "PAWTAG_S3__REGION": REGION,
        "PAWTAG_S3__ADDRESSING": "path",
        "PAWTAG_S3__BUCKET": BUCKET,
        "PAWTAG_S3__QUEUE_URL": store.url,
        "PAWTAG_S3__VISIBILITY_S": "10",
    }
    photo = chelsea.read_bytes()
    for number in range(PHOTOS):
        put(store, f"{number}.png", photo, **({"album": "summer"} if number % 4 == 0 else {}))
    for pause_s in range(KILLS):
        with daemon(tmp_path, **surroundings) as running:
            time.sleep(0.2 + 0.2 * pause_s)
            running.stop(signal.SIGKILL)
    with daemon(tmp_path, **surroundings):
        asyncio.run(until(lambda: waiting(store) == 0, 90))
    found = [tags(store, f"{number}.png") for number in range(PHOTOS)]
    assert [one["pawtag:species"] for one in found] == ["cat"] * PHOTOS
    assert [one.get("album") for one in found] == [None if number % 4 else "summer" for number in range(PHOTOS)]
    assert not list((tmp_path / "state").rglob("dead-letters*"))
