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


def test_status_asks_the_running_daemon(tmp_path, chelsea):
    """Model, sources, what waits, what failed and why; with a key, and without any daemon."""
    settings = {
        "PAWTAG_MODEL__ID": "embedded",
        "PAWTAG_SERVER__API_KEY": "secret",
        "PAWTAG_STATE__DIR": str(tmp_path / "s"),
    }
    with daemon(tmp_path, **settings) as running:
        port = {"PAWTAG_SERVER__PORT": str(running.port)}
        (tmp_path / "photos/broken.jpg").write_bytes(b"no picture")
        shutil.copy(chelsea, tmp_path / "photos")
        assert sidecar(tmp_path / "photos/broken.jpg")["status"] == "failed"
        sidecar(tmp_path / "photos/chelsea.png")
        deadline = time.monotonic() + WITHIN_S
        while "1 not-an-image" not in (said := command("status", home=tmp_path, **settings, **port).stdout.decode()):
            assert time.monotonic() < deadline, said
        assert f"folder {tmp_path}/photos: running" in said
        assert "broken.jpg: not-an-image" in said
        document = json.loads(command("status", "--json", home=tmp_path, **settings, **port).stdout)
        assert document["failures"] == {"not-an-image": 1}
        (tmp_path / "photos/broken.jpg").unlink()
        while b"not-an-image" in command("status", home=tmp_path, **settings, **port).stdout:
            assert time.monotonic() < deadline + WITHIN_S
        refused = command("status", home=tmp_path, **port, PAWTAG_SERVER__API_KEY="wrong")
        assert (refused.returncode, b"refuses" in refused.stderr) == (1, True)
        scraped = urllib.request.Request(f"{running.address}/metrics", headers={"Authorization": "Bearer secret"})
        with urllib.request.urlopen(scraped, timeout=WITHIN_S) as answer:
            assert b'pawtag_photos_failed_total{code="not-an-image"} 1.0' in answer.read()
        assert "/metrics" not in running.said()
        assert running.stop() == 0
    alone = command("status", home=tmp_path, **port)
    assert (alone.returncode, b"start it with 'pawtag run'" in alone.stderr) == (1, True)


def test_retry_tags_failed_photos_again(tmp_path, chelsea):
    """By name, by code, or all that failed; what fails again is named."""
    folder, settings = (
        tmp_path / "pets",
        {"PAWTAG_MODEL__ID": "embedded", "PAWTAG_FOLDER__PATH": str(tmp_path / "pets")},
    )
    folder.mkdir()
    for name in ("a.png", "b.png"):
        shutil.copy(chelsea, folder / name)
        os.utime(folder / name, (1, 1))
    assert command("scan", folder, home=tmp_path, PAWTAG_LIMITS__MAX_PIXELS="1000", **settings).returncode == 0
    assert sidecar(folder / "a.png")["error"]["code"] == "too-many-pixels"
    none = command("retry", "--code", "truncated", home=tmp_path, **settings)
    assert none.stdout.decode().startswith(
        f"0 of 0 failed photos are tagged now\nlooked in {folder.resolve()}; set folder.path"
    )
    named = command("retry", "--code", "truncated", folder / "a.png", home=tmp_path, **settings)
    assert b"its record has no failure, or another error code" in named.stdout
    one = command("retry", folder / "a.png", home=tmp_path, **settings)
    assert one.stdout.decode().endswith("1 of 1 failed photos are tagged now\n")
    again = command("retry", home=tmp_path, PAWTAG_LIMITS__MAX_PIXELS="1000", **settings)
    assert (again.returncode, b"too-many-pixels" in again.stdout) == (1, True)
    rest = command("retry", home=tmp_path, **settings)
    assert rest.stdout.decode().endswith("1 of 1 failed photos are tagged now\n")
    assert {sidecar(folder / name)["status"] for name in ("a.png", "b.png")} == {"tagged"}


def test_W03_temporary_files_of_killed_processes_are_removed(tmp_path):
    """In sidecar.dir, state.dir and cache_dir, too; those of others and young ones stay."""
    old = [tmp_path / folder / ".pawtag-0123456789ab.tmp" for folder in ("records/deep", "state", "cache/x")]
    kept = [tmp_path / "records/.pawtag-0123456789ac.tmp", tmp_path / "state/.other-0123456789ab.tmp"]
    for path in (*old, *kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    for path in (*old, kept[1]):
        os.utime(path, (1, 1))
    settings = {
        "PAWTAG_SIDECAR__DIR": str(tmp_path / "records"),
        "PAWTAG_STATE__DIR": str(tmp_path / "state"),
        "PAWTAG_MODEL__CACHE_DIR": str(tmp_path / "cache"),
        "PAWTAG_MODEL__ID": "embedded",
    }
    with daemon(tmp_path, **settings) as running:
        deadline = time.monotonic() + WITHIN_S
        while any(path.exists() for path in old):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert all(path.exists() for path in kept)
        assert running.stop() == 0


def test_I09_a_photo_that_ends_its_process_costs_itself_alone(tmp_path, chelsea):
    """The decoder is made to kill its process on one file: after the restart that one is failed, its neighbours are tagged."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/killer.png").write_bytes(chelsea.read_bytes() + b"KILL")
    patch = tmp_path / "patch"
    patch.mkdir()
    (patch / "sitecustomize.py").write_text(
        "import os\n"
        "from PIL import Image\n"
        "opened = Image.open\n"
        "def open_or_die(file, *given, **more):\n"
        "    if file.getvalue().endswith(b'KILL'):\n"
        "        os.kill(os.getpid(), 9)\n"
        "    return opened(file, *given, **more)\n"
        "Image.open = open_or_die\n"
    )
    settings = {
        "PAWTAG_MODEL__ID": "embedded",
        "PAWTAG_STATE__DIR": str(tmp_path / "state"),
        "PYTHONPATH": str(patch),
        "PAWTAG_FOLDER__STABLE_S": "0.2",
    }
    with daemon(tmp_path, ready=False, **settings) as running:
        assert running.process.wait(40) == -9
    for name in ("one.png", "two.png"):
        shutil.copy(chelsea, tmp_path / "photos" / name)
    with daemon(tmp_path, **settings) as running:
        found = {name: sidecar(tmp_path / f"photos/{name}.png")["status"] for name in ("one", "two", "killer")}
        said = running.said()
        assert running.stop() == 0
    assert found == {"one": "tagged", "two": "tagged", "killer": "failed"}
    assert sidecar(tmp_path / "photos/killer.png")["error"]["code"] == "killed-the-daemon"
    assert "an earlier process ended while it worked on" in said


@pytest.mark.skipif(not shutil.which("prlimit"), reason="prlimit is of Linux")
@pytest.mark.parametrize("limit", ["--nofile=64", "--nproc=400"])
def test_P03_few_open_files_or_threads_leave_a_daemon_that_works(tmp_path, chelsea, limit):
    """It may be slower; it does not stop, and no photo is lost."""
    settings = {"PAWTAG_MODEL__ID": "embedded", "PAWTAG_STATE__DIR": str(tmp_path / "state")}
    with daemon(tmp_path, prefix=["prlimit", limit], **settings) as running:
        for number in range(60):
            shutil.copy(chelsea, tmp_path / f"photos/{number}.png")
        for number in range(60):
            assert sidecar(tmp_path / f"photos/{number}.png")["status"] == "tagged"
        assert running.stop() == 0


@pytest.mark.skipif(not shutil.which("prlimit"), reason="prlimit is of Linux")
def test_P03_too_little_memory_is_said_at_the_start(tmp_path):
    """An address space of 200 MB holds no model: the start ends, and says something of memory; it does not hang."""
    with daemon(tmp_path, ready=False, prefix=["prlimit", "--as=200000000"], PAWTAG_MODEL__ID="embedded") as running:
        assert running.process.wait(40) not in (0, None)
        said = running.said().lower()
    assert any(word in said for word in ("memory", "allocate", "resource", "map", "thread"))


def test_P08_names_of_any_alphabet_work_in_the_locale_c(tmp_path, chelsea):
    """LC_ALL=C, and no UTF-8 mode: files are tagged, named in the log, and found by the command line."""
    plain_c = {
        "LC_ALL": "C",
        "LANG": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PAWTAG_MODEL__ID": "embedded",
    }
    with daemon(tmp_path, **plain_c) as running:
        photo = tmp_path / "photos/кот mimi 🐈.png"
        shutil.copy(chelsea, photo)
        assert sidecar(photo)["photo"]["name"] == photo.name
        assert running.stop() == 0
    found = command("status", photo, home=tmp_path, PAWTAG_FOLDER__PATH=str(tmp_path / "photos"), **plain_c)
    assert (found.returncode, b": current" in found.stdout) == (0, True)


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_P07_threads_and_open_files_stay_what_they_are(tmp_path, chelsea):
    """Four hundred photos come and go; the script scripts/endurance.py does so for hours."""
    settings = {"PAWTAG_MODEL__ID": "embedded", "PAWTAG_STATE__DIR": str(tmp_path / "state")}
    with daemon(tmp_path, **settings) as running:
        held = []
        for _ in range(4):
            photos = [tmp_path / f"photos/{number}.png" for number in range(100)]
            for photo in photos:
                shutil.copy(chelsea, photo)
            for photo in photos:
                sidecar(photo)
                photo.unlink()
                Path(f"{photo}.json").unlink()
            folder = Path(f"/proc/{running.process.pid}")
            held.append((len(list((folder / "task").iterdir())), len(list((folder / "fd").iterdir()))))
        assert running.stop() == 0
    assert held[-1][0] <= held[1][0] + 8  # pools grow to their size
    assert held[-1][1] <= held[1][1] + 3
