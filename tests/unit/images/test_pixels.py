"""Pixels: resizing, cropping, normalising."""

import numpy as np
import pytest
from PIL import Image as Pillow

from pawtag.domain.pictures import Image, PixelSpec
from pawtag.images import cut_parts, preprocess
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


def test_the_parts_of_a_picture_are_its_quarters_and_overlap():
    """Each corner is in one of them, and the middle in all; the facts of the photo stay."""
    rgb = np.arange(100 * 60 * 3, dtype=np.uint32).reshape(60, 100, 3).astype(np.uint8)
    image = Image(rgb, 1000, 600, "JPEG")
    parts = cut_parts(image)
    assert [part.rgb.shape for part in parts] == [(33, 55, 3)] * 4
    assert (parts[0].rgb == rgb[:33, :55]).all()
    assert (parts[3].rgb == rgb[27:, 45:]).all()
    assert {(part.width, part.height) for part in parts} == {(1000, 600)}


def test_a_picture_of_one_pixel_has_parts():
    """Each of one pixel."""
    assert [part.rgb.shape for part in cut_parts(Image(np.zeros((1, 1, 3), np.uint8), 1, 1, "PNG"))] == [(1, 1, 3)] * 4
