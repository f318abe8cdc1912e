"""The webhook of the daemon process: killed, started again, told of everything."""

import asyncio
import random
import time

import pytest

from support.pictures import plain
from support.process import daemon
from support.receiver import SECRET, Receiver, receiving

pytestmark = pytest.mark.timeout(180)
PHOTOS, KILLS, WITHIN_S = 24, 2, 60


async def test_a_daemon_that_is_killed_tells_of_every_photo_and_twice_only_with_the_same_id(tmp_path):
    """Photos come while it is killed at random moments; the receiver refuses every third message."""
    chance, folder = random.Random(3), tmp_path / "photos"
    folder.mkdir()
    async with receiving(Receiver([204, 204, 500] * PHOTOS)) as receiver:
        settings = {
            "PAWTAG_MODEL__ID": "embedded",
            "PAWTAG_STATE__DIR": str(tmp_path / "state"),
            "PAWTAG_FOLDER__STABLE_S": "0.3",
            "PAWTAG_WEBHOOK__URL": f"{receiver.address}/hook",
            "PAWTAG_WEBHOOK__SECRET": SECRET,
        }

        def endure() -> None:
            for kill in range(KILLS + 1):
                for number in range(kill, PHOTOS, KILLS + 1):
                    (folder / f"{number}.png").write_bytes(plain((number, 200, 7)))
                with daemon(tmp_path, "--watch", folder, **settings) as running:
                    if kill < KILLS:
                        time.sleep(chance.uniform(0, 1.5))
                        continue
                    deadline_s = time.monotonic() + WITHIN_S
                    while len({document["uri"] for _, document in receiver.taken}) < PHOTOS:
                        assert time.monotonic() < deadline_s, running.said()
                        time.sleep(0.1)
                    assert running.stop() == 0

        await asyncio.to_thread(endure)
    by_photo: dict[str, set[str]] = {}
    for message_id, document in receiver.taken:
        by_photo.setdefault(document["uri"], set()).add(message_id)
    assert len(by_photo) == PHOTOS
    assert all(len(ids) == 1 for ids in by_photo.values())
