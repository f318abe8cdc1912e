"""The webhook of the daemon process: killed, started again, told of everything."""

import asyncio
import random
import socket
import subprocess
import sys
import time

import pytest

from support.documents import read_blocks
from support.paths import ROOT
from support.pictures import plain
from support.process import command, daemon, free_port
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


@pytest.mark.parametrize("secret", [SECRET, "any text"])
def test_the_receiver_of_the_document_verifies_messages(tmp_path, secret):
    """docs/webhooks.md, as it stands but for the port: it takes what is signed with its secret, and nothing else."""
    port, url = free_port(), "PAWTAG_WEBHOOK__URL"
    blocks = [block.text for block in read_blocks(ROOT / "docs/webhooks.md") if block.language == "python"]
    (tmp_path / "receiver.py").write_text(blocks[0].replace("9000", str(port)))
    receiver = subprocess.Popen(
        [sys.executable, tmp_path / "receiver.py"], env={"PAWTAG_WEBHOOK__SECRET": secret}, stdout=subprocess.PIPE
    )
    try:
        address = {url: f"http://127.0.0.1:{port}/pawtag"}
        wait_until_open(port)
        signed = command("webhook", "test", home=tmp_path, PAWTAG_WEBHOOK__SECRET=secret, **address)
        assert (signed.returncode, receiver.stdout.readline()) == (0, b"test None\n")
        for wrong in ({"PAWTAG_WEBHOOK__SECRET": "another"}, {}):
            refused = command("webhook", "test", home=tmp_path, **wrong, **address)
            assert (refused.returncode, b"401" in refused.stderr) == (1, True)
    finally:
        receiver.kill()
        receiver.communicate()


def wait_until_open(port: int) -> None:
    """Something listens on the port."""
    deadline_s = time.monotonic() + WITHIN_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        else:
            return
