"""Pixels: resizing, cropping, normalising."""

import numpy as np
import pytest
from PIL import Image as Pillow

from pawtag.domain.pictures import Image, PixelSpec
from pawtag.images import preprocess
from pawtag.inference.preprocessing import normalise
from support.pictures import decode_picture, plain

SPEC = PixelSpec(resize=256, crop=(224, 224), resample=3, mean=(0.48, 0.46, 0.41), std=(0.27, 0.26, 0.28))


@pytest.mark.parametrize("size", [(1, 1), (1, 30_000), (30_000, 1)])
def test_I10_extreme_shapes_take_bounded_memory(size):
    """A strip is cropped before it is enlarged."""
    pixels = preprocess(decode_picture(plain(size=size)), SPEC)
    assert pixels.shape == (224, 224, 3)
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize("size", [(640, 480), (300, 451), (256, 256), (100, 90), (1000, 300)])
def test_pixels_equal_those_of_the_transformers_processor(size):
    """Resizing, cropping and normalising agree with transformers' CLIP processor to rounding."""
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    rgb = np.random.default_rng(1).integers(0, 255, (size[1] // 10 + 1, size[0] // 10 + 1, 3), np.uint8)
    picture = Pillow.fromarray(rgb).resize(size)
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": 256},
        crop_size={"height": 224, "width": 224},
        image_mean=list(SPEC.mean),
        image_std=list(SPEC.std),
    )
    theirs = processor(picture, return_tensors="np")["pixel_values"][0]
    ours = normalise(preprocess(Image(np.asarray(picture), *size, "PNG"), SPEC), SPEC)
    assert np.abs(ours - theirs).max() < 1e-4
