"""The self test: before a model counts as ready, its answers to a picture and a prompt are compared with known ones."""

import json
from importlib.resources import files
from pathlib import Path

import numpy as np

from pawtag.domain.errors import ModelError
from pawtag.domain.pictures import Floats
from pawtag.domain.ports import Engine, TextEngine
from pawtag.files import write_atomically
from pawtag.images import ImageLimits, decode, preprocess
from pawtag.inference.checkpoint import SELF_TEST, Checkpoint

PICTURE = "self_test.png"
PROMPT = "a photo of a cat"
MIN_COSINE = 0.999  # a cosine: float32 on another processor agrees to 1e-5, half precision to 1e-4
MIN_ENGINE_COSINE = 0.98  # for an engine that more pictures have tested before; see acceptance


def run_self_test(engine: TextEngine, checkpoint: Checkpoint, cache: Path) -> None:
    """Compare the engine's answers with those that ship with the checkpoint, or with those of its first start.

    The answers of the first start are stored under the digest of the weights. So the test finds a later change of the
    tokenizer or of the preprocessing.
    Raises ModelError if the answers differ, are not finite, or are the same for different pictures.
    """
    found = compute_answers(engine)
    if not _compare_with_known(found, engine, checkpoint, cache, MIN_COSINE):
        _store(_kept_path(engine, cache), found)


def check_picture(engine: Engine, checkpoint: Checkpoint, cache: Path) -> None:
    """Compare the embedding of the picture alone, for an engine without a text tower. Raises ModelError."""
    _compare_with_known(_embed_picture(engine), engine, checkpoint, cache, MIN_ENGINE_COSINE)


def _compare_with_known(found: Floats, engine: Engine, checkpoint: Checkpoint, cache: Path, min_cosine: float) -> bool:
    """Compare the first rows of the known answers; whether there are any."""
    for path in (checkpoint.folder / SELF_TEST, _kept_path(engine, cache)):
        expected = _load(path)
        if expected is not None:
            _compare(found, expected[: len(found)], checkpoint, path, min_cosine)
            return True
    return False


def _kept_path(engine: Engine, cache: Path) -> Path:
    return cache / "self-tests" / f"{engine.weights_digest}.json"


def compute_answers(engine: TextEngine) -> Floats:
    """The embeddings (2, D) of the picture and of the prompt."""
    found = np.concatenate([_embed_picture(engine), engine.embed_text([PROMPT])])
    if not np.isfinite(found).all():
        raise ModelError("The model's answers are not finite; its weights are damaged.")
    return found


def _embed_picture(engine: Engine) -> Floats:
    """The embedding (1, D) of the picture."""
    data = (files("pawtag.inference") / PICTURE).read_bytes()
    image = decode(data, ImageLimits(len(data), 1_000_000), 256)
    pixels = preprocess(image, engine.spec)
    found, other = engine.embed([pixels]), engine.embed([255 - pixels[::-1]])
    if not np.isfinite(found).all() or not np.isfinite(other).all():
        raise ModelError("The model's answers are not finite; its weights are damaged.")
    if np.allclose(found, other, atol=1e-5):
        raise ModelError("The model gives the same answer to different pictures; its weights are damaged.")
    return found


def encode_answers(found: Floats) -> str:
    """The answers as JSON."""
    return json.dumps({"picture": PICTURE, "prompt": PROMPT, "embeddings": np.round(found, 6).tolist()})


def _compare(found: Floats, expected: Floats, checkpoint: Checkpoint, path: Path, min_cosine: float) -> None:
    agreement = (found * expected).sum(1) if found.shape == expected.shape else np.zeros(1)
    if agreement.min() < min_cosine:
        raise ModelError(
            f"The model in {checkpoint.folder} fails its self test (cosine "
            f"{agreement.min():.4f}): its files are damaged or do not belong together. If you changed them on purpose, "
            f"remove {path}."
        )


def _load(path: Path) -> Floats | None:
    try:
        found = np.array(json.loads(path.read_text("utf-8"))["embeddings"], np.float32)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found.ndim == 2 else None  # noqa: PLR2004 - a picture's and a prompt's


def _store(path: Path, found: Floats) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, encode_answers(found).encode())
    except OSError:
        return  # the next start has nothing to compare with
