"""The hub: a checkpoint is downloaded completely or not at all, whatever fails."""

import shutil
import threading
import time
from dataclasses import replace

import pytest
from huggingface_hub import constants

from pawtag.config import ModelSettings
from pawtag.domain.errors import ModelError, TemporaryError
from pawtag.inference import checkpoint
from pawtag.inference.checkpoint import DEFAULT_ID, Checkpoint, find_checkpoint
from pawtag.inference.engines.torch import TorchEngine
from pawtag.inference.hub.api import HubModel
from pawtag.inference.hub.pull import Pull
from pawtag.inference.hub.tuning import HubTuning
from support.checkpoints import tiny_clip
from support.fake_hub import COMMIT, cut, fake_hub, html, silent, status, truncated

WEIGHTS = "model.safetensors"
QUICK = HubTuning(short_delay_s=0.01, long_delay_s=0.01)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A small CLIP checkpoint."""
    return tiny_clip(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def served(whole, tmp_path, monkeypatch):
    """A hub on loopback that serves it, an empty cache, and short waits."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with fake_hub(shutil.copytree(whole, tmp_path / "served")) as running:
        point_at(running.address, monkeypatch)
        yield running


def point_at(address, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")


def pull_model(**how):
    return Pull(DEFAULT_ID, COMMIT, tuning=QUICK, **how).run()


def is_whole(folder):
    """It loads, at the pinned revision, out of the hub client's own cache."""
    found = find_checkpoint(ModelSettings())
    return found is not None and found.folder == folder and TorchEngine(found, "cpu", 1).spec.crop == (32, 32)


def test_a_checkpoint_is_downloaded_into_the_hub_clients_own_cache(served):
    """And from then on found there without a request."""
    assert find_checkpoint(ModelSettings()) is None
    folder = pull_model()
    asked = len(served.requests)
    assert is_whole(folder)
    assert len(served.requests) == asked


def test_what_is_downloaded_is_what_the_hub_client_finds(served):
    """Blobs, snapshots and refs are as the client would have laid them out."""
    from huggingface_hub import snapshot_download

    folder = pull_model()
    assert snapshot_download(DEFAULT_ID, revision=COMMIT, local_files_only=True) == str(folder)
    assert (folder / WEIGHTS).resolve().parent.name == "blobs"


def test_without_a_revision_the_newest_is_taken_and_remembered(served):
    """As `main`, with the commit as the record's revision."""
    served.model_id = "some/model"
    Pull("some/model", None).run()
    assert find_checkpoint(ModelSettings(id="some/model")).model.revision == COMMIT


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("cut after a while", ("GET /cdn", cut(1000))),
        ("called whole, and short", ("GET /cdn", truncated(5000))),
        ("busy", ("GET /cdn", status(503))),
        ("a server's error on the first question", ("HEAD", status(500))),
        ("a proxy's page in place of a file's description", ("HEAD", html)),
        ("a proxy's page in place of a file", ("GET /openai", html)),
    ],
)
def test_M04_a_temporary_fault_is_retried(served, name, fault):
    """Whatever it is: the checkpoint is whole in the end."""
    served.faults = [fault]
    assert is_whole(pull_model())


def test_M04_a_broken_download_is_resumed(served):
    """A download that was cut off is resumed where it ended."""
    served.faults = [("GET /cdn", truncated(5000))]
    assert is_whole(pull_model())
    assert served.fetched(WEIGHTS)[-1] == "bytes=5000-"


def test_M04_a_killed_download_is_resumed_by_the_next_process(served):
    """What has arrived lies in the cache; half a checkpoint is none."""
    served.faults = [("GET /cdn", truncated(7000))]
    with pytest.raises(ModelError):
        pull_model(max_attempts=1)
    assert find_checkpoint(ModelSettings()) is None
    assert is_whole(pull_model())
    assert served.fetched(WEIGHTS)[-1] == "bytes=7000-"


def test_M04_retry_after_is_obeyed(served):
    """Retry-After in seconds."""
    served.faults = [("HEAD", status(429, Retry_After="1"))]
    started = time.monotonic()
    assert is_whole(pull_model())
    assert 1 <= time.monotonic() - started < 5


def test_M03_a_file_with_a_wrong_digest_is_downloaded_again(served):
    """And asked for again from its first byte, a bounded number of times."""
    served.lies = b"lies"
    with pytest.raises(ModelError, match="did not arrive completely"):
        pull_model(max_attempts=3)
    assert served.fetched(WEIGHTS).count(None) >= 3
    assert find_checkpoint(ModelSettings()) is None
    served.lies = b""
    assert is_whole(pull_model())


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (status(401), "HF_TOKEN"),
        (status(403, X_Error_Code="GatedRepo"), "HF_TOKEN"),
        (status(404, X_Error_Code="RepoNotFound"), "has no model"),
        (status(404, X_Error_Code="RevisionNotFound"), "has no model"),
    ],
)
def test_M04_a_refusal_is_not_retried(served, fault, said):
    """It says what would help."""
    served.faults = [("HEAD", fault)]
    with pytest.raises(ModelError, match=said):
        pull_model()
    assert len(served.requests) <= 2


def test_M01_a_hub_that_does_not_answer_ends_in_an_error(served):
    """One short probe, not the client's 25 seconds."""
    served.faults = [("HEAD", silent)]
    started = time.monotonic()
    with pytest.raises(TemporaryError, match="cannot be reached"):
        HubModel(DEFAULT_ID, replace(QUICK, probe_timeout_s=0.3)).describe(COMMIT)
    assert time.monotonic() - started < 3


def test_M01_an_unreachable_hub_is_an_error_at_once(served, monkeypatch):
    """Against the real client, with a port where nobody answers."""
    point_at("http://127.0.0.1:9", monkeypatch)
    started = time.monotonic()
    with pytest.raises(ModelError, match="cannot be reached"):
        pull_model(max_attempts=5)
    assert time.monotonic() - started < 3


def test_the_token_of_the_user_goes_to_the_hub_alone(served, monkeypatch):
    """Not to the store on another host that the hub sends us to."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    pull_model()
    assert served.keys == {"127.0.0.1": {"Bearer hf_secret"}, "localhost": {None}}


def test_two_processes_download_once(served):
    """The second waits, and finds what the first has brought."""
    served.pause_s = 0.2
    folders = []
    threads = [threading.Thread(target=lambda: folders.append(pull_model())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert is_whole(folders[0])
    assert served.fetched(WEIGHTS).count(None) == 2, "the resolve route and the store behind it, once each"


def test_M05_pickled_weights_are_refused(served):
    """A repository that holds nothing else is named, and nothing of it is downloaded."""
    (served.folder / WEIGHTS).rename(served.folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickled"):
        pull_model()
    assert served.fetched("pytorch_model.bin") == []


@pytest.fixture
def pickled(served, monkeypatch):
    """The hub serves pickled weights alone, and the code pins their digest."""
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(served.folder / WEIGHTS), served.folder / "pytorch_model.bin")
    (served.folder / WEIGHTS).unlink()
    digest = checkpoint.compute_sha256(served.folder / "pytorch_model.bin")
    monkeypatch.setitem(checkpoint.PINNED_PICKLES, (DEFAULT_ID, COMMIT), digest)
    return served


def test_M05_pinned_pickled_weights_are_loaded_as_weights_only(pickled):
    """openai's own repository holds nothing else; its digest stands in the code."""
    assert is_whole(pull_model())


def test_M05_pickled_weights_with_another_digest_are_refused_at_every_start(pickled):
    """Also when they were put into the cache by other hands."""
    folder = pull_model()
    blob = (folder / "pytorch_model.bin").resolve()
    (folder / "pytorch_model.bin").unlink()
    (folder / "pytorch_model.bin").write_bytes(blob.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelError, match="pinned"):
        find_checkpoint(ModelSettings()).read_digests()


@pytest.mark.parametrize("name", [WEIGHTS, "vocab.json"])
def test_M03_a_damaged_file_in_the_cache_is_refused_and_replaced(served, name):
    """A flipped bit, a swapped tokenizer: the digest that the hub gave is checked before ready."""
    folder = pull_model()
    blob = (folder / name).resolve()
    blob.write_bytes(blob.read_bytes()[:-2] + b"xx")
    with pytest.raises(ModelError, match="damaged"):
        find_checkpoint(ModelSettings()).read_digests()
    assert is_whole(pull_model())


def test_M04_an_incomplete_snapshot_is_no_checkpoint(served):
    """Whichever file is missing."""
    folder = pull_model()
    for name in ("config.json", WEIGHTS, "preprocessor_config.json"):
        shutil.move(folder / name, folder / "away")
        assert find_checkpoint(ModelSettings()) is None
        shutil.move(folder / "away", folder / name)
    assert is_whole(folder)


def test_sharded_weights_are_downloaded_by_their_index(served):
    """All shards, or it is no checkpoint."""
    model = TorchEngine(Checkpoint(served.folder, find_checkpoint(ModelSettings(id="embedded")).model), "cpu", 1)
    model._model.save_pretrained(served.folder, max_shard_size="100KB")
    (served.folder / WEIGHTS).unlink(missing_ok=True)
    assert len(list(served.folder.glob("model-*.safetensors"))) > 1
    folder = pull_model()
    assert is_whole(folder)
    next(folder.glob("model-*.safetensors")).unlink()
    assert find_checkpoint(ModelSettings()) is None


def test_P04_a_read_only_hub_cache_is_named(served, tmp_path):
    """With the variable that chooses another."""
    (tmp_path / "hub").write_text("a file, where a folder is wanted")
    with pytest.raises(ModelError, match="cannot be"):
        pull_model(max_attempts=1)


def test_a_stopped_download_ends(served):
    """SIGTERM during a download: nothing waits for it."""
    served.pause_s = 0.5
    pull = Pull(DEFAULT_ID, COMMIT)
    pull.on_bytes = lambda _: pull.cancel()
    with pytest.raises(ModelError, match="stopped"):
        pull.run()
    assert find_checkpoint(ModelSettings()) is None
