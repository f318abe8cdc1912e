"""Acceptance of a converted model: its embeddings of test pictures agree with those of torch."""

from importlib.resources import files

import numpy as np

from pawtag.domain.errors import ModelError
from pawtag.domain.pictures import Floats, Image, Pixels, PixelSpec
from pawtag.domain.ports import Engine
from pawtag.images import ImageLimits, decode, preprocess

PICTURE = "self_test.png"
TEST_PICTURES = 8
BATCH_SIZES = (1, 4)
# On 199 real photos, bfloat16 reaches 0.9992 in the mean and at least 0.991, and changes no tag.
MIN_MEAN_COSINE, MIN_COSINE = 0.999, 0.98


def make_test_pictures(spec: PixelSpec) -> list[Pixels]:
    """Different inputs (H, W, 3): parts of one photo, turned, with other colours. Always the same."""
    data = (files("pawtag.inference") / PICTURE).read_bytes()
    photo = decode(data, ImageLimits(len(data), 1_000_000), 256)
    random = np.random.default_rng(0)
    return [preprocess(_vary(photo, random), spec) for _ in range(TEST_PICTURES)]


def _vary(photo: Image, random: np.random.Generator) -> Image:
    height, width = (int(side * random.uniform(0.2, 0.9)) for side in photo.rgb.shape[:2])
    top, left = (
        int(random.integers(0, whole - part)) for whole, part in zip(photo.rgb.shape, (height, width), strict=False)
    )
    part = photo.rgb[top : top + height, left : left + width, random.permutation(3)]
    part = np.rot90(part, int(random.integers(0, 4)))
    return Image(np.ascontiguousarray(255 - part if random.random() < 1 / 3 else part), width, height, photo.format)


def check_agreement(engine: Engine, references: Floats) -> None:
    """Compare the engine's embeddings of the test pictures with torch's (N, D). Raises ModelError where they differ."""
    pictures = make_test_pictures(engine.spec)
    for size in BATCH_SIZES:
        parts = [pictures[first : first + size] for first in range(0, len(pictures), size)]
        cosines = compute_centred_cosines(np.concatenate([engine.embed(part) for part in parts]), references)
        if not (cosines.mean() >= MIN_MEAN_COSINE and cosines.min() >= MIN_COSINE):
            raise ModelError(
                f"Its embeddings differ from torch's (centred cosine {cosines.mean():.4f} in the mean, "
                f"{cosines.min():.4f} at the least, in batches of {size})."
            )


def compute_centred_cosines(found: Floats, expected: Floats) -> Floats:
    """The cosine (N,) of each pair of rows of (N, D), after the mean of the expected ones is taken from both.

    Embeddings of one model have much in common, which hides differences from the plain cosine.
    """
    centre = expected.mean(0)
    first, second = found - centre, expected - centre
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.asarray((first * second).sum(1) / lengths, np.float32)
