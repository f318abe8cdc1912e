"""The torch engine loads a checkpoint completely, or refuses it."""

import json

import numpy as np
import pytest

from pawtag.config import ModelSettings
from pawtag.domain.errors import ModelError
from pawtag.inference.checkpoint import (
    find_checkpoint,
)
from pawtag.inference.engines.torch import TorchEngine
from support.checkpoints import change_tensors, load_engine, tiny_clip


def test_M02_a_tensor_of_a_wrong_shape_is_refused(folder):
    """The names are in the message."""
    change_tensors(folder, lambda tensors: tensors.update({"visual_projection.weight": np.zeros((3, 3), np.float32)}))
    with pytest.raises(ModelError, match=r"misshapen tensors visual_projection\.weight"):
        load_engine(folder)


def test_M04_a_truncated_weights_file_is_refused(folder):
    """A download that was cut off is no model."""
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_engine(folder)


def test_a_family_that_pawtag_does_not_know_is_refused(folder):
    """Its way from similarity to score would be a guess."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    with pytest.raises(ModelError, match="'bert'"):
        load_engine(folder)


def test_a_full_size_checkpoint_loads_and_embeds(tmp_path):
    """A CLIP ViT-B/32 folder of random weights, 150 million parameters, by the same path."""
    model = TorchEngine(find_checkpoint(ModelSettings(id=str(tiny_clip(tmp_path, full_size=True)))), "cpu", 2)
    assert model.spec.crop == (224, 224)
    pixels = np.random.default_rng(1).integers(0, 256, (224, 224, 3), np.uint8)
    assert model.embed([pixels]).shape == model.embed_text(["a photo of a cat"]).shape == (1, 512)
