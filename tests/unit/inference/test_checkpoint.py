"""Checkpoints: where a model is found, and which folders are none."""

import shutil

import pytest

from pawtag.config import ModelSettings
from pawtag.domain.errors import ConfigError
from pawtag.domain.records import ModelInfo
from pawtag.inference.checkpoint import (
    DEFAULT_ID,
    EMBEDDED_FOLDER,
    PINNED_REVISIONS,
    find_checkpoint,
    find_fallback_checkpoint,
)


def test_a_folder_is_a_checkpoint(folder):
    """--model DIR takes any checkpoint folder."""
    assert find_checkpoint(ModelSettings(id=str(folder))).folder == folder


def test_M01_without_the_wanted_model_the_embedded_one_serves(monkeypatch, tmp_path):
    """And its name says so: it is a fallback, for the wanted one."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert find_checkpoint(ModelSettings()) is None
    assert find_fallback_checkpoint(ModelSettings()).folder == EMBEDDED_FOLDER
    assert find_fallback_checkpoint(ModelSettings()).model == ModelInfo(id="embedded", fallback=True, wanted=DEFAULT_ID)


def test_the_embedded_model_can_be_chosen_outright():
    """Then it is no fallback."""
    assert find_checkpoint(ModelSettings(id="embedded")).model == ModelInfo(id="embedded")


def test_M01_a_checkpoint_in_the_hub_cache_is_found_without_the_network(monkeypatch, tmp_path, folder):
    """At the pinned revision, without the network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--openai--clip-vit-base-patch32/snapshots" / PINNED_REVISIONS[DEFAULT_ID]
    shutil.copytree(folder, snapshot)
    found = find_checkpoint(ModelSettings())
    assert found.folder == snapshot
    assert found.model == ModelInfo(id=DEFAULT_ID, revision=PINNED_REVISIONS[DEFAULT_ID])


@pytest.mark.parametrize("wrong", ["./absent", "/absent/folder", "no/such/model/id", "with spaces in it"])
def test_a_wrong_model_id_is_named(wrong):
    """A path that is not there, an id that cannot be one."""
    with pytest.raises(ConfigError):
        find_checkpoint(ModelSettings(id=wrong))


def test_M05_a_folder_without_safetensors_is_refused(folder):
    """Pickled weights are not loaded."""
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="safetensors"):
        find_checkpoint(ModelSettings(id=str(folder)))
