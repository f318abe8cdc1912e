"""Pictures on their way to the model: decoded, and as its input. Frozen values."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
# The input of a model for one photo, (H, W, 3): resized and cropped; the engine normalises it.
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Image:
    """An upright picture: `rgb` (H, W, 3) uint8, maybe reduced; `width` and `height` of the original.

    `taken_at`: EXIF's DateTimeOriginal, as it stands there.
    """

    rgb: NDArray[np.uint8]
    width: int
    height: int
    format: str
    taken_at: str | None = None


@dataclass(frozen=True, slots=True)
class Patches:
    """The picture keeps its shape, in at most `max_count` squares of `side_px` pixels (SigLIP 2 NaFlex)."""

    side_px: int
    max_count: int


@dataclass(frozen=True, slots=True)
class PixelSpec:
    """The input of a model.

    `resize`: shorter side in pixels, (height, width) that the picture is squashed to, or patches; `crop`:
    (height, width) of the middle that is kept, None for all; `resample`: Pillow's number of the
    filter; `mean` and `std` apply to values between 0 and 1.
    """

    resize: int | tuple[int, int] | Patches
    crop: tuple[int, int] | None
    resample: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def shorter_side(self) -> int:
        """The shorter side of the resized picture. If it is squashed, the longer side, which is enough for both."""
        if isinstance(self.resize, Patches):
            return math.isqrt(self.resize.max_count) * self.resize.side_px
        return self.resize if isinstance(self.resize, int) else max(self.resize)
