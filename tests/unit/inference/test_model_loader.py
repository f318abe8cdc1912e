"""The model loader: the wanted model, its fallback, or an error; thresholds and fingerprint."""

import os
import shutil

import pytest

from pawtag.config import Settings
from pawtag.domain.errors import ModelError
from pawtag.inference.checkpoint import EMBEDDED_FOLDER
from pawtag.inference.model_loader import PARTS_THRESHOLD, load_model


def test_without_a_fallback_an_absent_model_is_an_error(monkeypatch, tmp_path, labels):
    """Named, with what to do about it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="pawtag model pull"):
        load_model(Settings(model={"fallback": "none"}), labels)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize(
    ("model", "own", "expected"),
    [
        ({}, {}, (0.5, 0.25, 1.0, 0.5, True)),
        ({"threshold": 0.7}, {}, (0.7, 0.25, 1.0, 0.5, True)),
        ({"threshold": 0.2}, {}, (0.2, 0.2, 1.0, 0.5, True)),
        ({"temperature": 2.0}, {}, (0.5, 0.25, 2.0, 0.5, True)),
        ({"threshold": 0.7}, {"tag_threshold": 0.6}, (0.6, 0.25, 1.0, 0.5, True)),
        ({}, {"presence_threshold": 0.9}, (0.5, 0.25, 1.0, 0.9, True)),
    ],
)
def test_each_threshold_holds_by_itself(cache, labels, model, own, expected):
    """One that is set replaces the measured one, and no other."""
    settings = Settings(model={"id": "embedded", "cache_dir": cache} | model, labels=own)
    loaded = load_model(settings, labels)
    found = loaded.thresholds
    assert (found.tag, found.secondary, found.temperature, found.presence, loaded.calibrated) == expected


def test_a_threshold_without_effect_is_named(cache, labels, caplog):
    """The labels' own holds for any model."""
    settings = Settings(model={"id": "embedded", "cache_dir": cache, "threshold": 0.7}, labels={"tag_threshold": 0.6})
    load_model(settings, labels)
    assert "model.threshold has no effect" in caplog.text


def test_parts_are_looked_at_where_the_settings_ask_for_them(cache, labels):
    """Then every photo is tagged again; without them fingerprints stay as they were."""
    whole, parts = (
        load_model(Settings(model={"id": "embedded", "cache_dir": cache}, labels={"views": views}), labels)
        for views in ("whole", "parts")
    )
    assert (whole.thresholds.parts, parts.thresholds.parts) == (None, PARTS_THRESHOLD)
    assert whole.identity.fingerprint != parts.identity.fingerprint


def test_the_fingerprint_does_not_depend_on_how_a_folder_is_spelled(cache, labels, tmp_path, monkeypatch):
    """Nor on where it is: a moved model tags nothing again."""
    shutil.copytree(EMBEDDED_FOLDER, tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    spellings = ["./model", str(tmp_path / "model"), f"{tmp_path}/./model/"]
    loaded = [load_model(Settings(model={"id": each, "cache_dir": cache}), labels) for each in spellings]
    os.rename(tmp_path / "model", tmp_path / "moved")
    loaded.append(load_model(Settings(model={"id": "./moved", "cache_dir": cache}), labels))
    assert len({each.identity.fingerprint for each in loaded}) == 1
    changed = load_model(Settings(model={"id": "./moved", "cache_dir": cache, "threshold": 0.9}), labels)
    assert changed.identity.fingerprint != loaded[0].identity.fingerprint
