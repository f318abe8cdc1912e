"""The self test: a model gives the stored embeddings."""

import json

import numpy as np
import pytest

from pawtag.domain.errors import ModelError
from pawtag.domain.records import ModelInfo
from pawtag.inference import self_test
from pawtag.inference.checkpoint import (
    Checkpoint,
)
from support.checkpoints import change_tensors, load_engine


def test_M03_not_a_number_in_the_weights_is_refused(folder, tmp_path):
    """The self test runs before ready."""

    def spoil(tensors):
        tensors["visual_projection.weight"] = tensors["visual_projection.weight"].copy()
        tensors["visual_projection.weight"][0, 0] = np.nan

    change_tensors(folder, spoil)
    with pytest.raises(ModelError, match="not finite"):
        self_test.run_self_test(load_engine(folder), Checkpoint(folder, ModelInfo(id="tiny")), tmp_path)


def test_M03_an_embedding_that_differs_from_the_stored_one_is_refused(folder, tmp_path):
    """The first start keeps the answer, the next compares it."""
    checkpoint, model = Checkpoint(folder, ModelInfo(id="tiny")), load_engine(folder)
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
