"""The daemon process: start, photos, requests, stop, kill."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import jsonschema
import pytest

from support.paths import ROOT
from support.process import WITHIN_S, command, daemon, environment, get, post, sidecar, wait_for

pytestmark = pytest.mark.timeout(180)


def test_drop_a_photo_post_a_photo_and_stop(tmp_path, chelsea):
    """One command: ./photos is made and watched, 7860's like answers, a cat is a cat, SIGTERM ends it with 0."""
    with daemon(tmp_path) as running:
        shutil.copy(chelsea, tmp_path / "photos/chelsea.png")
        record = sidecar(tmp_path / "photos/chelsea.png")
        rows = post(running.address, chelsea.read_bytes())
        readiness = get(running.address, "/readyz")
        assert running.stop() == 0
    assert record["status"] == "tagged"
    assert [tag["label"] for tag in record["tags"]][0] == "cat"
    assert rows[0]["label"] in ("cat", "short-hair", "medium-hair", "long-hair")
    assert {row["label"] for row in rows if row["tagged"]} == {tag["label"] for tag in record["tags"]}
    assert readiness["model"] | {"engine": ""} == {
        "id": "embedded",
        "revision": None,
        "fallback": True,
        "wanted": "openai/clip-vit-base-patch32",
        "engine": "",
        "calibrated": True,
    }
    assert record["model"]["wanted"] == "openai/clip-vit-base-patch32"
    jsonschema.validate(record, json.loads((ROOT / "docs/record.schema.json").read_text()))


def test_the_start_logs_model_folder_and_address(tmp_path):
    """Which model and that it is a fallback, which folder, which address, then ready."""
    with daemon(tmp_path, "--watch", tmp_path) as running:
        said = running.said()
        assert running.stop() == 0
    for what in (
        "openai/clip-vit-base-patch32 is not on this machine",
        "model embedded",
        f"watching {tmp_path}",
        running.address,
    ):
        assert what in said
    assert said.rstrip().splitlines()[-1].endswith("ready")


def test_a_second_start_has_nothing_to_do(tmp_path, chelsea):
    """What was tagged stays as it is."""
    (tmp_path / "photos").mkdir()
    photo = Path(shutil.copy(chelsea, tmp_path / "photos/a.png"))
    with daemon(tmp_path) as running:
        sidecar(photo)
        running.stop()
    before = (tmp_path / "photos/a.png.json").stat()
    with daemon(tmp_path) as running:
        time.sleep(1)
        running.stop()
    assert (tmp_path / "photos/a.png.json").stat().st_mtime_ns == before.st_mtime_ns


def test_M09_new_labels_make_old_records_stale(tmp_path, chelsea):
    """A new group in labels.toml alone: old records are stale, the new ones have it."""
    (tmp_path / "photos").mkdir()
    photo = Path(shutil.copy(chelsea, tmp_path / "photos/a.png"))
    os.utime(photo, (1, 1))
    with daemon(tmp_path) as running:
        first = sidecar(photo)
        running.stop()
    (tmp_path / "labels.toml").write_text(
        'templates = ["a photo of a {}"]\n[groups.species]\nlabels.cat = ["cat"]\nlabels.dog = ["dog"]\n'
        '[groups.place]\nlabels.indoors = ["room"]\nlabels.outdoors = ["landscape"]\n'
    )
    with daemon(tmp_path, "--labels", "labels.toml") as running:
        running.wait_until_said("a.png")
        time.sleep(0.2)
        running.stop()
    second = sidecar(photo)
    assert second["labels"] != first["labels"]
    assert set(second["scores"]) == {"species", "place"}


def test_P02_W03_a_killed_daemon_loses_nothing(tmp_path, chelsea):
    """SIGKILL among two hundred photos costs time only: every record whole, every photo tagged."""
    (tmp_path / "photos").mkdir()
    for number in range(200):
        shutil.copy(chelsea, tmp_path / f"photos/{number}.png")
        os.utime(tmp_path / f"photos/{number}.png", (1, 1))
    with daemon(tmp_path) as running:
        running.wait_until_said(".png: cat")
        running.stop(signal.SIGKILL)
    assert 0 < len(list((tmp_path / "photos").glob("*.json"))) < 200
    for path in (tmp_path / "photos").glob("*.json"):
        assert json.loads(path.read_text())["status"] == "tagged"
    with daemon(tmp_path):
        for number in range(200):
            sidecar(tmp_path / f"photos/{number}.png", within_s=90)


def test_P01_a_stop_during_the_start_is_quick_and_clean(tmp_path):
    """SIGTERM while the model loads: exit 0 within seconds."""
    with daemon(tmp_path, ready=False) as running:
        wait_for(tmp_path / "photos")
        time.sleep(0.3)
        started = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - started < 5


def test_H10_a_request_in_flight_is_answered_at_sigterm(tmp_path, chelsea):
    """As many requests are answered as are in flight; one that comes later is refused."""
    with daemon(tmp_path) as running, ThreadPoolExecutor(4) as threads:
        requests = [threads.submit(post, running.address, chelsea.read_bytes()) for _ in range(4)]
        in_flight = wait_until_in_flight(running.address)
        assert running.stop() == 0
        assert sum(is_answered(request) for request in requests) >= in_flight


def wait_until_in_flight(address: str) -> int:
    """How many photos are in flight, as soon as there is one."""
    deadline = time.monotonic() + WITHIN_S
    while True:
        with urllib.request.urlopen(f"{address}/metrics", timeout=WITHIN_S) as response:
            count = int(float(re.search(r"^pawtag_photos_in_flight (\S+)$", response.read().decode(), re.MULTILINE)[1]))
        if count:
            return count
        assert time.monotonic() < deadline


def is_answered(request: Future) -> bool:
    try:
        return bool(request.result()[0]["label"])
    except urllib.error.HTTPError as error:
        assert error.code == 503
    except (ConnectionError, urllib.error.URLError):
        pass  # it came when the daemon did not listen any more
    return False


def test_P01_an_interrupt_stops_the_daemon(tmp_path):
    """SIGINT, as Ctrl-C sends it: exit 0."""
    with daemon(tmp_path) as running:
        assert running.stop(signal.SIGINT) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["run", "--port", "99999"], 2, "server.port is wrong"),
        (["run", "--port", "0", "--model", "./absent"], 2, "./absent does not exist"),
        (["run", "--labels", "absent.toml"], 2, "absent.toml does not exist"),
        (["run", "--config", "absent.toml"], 2, "absent.toml cannot be read"),
        (["scan", "absent"], 2, "The folder absent does not exist"),
        (["dance"], 2, "invalid choice"),
        (["model", "show", "--model", "org/absent"], 1, "not on this machine"),
    ],
)
def test_a_wrong_setting_is_one_clear_sentence(tmp_path, arguments, code, said):
    """Exit 2 for wrong usage and settings, 1 for a failure; no traceback."""
    found = command(*arguments, home=tmp_path, PAWTAG_MODEL__FALLBACK="none" if code == 1 else "embedded")
    assert found.returncode == code
    assert said in found.stderr.decode()
    assert "Traceback" not in found.stderr.decode()


def test_H09_a_port_in_use_ends_the_start(tmp_path):
    """Exit 1, and what to do."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        found = command("run", "--port", listening.getsockname()[1], home=tmp_path)
    assert found.returncode == 1
    assert "another program listens there" in found.stderr.decode()


def test_P06_a_lost_log_does_not_stop_the_daemon(tmp_path, chelsea):
    """Whoever read its log has gone: it goes on tagging, and ends as it should."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pawtag", "run", "--port", "0"],
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        cwd=tmp_path,
        env=environment(tmp_path),
    )
    with process:
        try:
            while b"ready" not in process.stderr.readline():
                assert process.poll() is None
            process.stderr.close()
            shutil.copy(chelsea, tmp_path / "photos/a.png")
            assert sidecar(tmp_path / "photos/a.png")["status"] == "tagged"
            process.terminate()
            assert process.wait(WITHIN_S) in (0, 1)
        finally:
            process.kill()
