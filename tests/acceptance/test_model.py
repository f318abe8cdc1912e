"""The wanted model with the real process: download, replacement, pull, evaluation."""

import json
import os
import re
import shutil
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from support.buckets import daemon_environment, put, tags
from support.checkpoints import tiny_clip
from support.fake_hub import COMMIT, cut, fake_hub, status
from support.process import command, daemon, get, post, sidecar

WANTED = "openai/clip-vit-base-patch32"
FEW_LABELS = """
templates = ["a photo of a {}"]
[groups.species]
labels.cat = ["cat"]
labels.dog = ["dog"]
"""
pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def full_size(tmp_path_factory):
    """A ViT-B/32 of random weights in the hub's layout: 250 MB."""
    return tiny_clip(tmp_path_factory.mktemp("full"), full_size=True)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small CLIP checkpoint."""
    return tiny_clip(tmp_path_factory.mktemp("small"))


@pytest.fixture
def home(tmp_path):
    """A user's folder with few labels, so that their prompts are embedded in no time."""
    (tmp_path / "labels.toml").write_text(FEW_LABELS)
    (tmp_path / "photos").mkdir()
    return tmp_path


def online(hub, home, **more) -> dict[str, str]:
    """The cli_store that let the hub be asked."""
    return {
        "HF_HUB_OFFLINE": "0",
        "HF_ENDPOINT": hub if isinstance(hub, str) else hub.address,
        "HF_HOME": str(home / "hf"),
        "PAWTAG_LABELS__FILE": str(home / "labels.toml"),
        **more,
    }


def until(condition, within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_M01_the_wanted_model_replaces_the_fallback(home, full_size, chelsea, store):
    """The embedded model answers at once; then the photos are tagged again, a bucket's, too.

    The next start needs no network.
    """
    put(store, "a.png", chelsea.read_bytes())
    bucket = daemon_environment(store, home) | {"PAWTAG_FOLDER__PATH": "photos"}
    photo = shutil.copy(chelsea, home / "photos/a.png")
    os.utime(photo, (1, 1))
    with fake_hub(full_size) as hub:
        hub.pause_s = 0.004  # a quarter of a minute for it all: the embedded model has time to tag
        with daemon(home, **online(hub, home, PAWTAG_FOLDER__STABLE_S="0.2", **bucket)) as running:
            assert post(running.address, chelsea.read_bytes())
            first = sidecar(home / "photos/a.png")
            assert (first["model"]["id"], first["model"]["wanted"]) == ("embedded", WANTED)
            until(lambda: "pawtag:fingerprint" in tags(store, "a.png"))
            fingerprint = tags(store, "a.png")["pawtag:fingerprint"]
            until(lambda: get(running.address, "/readyz")["download"]["total_bytes"])
            assert get(running.address, "/readyz")["download"]["total_bytes"] > 250_000_000
            until(lambda: sidecar(home / "photos/a.png")["model"]["id"] == WANTED, within_s=120)
            again = sidecar(home / "photos/a.png")
            until(lambda: tags(store, "a.png")["pawtag:fingerprint"] != fingerprint)
            readiness = get(running.address, "/readyz")
            record = post(running.address, chelsea.read_bytes(), "/tag?detail=record")
            assert running.stop() == 0
    assert again["model"] == {"id": WANTED, "revision": COMMIT, "fallback": False, "wanted": None}
    assert readiness["model"]["id"] == record["model"]["id"] == WANTED
    assert readiness["model"]["calibrated"] is False
    assert "download" not in readiness
    with daemon(home, **online("http://127.0.0.1:9", home)) as running:
        assert get(running.address, "/readyz")["model"]["id"] == WANTED
        assert "hub" not in running.said()
        assert running.stop() == 0
    assert sidecar(home / "photos/a.png") == again


def test_M04_a_killed_download_is_resumed_at_the_next_start(home, full_size):
    """SIGKILL, three times: no half model is ever loaded, every start serves, what has arrived stays."""
    with fake_hub(full_size) as hub:
        hub.pause_s = 0.002
        for _ in range(3):
            with daemon(home, **online(hub, home)) as running:
                until(lambda run=running: get(running.address, "/readyz").get("download", {}).get("done_bytes"))
                assert get(running.address, "/readyz")["model"]["id"] == "embedded"
                time.sleep(0.5)
                running.stop(signal.SIGKILL)
        hub.pause_s = 0
        with daemon(home, **online(hub, home)) as running:
            running.wait_until_said("replaces the embedded model")
            assert running.stop() == 0
        begun = [int(asked.removeprefix("bytes=")[:-1]) for asked in hub.fetched("model.safetensors") if asked]
    assert begun == sorted(begun)
    assert begun[-1] > 1_000_000


def test_P01_a_stop_during_the_download_is_quick_and_clean(home, full_size):
    """SIGTERM: exit 0 within seconds, and no error in the log."""
    with fake_hub(full_size) as hub:
        hub.pause_s = 0.01
        with daemon(home, **online(hub, home)) as running:
            running.wait_until_said("downloading")
            started = time.monotonic()
            assert running.stop() == 0
    assert time.monotonic() - started < 5
    assert "error" not in running.said()


def test_without_a_fallback_the_daemon_is_not_ready_before_the_model_is_loaded(home, small, chelsea):
    """/readyz says how far it is; POST /tag says when to come again; then it serves."""
    with fake_hub(small) as hub:
        hub.pause_s = 0.5
        settings = online(hub, home, PAWTAG_MODEL__FALLBACK="none")
        with daemon(home, ready=False, **settings) as running:
            running.wait_until_said("downloading")
            with pytest.raises(urllib.error.HTTPError) as refusal:
                get(running.address, "/readyz")
            document = json.load(refusal.value)
            assert (refusal.value.code, document["model"]) == (503, None)
            assert "being downloaded" in document["reason"]
            running.wait_until_said("ready")
            assert post(running.address, chelsea.read_bytes())
            assert running.stop() == 0


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "http://pawtag.invalid"])
def test_M01_without_a_fallback_an_unreachable_hub_ends_the_start(home, address):
    """Exit 1 within 20 seconds, in one sentence."""
    started = time.monotonic()
    found = command("run", "--port", "0", home=home, **online(address, home, PAWTAG_MODEL__FALLBACK="none"))
    assert found.returncode == 1
    assert "cannot be reached" in found.stderr.decode()
    assert "Traceback" not in found.stderr.decode()
    assert time.monotonic() - started < 20


def test_with_download_off_the_hub_is_not_contacted(home, small):
    """model.download = false: the embedded model serves, and no connection is made."""
    with fake_hub(small) as hub:
        with daemon(home, **online(hub, home, PAWTAG_MODEL__DOWNLOAD="false")) as running:
            time.sleep(0.5)
            assert running.stop() == 0
        assert hub.requests == []


def test_M03_a_damaged_model_never_replaces_the_fallback(home, small, tmp_path, chelsea):
    """A tensor is missing in what the hub serves: it is named, and the embedded model continues to serve."""
    from safetensors.numpy import load_file, save_file

    broken = shutil.copytree(small, tmp_path / "broken")
    tensors = load_file(broken / "model.safetensors")
    del tensors["visual_projection.weight"]
    save_file(tensors, broken / "model.safetensors", {"format": "pt"})
    with fake_hub(broken) as hub, daemon(home, **online(hub, home)) as running:
        running.wait_until_said("continues to serve")
        assert "visual_projection.weight" in running.said()
        assert post(running.address, chelsea.read_bytes())
        readiness = get(running.address, "/readyz")
        assert running.stop() == 0
    assert readiness["ready"]
    assert "visual_projection.weight" in readiness["download"]["reason"]


def test_M03_a_damaged_model_in_the_cache_is_downloaded_again(home, small):
    """A disk's flipped bit: the embedded model serves meanwhile, then the downloaded one replaces it."""
    with fake_hub(small) as hub:
        assert command("model", "pull", home=home, **online(hub, home)).returncode == 0
        blob = next((home / "hf").rglob("model.safetensors")).resolve()
        blob.write_bytes(blob.read_bytes()[:-1] + b"x")
        with daemon(home, **online(hub, home)) as running:
            running.wait_until_said("replaces the embedded model")
            assert "damaged" in running.said()
            assert running.stop() == 0


def test_pull_downloads_the_model_and_prints_its_folder(home, small):
    """Through a line that breaks; the second time there is nothing to do."""
    with fake_hub(small) as hub:
        hub.faults = [("GET /cdn", cut(1000))]
        found = command("model", "pull", home=home, **online(hub, home))
        assert found.returncode == 0, found.stderr
        assert (found.stdout.decode().strip()).endswith(COMMIT)
        asked = len(hub.requests)
        assert command("model", "pull", home=home, **online(hub, home)).returncode == 0
        assert len(hub.requests) == asked
    shown = command("model", "show", "--json", home=home, **online("http://127.0.0.1:9", home))
    assert json.loads(shown.stdout)["revision"] == COMMIT


def test_pull_of_a_missing_model_names_it(home, small):
    """Exit 1, one sentence."""
    with fake_hub(small) as hub:
        hub.faults = [("HEAD", status(401, X_Error_Code="RepoNotFound"))]
        found = command("model", "pull", home=home, **online(hub, home))
    assert found.returncode == 1
    assert "HF_TOKEN" in found.stderr.decode()
    assert "Traceback" not in found.stderr.decode()


def test_evaluate_measures_and_writes_the_thresholds(tmp_path, chelsea):
    """The settings file keeps its comments; from then on the calibrated values apply, and the model counts as calibrated."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config/pawtag.toml").write_text('# mine\n[model]\nid = "embedded" # the small one\n')
    shutil.copy(chelsea, tmp_path / "cat.png")
    (tmp_path / "grey.png").write_bytes(grey())
    rows = ["file,species,coat", *["cat.png,cat,short-hair"] * 12, *["grey.png,none,"] * 12]
    (tmp_path / "mine.csv").write_text("\n".join(rows))
    found = command("model", "evaluate", "--labelled", "mine.csv", "--write", home=tmp_path)
    assert found.returncode == 0, found.stderr
    assert "pets tagged right: 12 of 12" in found.stdout.decode()
    text = (tmp_path / "config/pawtag.toml").read_text()
    assert text.startswith('# mine\n[model]\nid = "embedded" # the small one\n')
    shown = json.loads(command("model", "show", "--json", home=tmp_path).stdout)
    assert f"threshold = {shown['threshold']}\ntemperature = {shown['temperature']}" in text
    assert shown["calibrated"] is True


def test_evaluate_writes_no_threshold_of_another_model(tmp_path, chelsea):
    """A model that is only on the command line, or a fallback: the settings file names another one."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config/pawtag.toml").write_text("[server]\nport = 7861\n")
    shutil.copy(chelsea, tmp_path / "cat.png")
    (tmp_path / "mine.csv").write_text("file,species\ncat.png,cat\n")
    arguments = ("model", "evaluate", "--labelled", "mine.csv", "--write")
    other, fallback = command(*arguments, "--model", "embedded", home=tmp_path), command(*arguments, home=tmp_path)
    assert (other.returncode, b"set model.id = 'embedded' there first" in other.stderr) == (2, True)
    assert (fallback.returncode, b"'pawtag model pull' first" in fallback.stderr) == (2, True)
    assert "threshold" not in (tmp_path / "config/pawtag.toml").read_text()


def test_evaluate_reads_what_people_corrected(tmp_path, chelsea):
    """Which labels were wrong how often, and the threshold that would have been right; written if asked."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config/pawtag.toml").write_text('[model]\nid = "embedded"\n')
    (tmp_path / "photos").mkdir()
    for number in range(22):
        shutil.copy(chelsea, tmp_path / f"photos/{number}.png")
    assert command("scan", "photos", home=tmp_path).returncode == 0
    names = [f"photos/{number}.png" for number in range(21)]
    assert command("correct", *names, "--species", "none", home=tmp_path).returncode == 0
    found = command("model", "evaluate", "--corrections", "--write", home=tmp_path)
    assert found.returncode == 0, found.stderr
    text = found.stdout.decode()
    assert "22 records in photos have this model" in text
    assert "21 photos have a corrected species" in text
    assert re.search(r"cat +22 +21 +0\n", text)
    assert "threshold now, 0.5: 1 of 22 photos right" in text
    written = (tmp_path / "config/pawtag.toml").read_text()
    assert f"threshold = {json.loads(command('model', 'show', '--json', home=tmp_path).stdout)['threshold']}" in written
    both = command("model", "evaluate", "--corrections", "--labelled", "x.csv", home=tmp_path)
    assert both.returncode == 2


def test_check_without_photos_verifies_the_model(tmp_path):
    """Complete, and with the answers of its self test."""
    found = command("model", "check", "--model", "embedded", home=tmp_path)
    assert b"passes its self test" in found.stdout
    assert command("model", "check", "--write", "--model", "embedded", home=tmp_path).returncode == 2


def grey() -> bytes:
    from support.pictures import plain

    return plain((128, 128, 128))


def test_a_first_start_answers_at_once_and_says_what_it_is_doing(home, small):
    """/healthz is 200 and /readyz names the step; then the engine is named, and torch was never in this process."""
    own = {"PAWTAG_MODEL__CACHE_DIR": str(home / "cache"), "PAWTAG_LABELS__FILE": str(home / "labels.toml")}
    with daemon(home, "--model", small, ready=False, **own) as running:
        seen = set()
        until(lambda: answers(running.address))
        while (readiness := read_any(running.address + "/readyz"))["model"] is None:
            seen.add(readiness["reason"])
            time.sleep(0.02)
        assert any("the checkpoint is being loaded" in reason for reason in seen)
        assert readiness["model"]["engine"].startswith("openvino")
        assert "libtorch" not in Path(f"/proc/{running.process.pid}/maps").read_text()
        with urllib.request.urlopen(running.address + "/metrics", timeout=10) as metrics:
            assert 'engine="openvino' in metrics.read().decode()
        running.wait_until_said("ready")
        assert running.stop() == 0


def test_P01_a_stop_during_the_preparation_leaves_no_process(home, small):
    """The child ends with the daemon, also where that is killed."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        cache = home / f"cache-{how}"
        with daemon(home, "--model", small, ready=False, PAWTAG_MODEL__CACHE_DIR=str(cache)) as running:
            running.wait_until_said("preparing the model")
            tasks = Path(f"/proc/{running.process.pid}/task")
            children = [pid for task in tasks.iterdir() for pid in (task / "children").read_text().split()]
            assert children
            running.stop(how)
            until(lambda pids=children: not any(Path(f"/proc/{pid}").exists() for pid in pids), within_s=20)


def answers(address: str) -> bool:
    """Whether the process says that it lives."""
    try:
        return get(address, "/healthz")["alive"]
    except OSError:
        return False


def read_any(url: str) -> dict:
    """The document, whatever the status is."""
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        return json.load(error)
