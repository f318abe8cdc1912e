"""What a checkpoint's image processor does, as pawtag's own PixelSpec."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pawtag.domain.errors import ModelError
from pawtag.domain.pictures import Floats, Patches, Pixels, PixelSpec

MAX_BYTE = 255


def parse_pixel_spec(processor: dict[str, Any]) -> PixelSpec:
    """The input that the processor makes. Raises ModelError for steps that pawtag does not know."""
    if processor.get("do_pad") or not processor.get("do_resize", True):
        step = "padding" if processor.get("do_pad") else "no resizing"
        raise ModelError(f"The model's image processor has a step that pawtag does not know: {step}.")
    crop = processor.get("crop_size") if processor.get("do_center_crop") else None
    mean, std = _normalisation(processor)
    return PixelSpec(
        resize=_resize(processor),
        crop=(crop["height"], crop["width"]) if crop else None,
        resample=int(processor.get("resample", 3)),
        mean=mean,
        std=std,
    )


def _resize(processor: dict[str, Any]) -> int | tuple[int, int] | Patches:
    if "max_num_patches" in processor:
        return Patches(processor["patch_size"], processor["max_num_patches"])
    size = processor["size"]
    return size.get("shortest_edge") or (size["height"], size["width"])


def _normalisation(processor: dict[str, Any]) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """The mean and deviation, for values from 0 to 1, that combine up to three steps of the processor.

    The processor scales bytes by `rescale_factor`, and subtracts 1 if `rescale_offset` is set. Then it normalises.
    With EfficientNet's `include_top` it divides by the deviation once more.
    """
    factor = MAX_BYTE * processor.get("rescale_factor", 1 / MAX_BYTE) if processor.get("do_rescale", True) else MAX_BYTE
    offset = 1.0 if processor.get("rescale_offset") else 0.0
    normalises = processor.get("do_normalize", True)
    means = processor["image_mean"] if normalises else [0.0] * 3
    stds = processor["image_std"] if normalises else [1.0] * 3
    again = processor["image_std"] if processor.get("include_top") else [1.0] * 3
    mean = [(value + offset) / factor for value in means]
    std = [first * second / factor for first, second in zip(stds, again, strict=True)]
    return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])


def normalise(pixels: Pixels, spec: PixelSpec) -> Floats:
    """The input (3, H, W) as the model was trained with it: values from 0 to 1, less the mean, by the deviation."""
    scale = 1 / (MAX_BYTE * np.array(spec.std, np.float32))
    shift = np.array(spec.mean, np.float32) / np.array(spec.std, np.float32)
    return np.ascontiguousarray((pixels * scale - shift).transpose(2, 0, 1))


def pack_patches(batch: Sequence[Floats], patches: Patches) -> dict[str, NDArray[Any]]:
    """NaFlex's input for normalised pictures (3, H, W) of any shapes.

    `pixel_values` (N, max_count, side_px * side_px * 3), `pixel_attention_mask` (N, max_count), `spatial_shapes` (N, 2).
    """
    values = np.zeros((len(batch), patches.max_count, patches.side_px**2 * 3), np.float32)
    mask = np.zeros((len(batch), patches.max_count), np.int64)
    shapes = np.zeros((len(batch), 2), np.int64)
    for number, pixels in enumerate(batch):
        rows, columns = pixels.shape[1] // patches.side_px, pixels.shape[2] // patches.side_px
        cells = pixels.reshape(3, rows, patches.side_px, columns, patches.side_px).transpose(1, 3, 2, 4, 0)
        count = rows * columns
        values[number, :count] = cells.reshape(count, -1)
        mask[number, :count] = 1
        shapes[number] = rows, columns
    return {"pixel_values": values, "pixel_attention_mask": mask, "spatial_shapes": shapes}
