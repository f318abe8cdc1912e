"""The model loader: a checkpoint is found, and loaded or refused; the self test."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pawtag.config import ModelSettings, Settings
from pawtag.domain.errors import ConfigError, ModelError
from pawtag.domain.records import ModelInfo
from pawtag.inference import self_test
from pawtag.inference.checkpoint import (
    DEFAULT_ID,
    EMBEDDED_FOLDER,
    PINNED_REVISIONS,
    Checkpoint,
    find_checkpoint,
    find_fallback_checkpoint,
)
from pawtag.inference.engines.torch import TorchEngine
from pawtag.inference.model_loader import load_model
from support.checkpoints import tiny_clip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A small CLIP checkpoint."""
    return tiny_clip(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def folder(whole, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(whole, tmp_path / "model")


def loaded(folder) -> TorchEngine:
    return TorchEngine(Checkpoint(folder, ModelInfo(id="tiny")), "cpu", 1)


def with_tensors(folder, change):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, {"format": "pt"})


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


def test_without_a_fallback_an_absent_model_is_an_error(monkeypatch, tmp_path, labels):
    """Named, with what to do about it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="pawtag model pull"):
        load_model(Settings(model={"fallback": "none"}), labels)


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


def test_M02_a_missing_tensor_is_refused(folder):
    """transformers would make one up, and only warn."""
    with_tensors(folder, lambda tensors: tensors.pop("visual_projection.weight"))
    with pytest.raises(ModelError, match=r"lacks the tensors visual_projection\.weight"):
        loaded(folder)


def test_M02_a_tensor_of_a_wrong_shape_is_refused(folder):
    """The names are in the message."""
    with_tensors(folder, lambda tensors: tensors.update({"visual_projection.weight": np.zeros((3, 3), np.float32)}))
    with pytest.raises(ModelError, match=r"misshapen tensors visual_projection\.weight"):
        loaded(folder)


def test_M04_a_truncated_weights_file_is_refused(folder):
    """A download that was cut off is no model."""
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match="cannot be loaded"):
        loaded(folder)


def test_a_family_that_pawtag_does_not_know_is_refused(folder):
    """Its way from similarity to score would be a guess."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    with pytest.raises(ModelError, match="'bert'"):
        loaded(folder)


def test_M09_a_prompt_that_would_be_truncated_is_an_error(whole):
    """A long prompt is named with its length and the model's."""
    with pytest.raises(ConfigError, match="this model reads 32"):
        loaded(whole).embed_text(["a photo of " + "something " * 20])


def test_a_full_size_checkpoint_loads_and_embeds(tmp_path):
    """A CLIP ViT-B/32 folder of random weights, 150 million parameters, by the same path."""
    model = TorchEngine(find_checkpoint(ModelSettings(id=str(tiny_clip(tmp_path, full_size=True)))), "cpu", 2)
    assert model.spec.crop == (224, 224)
    pixels = np.random.default_rng(1).random((3, 224, 224), np.float32)
    assert model.embed([pixels]).shape == model.embed_text(["a photo of a cat"]).shape == (1, 512)


def test_logits_are_those_of_the_models_own_forward_pass(whole):
    """Cosine times scale is transformers' logits_per_image."""
    import torch

    model = loaded(whole)
    pixels = np.random.default_rng(3).random((2, 3, 32, 32), np.float32)
    texts = ["a cat", "a dog of my"]
    ours = model.scale * model.embed(list(pixels)) @ model.embed_text(texts).T
    tokens = model._tokenizer(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        theirs = model._model(**tokens, pixel_values=torch.from_numpy(pixels)).logits_per_image.numpy()
    assert np.abs(ours - theirs).max() < 1e-4


def test_M03_not_a_number_in_the_weights_is_refused(folder, tmp_path):
    """The self test runs before ready."""

    def spoil(tensors):
        tensors["visual_projection.weight"] = tensors["visual_projection.weight"].copy()
        tensors["visual_projection.weight"][0, 0] = np.nan

    with_tensors(folder, spoil)
    with pytest.raises(ModelError, match="not finite"):
        self_test.run_self_test(loaded(folder), Checkpoint(folder, ModelInfo(id="tiny")), tmp_path)


def test_M03_an_embedding_that_differs_from_the_stored_one_is_refused(folder, tmp_path):
    """The first start keeps the answer, the next compares it."""
    checkpoint, model = Checkpoint(folder, ModelInfo(id="tiny")), loaded(folder)
    self_test.run_self_test(model, checkpoint, tmp_path)
    self_test.run_self_test(model, checkpoint, tmp_path)
    kept = next((tmp_path / "self-tests").iterdir())
    wrong = json.loads(kept.read_text())
    wrong["embeddings"][0].reverse()
    kept.write_text(json.dumps(wrong))
    with pytest.raises(ModelError, match="fails its self test"):
        self_test.run_self_test(model, checkpoint, tmp_path)


def test_the_embedded_model_passes_its_self_test(embedded, embedded_checkpoint, tmp_path):
    """The answer that ships is compared, and nothing is kept."""
    self_test.run_self_test(embedded, embedded_checkpoint, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert (embedded_checkpoint.folder / "self_test.json").is_file()
