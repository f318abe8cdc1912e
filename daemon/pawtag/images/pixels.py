"""A picture to a model's input, as the model's own processor does it."""

import math
from dataclasses import replace

import numpy as np
from PIL import Image as pillow

from pawtag.domain.pictures import Image, Patches, Pixels, PixelSpec

MAX_ASPECT_RATIO = 4
PART_SHARE = 0.55  # of each side: the parts overlap, so that an animal on the border is complete in one part
SCALE_STEP, MAX_SCALE = 1e-5, 100.0


def cut_parts(image: Image) -> list[Image]:
    """The four quarters, which overlap."""
    height, width = image.rgb.shape[:2]
    rows, columns = (max(1, round(side * PART_SHARE)) for side in (height, width))
    starts = [(top, left) for top in (0, height - rows) for left in (0, width - columns)]
    return [replace(image, rgb=image.rgb[top : top + rows, left : left + columns]) for top, left in starts]


def preprocess(image: Image, spec: PixelSpec) -> Pixels:
    """The input (H, W, 3) for `spec`: resized, and cropped to the middle."""
    picture = _trim_strip(pillow.fromarray(image.rgb), spec)
    picture = picture.resize(_compute_size(picture.size, spec), pillow.Resampling(spec.resample))
    if spec.crop:
        picture = _crop_centre(picture, spec.crop)
    return np.asarray(picture)


def _trim_strip(picture: pillow.Image, spec: PixelSpec) -> pillow.Image:
    """Cut a strip to its middle, with more than the crop keeps: 1 x 30,000 must not grow to 256 x 7,680,000."""
    shorter, longer = sorted(picture.size)
    if spec.crop is None or longer <= MAX_ASPECT_RATIO * shorter:
        return picture
    return _crop_centre(
        picture, (min(picture.height, MAX_ASPECT_RATIO * shorter), min(picture.width, MAX_ASPECT_RATIO * shorter))
    )


def _compute_size(size: tuple[int, int], spec: PixelSpec) -> tuple[int, int]:
    """(width, height) after resizing; the longer side is cut down to a whole pixel, as transformers does."""
    if isinstance(spec.resize, Patches):
        return _fit_patches(size, spec.resize)
    if not isinstance(spec.resize, int):
        return spec.resize[1], spec.resize[0]
    width, height = size
    if width <= height:
        return spec.resize, int(spec.resize * height / width)
    return int(spec.resize * width / height), spec.resize


def _fit_patches(size: tuple[int, int], patches: Patches) -> tuple[int, int]:
    """The largest (width, height) of the picture's shape, rounded up to whole patches, of no more than `max_count`.

    It bisects the scale between the same bounds as transformers, so that the sizes are the same.
    """

    def scaled(scale: float) -> tuple[int, int]:
        columns, rows = (max(1, math.ceil(length * scale / patches.side_px)) for length in size)
        return columns, rows

    low, high = SCALE_STEP / 10, MAX_SCALE
    while high - low >= SCALE_STEP:
        middle = (low + high) / 2
        columns, rows = scaled(middle)
        low, high = (middle, high) if columns * rows <= patches.max_count else (low, middle)
    columns, rows = scaled(low)
    return columns * patches.side_px, rows * patches.side_px


def _crop_centre(picture: pillow.Image, size: tuple[int, int]) -> pillow.Image:
    """The middle (height, width); beyond the picture's edge it is black, as in transformers."""
    height, width = size
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))
