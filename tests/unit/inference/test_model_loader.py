"""The model loader: the wanted model, its fallback, or an error."""

import pytest

from pawtag.config import Settings
from pawtag.domain.errors import ModelError
from pawtag.inference.model_loader import load_model


def test_without_a_fallback_an_absent_model_is_an_error(monkeypatch, tmp_path, labels):
    """Named, with what to do about it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="pawtag model pull"):
        load_model(Settings(model={"fallback": "none"}), labels)
