"""The self test: before a model counts as ready, its answers to a picture and a prompt are compared."""

import json
from importlib.resources import files
from pathlib import Path

import numpy as np

from pawtag.domain.errors import ModelError
from pawtag.domain.ports import Engine
from pawtag.domain.records import Floats
from pawtag.files import write_atomically
from pawtag.images import ImageLimits, decode, preprocess
from pawtag.inference.checkpoint import SELF_TEST, Checkpoint

PICTURE = "self_test.png"
PROMPT = "a photo of a cat"
MIN_COSINE = 0.999  # a cosine: float32 on another processor agrees to 1e-5, half precision to 1e-4


def run_self_test(engine: Engine, checkpoint: Checkpoint, cache: Path) -> None:
    """Compare the engine's answers with those that ship with the checkpoint, or with those of its first start.

    The answers of the first start are stored by the weights: another tokenizer or preprocessing changes them.
    Raises ModelError if the answers differ, are not finite, or are the same for different pictures.
    """
    found = compute_answers(engine)
    shipped, kept = (
        checkpoint.folder / SELF_TEST,
        cache / "self-tests" / f"{engine.weights_digest}.json",
    )
    for path in (shipped, kept):
        expected = _load(path)
        if expected is not None:
            _compare(found, expected, checkpoint, path)
            return
    _store(kept, found)


def compute_answers(engine: Engine) -> Floats:
    """The embeddings (2, D) of the picture and of the prompt."""
    data = (files("pawtag.inference") / PICTURE).read_bytes()
    image = decode(data, ImageLimits(len(data), 1_000_000), 256)
    pixels = preprocess(image, engine.spec)
    pictures = engine.embed([pixels, np.ascontiguousarray(-pixels[:, ::-1])])
    found = np.concatenate([pictures[:1], engine.embed_text([PROMPT])])
    if not np.isfinite(found).all() or not np.isfinite(pictures).all():
        raise ModelError("The model's answers are not finite; its weights are damaged.")
    if np.allclose(pictures[0], pictures[1], atol=1e-5):
        raise ModelError("The model gives the same answer to different pictures; its weights are damaged.")
    return found


def encode_answers(found: Floats) -> str:
    """The answers as JSON."""
    return json.dumps({"picture": PICTURE, "prompt": PROMPT, "embeddings": np.round(found, 6).tolist()})


def _compare(found: Floats, expected: Floats, checkpoint: Checkpoint, path: Path) -> None:
    agreement = (found * expected).sum(1) if found.shape == expected.shape else np.zeros(1)
    if agreement.min() < MIN_COSINE:
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
