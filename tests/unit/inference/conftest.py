"""Fixtures of the inference tests: a small CLIP checkpoint."""

import shutil

import pytest

from support.checkpoints import tiny_clip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A small CLIP checkpoint."""
    return tiny_clip(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def folder(whole, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(whole, tmp_path / "model")
