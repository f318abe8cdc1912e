"""The OpenVINO engine: every family that converts has the embeddings of torch, and keeps to the port."""

import os
import subprocess
import sys

import numpy as np
import pytest

from pawtag.domain.errors import ModelError
from pawtag.domain.labels import Labels
from pawtag.domain.records import ModelInfo
from pawtag.inference.acceptance import MIN_COSINE, check_agreement, compute_centred_cosines, make_test_pictures
from pawtag.inference.engines import openvino
from pawtag.inference.engines.openvino import OpenVINOEngine
from pawtag.inference.preparation import Preparation, PreparationRequest, find_prepared
from support.checkpoints import load_engine
from support.families import FAMILIES, checkpoint_of

LABELS = Labels.model_validate(
    {"templates": ["a {}"], "groups": {"species": {"labels": {"cat": ["cat"], "none": ["sea"]}}}}
)
# It loops over the shapes of its inputs in Python, which no converter can follow.
NOT_CONVERTED = {"siglip2"}


def request_for(folder, cache, **changes):
    """A request to prepare the checkpoint."""
    given = {"model": ModelInfo(id="tiny"), "labels": LABELS, "precision": "auto", "threads": 1}
    return PreparationRequest(folder=folder, cache=cache, **given | changes)


@pytest.fixture(scope="module", params=list(FAMILIES))
def prepared(request, tmp_path_factory):
    """A family's name, its checkpoint, and what was prepared of it."""
    folder = checkpoint_of(request.param, tmp_path_factory.mktemp(request.param))
    wanted = request_for(folder, tmp_path_factory.mktemp("cache"))
    Preparation(wanted, lambda _: None).run()
    return request.param, folder, find_prepared(wanted)


def open_engine(found):
    return OpenVINOEngine(found.facts, found.path, found.compiled.precision, 1)


def test_every_family_converts_or_says_why_not(prepared):
    """What does not convert stays on torch, with a reason."""
    name, _, found = prepared
    assert bool(found.compiled.refusal) == (name in NOT_CONVERTED), found.compiled


def test_embeddings_are_those_of_torch(prepared):
    """Centred cosine 0.999 or better, in bfloat16 what a start accepts, alone and in batches of any size."""
    name, folder, found = prepared
    if name in NOT_CONVERTED:
        pytest.skip("this family stays on torch")
    engine, pictures = open_engine(found), make_test_pictures(found.facts.spec)
    expected = load_engine(folder).embed(pictures)
    least = 0.999 if found.compiled.precision == "float32" else MIN_COSINE
    for size in (1, 2, 3, 8):
        parts = [pictures[first : first + size] for first in range(0, len(pictures), size)]
        ours = np.concatenate([engine.embed(part) for part in parts])
        assert compute_centred_cosines(ours, expected).min() > least
        assert np.allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)


def test_the_file_may_be_released_and_inputs_of_new_sizes_still_work(prepared):
    """Its memory comes back from the disk where it is needed again."""
    name, _, found = prepared
    if name in NOT_CONVERTED:
        pytest.skip("this family stays on torch")
    engine, pictures = open_engine(found), make_test_pictures(found.facts.spec)
    before = engine.embed(pictures[:1])
    engine.release_file()
    assert np.allclose(engine.embed(pictures[:3])[:1], before, atol=1e-5)


def test_other_embeddings_are_not_accepted(prepared):
    """A conversion that differs from torch is an error that names both cosines."""
    name, _, found = prepared
    if name in NOT_CONVERTED:
        pytest.skip("this family stays on torch")
    engine = open_engine(found)
    references = engine.embed(make_test_pictures(engine.spec))
    check_agreement(engine, references)
    with pytest.raises(ModelError, match="centred cosine"):
        check_agreement(engine, np.roll(references, 1, axis=0))


def test_auto_wants_bfloat16_where_the_processor_has_it(monkeypatch):
    """And float32 after it, everywhere."""
    monkeypatch.setattr(openvino, "_list_capabilities", lambda: ["BF16", "FP32"])
    assert openvino.list_precisions("auto") == ["bfloat16", "float32"]
    monkeypatch.setattr(openvino, "_list_capabilities", lambda: ["FP32"])
    assert openvino.list_precisions("auto") == ["float32"]
    assert openvino.list_precisions("bfloat16") == ["bfloat16", "float32"]


NO_CONNECTION = """
import socket, sys
def refuse(*arguments, **_):
    sys.exit(f"a connection was tried: {arguments}")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from pathlib import Path
from pawtag.inference.preparation import Preparation, PreparationRequest
Preparation(PreparationRequest.model_validate_json(sys.argv[1]), print).run()
import openvino, threading
assert "openvino.tools.ovc" in sys.modules, "nothing was converted"
assert not [name for name in sys.modules if name.startswith("openvino_telemetry") and sys.modules[name]]
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join(5)
"""


def test_M10_no_conversion_reports_to_an_analytics_service(whole, tmp_path):
    """Not even without CI=true, which would hide it: no connection is tried."""
    wanted = request_for(whole, tmp_path / "cache")
    kept = {name: value for name, value in os.environ.items() if name not in {"CI", "TF_BUILD", "JENKINS_URL"}}
    command = [sys.executable, "-c", NO_CONNECTION, wanted.model_dump_json(by_alias=True)]
    done = subprocess.run(command, env=kept | {"HOME": str(tmp_path)}, capture_output=True, text=True, timeout=55)
    assert done.returncode == 0, done.stderr[-2000:]
    assert not (tmp_path / "intel").exists()
    assert not (tmp_path / ".intel").exists()
