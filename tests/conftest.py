"""What many tests need: the real photos, a free sample photo, the model that ships."""

import logging
import os
from importlib.metadata import files
from pathlib import Path

import pytest

from pawtag.config import ModelSettings
from pawtag.config.labels_file import load_labels
from pawtag.domain.labels import Labels
from pawtag.inference.checkpoint import Checkpoint, find_checkpoint
from support.paths import PETS


@pytest.fixture(autouse=True)
def log_level():
    """Commands that run in this process set the level of the log; the next test finds it as it was."""
    logger = logging.getLogger("pawtag")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.fixture(scope="session")
def pets() -> Path:
    """The folder of real photos, which is not part of the project."""
    if not PETS.is_dir():
        pytest.skip(f"the real photos are not at {PETS} (set PAWTAG_PETS)")
    return PETS


@pytest.fixture(scope="session")
def chelsea() -> Path:
    """Chelsea the cat, a PNG of 451 x 300, CC0, from scikit-image's wheel."""
    return Path(next(path.locate() for path in files("scikit-image") or [] if path.name == "chelsea.png"))


@pytest.fixture(scope="session")
def labels() -> Labels:
    """The labels that ship."""
    return load_labels(None)


@pytest.fixture(scope="session")
def embedded_checkpoint() -> Checkpoint:
    """The checkpoint that ships."""
    return find_checkpoint(ModelSettings(id="embedded"))


@pytest.fixture(scope="session")
def embedded(embedded_checkpoint):
    """The model that ships, loaded once."""
    from pawtag.inference.engines.torch import TorchEngine

    return TorchEngine(embedded_checkpoint, "cpu", os.cpu_count() or 1)
