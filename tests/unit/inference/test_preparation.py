"""The preparation of a model and its cache: made once, in another process, whole or not at all, and made again."""

import logging
import os
import resource
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from pawtag.config import Settings
from pawtag.domain.errors import ConfigError, ModelError
from pawtag.domain.labels import Labels, Thresholds
from pawtag.domain.records import ModelInfo
from pawtag.inference import engine_loader, model_cache, optimization, preparation
from pawtag.inference.checkpoint import Checkpoint
from pawtag.inference.engines import openvino
from pawtag.inference.preparation import PreparationRequest, find_prepared
from pawtag.inference.preparation_process import prepare_in_child
from support.checkpoints import change_tensors

LABELS = Labels.model_validate(
    {"templates": ["a {}"], "groups": {"species": {"labels": {"cat": ["cat"], "none": ["sea"]}}}}
)


def request_for(folder, cache, **changes):
    given = {"model": ModelInfo(id="tiny"), "labels": LABELS, "precision": "auto", "threads": 1}
    return PreparationRequest(folder=folder, cache=cache, **given | changes)


def prepare(request):
    """The steps that a child process names."""
    steps = []
    prepare_in_child(request, steps.append)
    return steps


@pytest.fixture(scope="module")
def filled(whole, tmp_path_factory):
    """A cache that holds the small checkpoint."""
    cache = tmp_path_factory.mktemp("filled")
    prepare(request_for(whole, cache))
    return cache


@pytest.fixture
def cache(filled, tmp_path):
    """A copy of it that a test may damage."""
    return shutil.copytree(filled, tmp_path / "cache")


def load(folder, cache, **settings):
    """The engine and the vocabulary, as a start loads them, and the steps that it names."""
    steps = []
    wanted = Settings(model={"cache_dir": cache, **settings}, limits={"threads": 1})
    found = engine_loader.load_engine(wanted, LABELS, Checkpoint(folder, ModelInfo(id="tiny")), steps.append)
    return *found, steps


def test_a_first_start_says_what_it_is_doing(whole, tmp_path):
    """Loading, embedding, converting, compiling: in this order, and all of it once."""
    steps = prepare(request_for(whole, tmp_path))
    assert [word for step in steps for word in ("loaded", "embedded", "converted", "compiled") if word in step] == [
        "loaded",
        "embedded",
        "converted",
        "compiled",
    ]
    assert prepare(request_for(whole, tmp_path)) == []


def test_a_warm_start_imports_neither_torch_nor_transformers(whole, cache):
    """What it needs is in the cache."""
    code = f"""
import sys
from pathlib import Path
from pawtag.config import Settings
from pawtag.domain.labels import Labels, Thresholds
from pawtag.domain.records import ModelInfo
from pawtag.inference.checkpoint import Checkpoint
from pawtag.inference.engine_loader import load_engine
settings = Settings(model={{"cache_dir": {str(cache)!r}}}, limits={{"threads": 1}})
labels = Labels.model_validate({LABELS.model_dump()!r})
engine, _ = load_engine(settings, labels, Checkpoint(Path({str(whole)!r}), ModelInfo(id="tiny")), sys.exit)
print(engine.description, sorted({{"torch", "transformers"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert done.stdout.startswith("openvino"), done.stderr
    assert done.stdout.endswith("[]\n")


def test_the_embedded_model_is_prepared_without_torch(tmp_path, embedded_checkpoint, labels):
    """Its converted form and its labels' vectors ship: a first start only compiles."""
    steps = prepare(request_for(embedded_checkpoint.folder, tmp_path, labels=labels))
    assert steps == ["the model is being compiled for this processor"]


@pytest.mark.parametrize(
    ("part", "made_again"),
    [("compiled/*.blob", ["compiled"]), ("text/*.bin", ["loaded", "embedded"]), ("checkpoints/*.json", ["loaded"])],
)
def test_M03_a_damaged_part_is_made_again(whole, cache, part, made_again):
    """And no other: the start works as if it were absent."""
    path = next(cache.glob(part))
    path.write_bytes(path.read_bytes()[:-9] + b"xxxxxxxxx")
    engine, _, steps = load(whole, cache)
    assert engine.description.startswith("openvino")
    assert [word for step in steps for word in ("loaded", "embedded", "converted", "compiled") if word in step] == (
        made_again
    )


def test_M03_a_damaged_conversion_is_made_again(whole, cache, caplog):
    """It is noticed when it is needed."""
    path = next(cache.glob("converted/*/vision.bin"))
    path.write_bytes(path.read_bytes()[:-9] + b"xxxxxxxxx")
    shutil.rmtree(cache / "compiled")
    engine, _, steps = load(whole, cache)
    assert engine.description.startswith("openvino")
    assert any("converted" in step for step in steps)


def test_a_cache_of_another_version_of_openvino_is_not_used(whole, cache, monkeypatch):
    """Nor removed at once: the other version may be another environment on this machine."""
    monkeypatch.setattr(openvino, "VERSION", "2099.1")
    assert find_prepared(request_for(whole, cache)) is None
    assert len(list(cache.glob("compiled/*.blob"))) == 1


def test_a_changed_checkpoint_is_prepared_again(folder, cache):
    """Other weights under the same name have other embeddings."""
    before, _, _ = load(folder, cache)
    change_tensors(folder, lambda tensors: tensors["visual_projection.weight"].__imul__(-1))
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    after, _, steps = load(folder, cache)
    assert any("loaded" in step for step in steps)
    assert np.allclose(before.embed([pixels]), -after.embed([pixels]), atol=1e-3)


def test_a_touched_checkpoint_needs_no_conversion(folder, cache):
    """The same bytes with another time are read again, and no more."""
    load(folder, cache)
    os.utime(folder / "model.safetensors")
    _, _, steps = load(folder, cache)
    assert [step for step in steps if "loaded" not in step] == []


def test_two_processes_at_once_prepare_once(whole, tmp_path):
    """The second waits for the first, and finds everything."""
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda _: prepare(request_for(whole, tmp_path)), range(2))
    assert min(len(first), len(second)) == 0
    assert find_prepared(request_for(whole, tmp_path)).compiled.refusal is None


def test_P04_a_cache_that_cannot_be_written_is_named(whole, tmp_path, caplog):
    """The start works, with a temporary folder."""
    (tmp_path / "file").write_text("")
    engine, _, steps = load(whole, tmp_path / "file" / "cache")
    assert steps
    assert engine.description.startswith("openvino")
    assert "model.cache_dir" in caplog.text


def test_P04_a_filled_cache_may_be_read_only(whole, cache, monkeypatch):
    """As in an image of a container: nothing is written, nothing prepared."""
    monkeypatch.setattr(os, "utime", lambda *_: (_ for _ in ()).throw(OSError(30, "Read-only file system")))
    assert load(whole, cache)[2] == []


def test_without_space_for_the_cache_the_engine_is_torch(whole, tmp_path, caplog):
    """A file that cannot grow is an error of the child; the start works and says what to do."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        engine, _, _ = load(whole, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert engine.description.startswith("torch")
    assert "set model.cache_dir" in caplog.text
    assert not list(tmp_path.glob("c*/.new-*"))


def test_what_cannot_be_loaded_is_the_checkpoints_error(folder, tmp_path):
    """The child's ModelError is this process's."""
    change_tensors(folder, lambda tensors: tensors.pop("visual_projection.weight"))
    with pytest.raises(ModelError, match="lacks the tensors"):
        prepare(request_for(folder, tmp_path))


def test_a_prompt_that_is_too_long_is_the_labels_error(whole, tmp_path):
    """The child's ConfigError is this process's."""
    labels = LABELS.model_copy(update={"templates": ("x" * 200 + " {}",)})
    with pytest.raises(ConfigError, match="this model reads"):
        prepare(request_for(whole, tmp_path, labels=labels))


def test_a_child_that_is_killed_is_an_error(whole, tmp_path, monkeypatch):
    """It names how the process ended, and torch runs the model."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(preparation.PreparationError, match="ended with 1"):
        prepare(request_for(whole, tmp_path))
    engine, _, _ = load(whole, tmp_path)
    assert engine.description.startswith("torch")


def test_a_precision_that_does_not_compile_falls_to_the_next(whole, tmp_path, monkeypatch, caplog):
    """And says so at every start."""
    refused = openvino.compile_tower

    def compile_tower(path, precision, threads):
        if precision == "bfloat16":
            raise ModelError("softmax found no implementation")
        return refused(path, precision, threads)

    monkeypatch.setattr(openvino, "compile_tower", compile_tower)
    request = request_for(whole, tmp_path, precision="bfloat16")
    preparation.Preparation(request, lambda _: None).run()
    assert find_prepared(request).compiled.precision == "float32"
    with caplog.at_level(logging.WARNING):
        load(whole, tmp_path, precision="bfloat16")
    assert "softmax found no implementation" in caplog.text


def test_a_conversion_that_is_not_accepted_stays_on_torch(whole, tmp_path, monkeypatch, caplog):
    """One line says why, and no start tries it again."""

    def refuse(*_):
        raise ModelError("Its embeddings differ from torch's.")

    monkeypatch.setattr(preparation, "check_agreement", refuse)
    preparation.Preparation(request_for(whole, tmp_path), lambda _: None).run()
    engine, _, steps = load(whole, tmp_path)
    assert engine.description.startswith("torch")
    assert steps == []
    assert "stays on torch" in caplog.text


def test_a_compiled_model_that_does_not_open_is_compiled_again(whole, cache, monkeypatch, caplog):
    """Its digest is right, but this machine refuses it."""
    opened, opener = [], openvino.OpenVINOEngine.__init__

    def refuse_once(self, *arguments):
        opened.append(1)
        if len(opened) == 1:
            raise ModelError("The compiled model cannot be opened.")
        opener(self, *arguments)

    monkeypatch.setattr(openvino.OpenVINOEngine, "__init__", refuse_once)
    engine, _, steps = load(whole, cache)
    assert engine.description.startswith("openvino")
    assert steps == ["the model is being compiled for this processor"]
    assert "compiled again" in caplog.text


def test_a_precision_that_does_not_compile_now_is_tried_at_the_next_start(whole, tmp_path, monkeypatch):
    """Memory may have been short: no refusal is kept."""

    def fail(*_):
        raise ModelError("The model does not compile in float32: bad_alloc")

    with monkeypatch.context() as patched:
        patched.setattr(openvino, "compile_tower", fail)
        with pytest.raises(preparation.PreparationError, match="bad_alloc"):
            preparation.Preparation(request_for(whole, tmp_path), lambda _: None).run()
    assert prepare(request_for(whole, tmp_path)) == ["the model is being compiled for this processor"]


@pytest.mark.parametrize("is_accepted", [True, False])
def test_int8_serves_only_where_the_tags_stay_the_same(whole, cache, monkeypatch, is_accepted):
    """`model optimize` compares 600 held-out photos; `precision = "auto"` takes what passed, for these labels."""
    request = request_for(whole, cache)
    prepared = find_prepared(request)
    usual = prepared.compiled.precision  # bfloat16 or float32, as the processor has it
    random = np.random.default_rng(0)
    photos = [random.integers(0, 256, (32, 32, 3), np.uint8) for _ in range(700)]
    monkeypatch.setattr(optimization, "MIN_AGREEMENT", 0.0 if is_accepted else 1.1)
    found = optimization.Optimization(request, prepared.facts, prepared.vocabulary, Thresholds())
    outcome = found.run(photos, lambda *_: 1.0)
    assert (outcome.photos, outcome.is_accepted) == (600, is_accepted)
    assert find_prepared(request).compiled.precision == ("int8" if is_accepted else usual)
    assert load(whole, cache, precision="float32")[0].description.endswith("float32")
    other = request.model_copy(update={"thresholds": "another"})
    assert find_prepared(other).compiled.precision == usual


def test_too_few_photos_prove_nothing(whole, cache):
    """The number that is needed is named."""
    request = request_for(whole, cache)
    prepared = find_prepared(request)
    found = optimization.Optimization(request, prepared.facts, prepared.vocabulary, Thresholds())
    with pytest.raises(ConfigError, match="needs 700"):
        found.run([np.zeros((32, 32, 3), np.uint8)] * 699, lambda *_: 1.0)


def test_openvino_is_not_for_gpus(whole, tmp_path):
    """The setting is named."""
    with pytest.raises(ConfigError, match=r"model\.device"):
        load(whole, tmp_path, engine="openvino", device="cuda")


def test_torch_serves_where_the_settings_say_so(whole, tmp_path):
    """In this process, and nothing is converted."""
    engine, _, steps = load(whole, tmp_path, engine="torch")
    assert engine.description.startswith("torch")
    assert steps == []


def test_what_is_no_longer_used_goes(tmp_path):
    """Of each kind four stay, the last used ones, and none that was not used for a month."""
    cache = model_cache.ModelCache(tmp_path)
    for number in range(6):
        path = cache.write_compiled(f"k{number}", b"blob")
        cache.write_compiled_facts(f"k{number}", model_cache.CompiledTower("float32", "0"))
        age_s = 40 * 86_400 if number == 0 else 600 - number
        for each in (path, path.with_suffix(".json")):
            os.utime(each, (time.time() - age_s,) * 2)
    cache.remove_unused()
    assert sorted(path.stem for path in (tmp_path / "compiled").glob("*.blob")) == ["k2", "k3", "k4", "k5"]


def test_a_child_ends_with_its_parent(whole, tmp_path):
    """It does not go on converting for a daemon that was killed."""
    command = [sys.executable, "-m", "pawtag.inference.preparation_process"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdin.write(request_for(whole, tmp_path).model_dump_json(by_alias=True).encode() + b"\n")
    child.stdin.flush()
    assert b"step" in child.stdout.readline()
    child.stdin.close()
    assert child.wait(20) == 1
    child.stdout.close()


def test_the_shipped_conversion_is_that_of_the_shipped_checkpoint(embedded, embedded_checkpoint):
    """scripts/embedded/convert.py ran after the last change of the checkpoint."""
    facts = model_cache.ModelCache(Path("unused")).read_facts(embedded_checkpoint)
    assert facts == embedded.facts
