"""The memory that decoding takes: an estimate from the header, and a limit for all decodes together."""

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image as pillow

from pawtag.domain.errors import PermanentError

MB = 1_000_000
LARGE_PIXELS = 12_000_000
# Pillow keeps three samples in four bytes. ImagingMode in its libImaging/Storage.c.
BYTES_PER_PIXEL = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
DEFAULT_BYTES_PER_PIXEL = 4
# What a decoder holds beside Pillow's picture, for each pixel: planes, canvases and a copy of them.
DECODER_BYTES_PER_PIXEL = {"WEBP": 12, "HEIF": 8, "AVIF": 8, "TIFF": 4, "GIF": 1}
# For a picture that is not reduced: its result in mode RGB, and two more copies while Pillow makes an array of it.
RESULT_BYTES_PER_PIXEL, COPY_BYTES_PER_PIXEL = 4, 10
COEFFICIENT_BYTES = 2  # libjpeg's JCOEF
BAND_BYTES = 16_000_000  # what one band of a conversion takes; see colour.BAND_PIXELS

# mallopt(3), M_MMAP_THRESHOLD.
MMAP_THRESHOLD, MAPPED_BYTES = -3, 1024 * 1024


def return_freed_blocks() -> None:
    """Make the C library give large blocks back to the system as soon as they are freed. Only glibc needs it.

    Otherwise glibc raises its threshold to 32 MB with the first picture, and each decoding thread keeps the memory of
    its largest picture: 1.3 GB after many large pictures (measured with `scripts/endurance.py hostile`).
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(MMAP_THRESHOLD, MAPPED_BYTES)


@dataclass(frozen=True, slots=True)
class DecodeCost:
    """What one decode takes at its peak."""

    size_bytes: int
    pixels: int

    @property
    def is_large(self) -> bool:
        """Whether no other large picture may be decoded beside it."""
        return self.pixels > LARGE_PIXELS


def estimate_cost(
    image: pillow.Image, original: tuple[int, int], *, is_progressive: bool, is_reduced: bool
) -> DecodeCost:
    """The cost of `image.load()` and of what follows; `image` is drafted, `original` is its full size.

    All coefficients of a progressive JPEG are kept until the last scan. A picture that is not reduced is in memory
    together with its result.
    """
    pixels = image.width * image.height
    each = BYTES_PER_PIXEL.get(image.mode, DEFAULT_BYTES_PER_PIXEL) + DECODER_BYTES_PER_PIXEL.get(image.format or "", 0)
    if not is_reduced:
        each = max(each + RESULT_BYTES_PER_PIXEL, COPY_BYTES_PER_PIXEL)
    total = BAND_BYTES + pixels * each
    if is_progressive:
        pixels = original[0] * original[1]
        total += int(pixels * COEFFICIENT_BYTES * _count_samples(image))
    return DecodeCost(total, pixels)


def estimate_layout_cost(sample_bytes: int, pixels: int) -> DecodeCost:
    """The cost of a TIFF whose samples are read one by one: as they are, in the machine's order, and as bytes."""
    return DecodeCost(BAND_BYTES + 3 * sample_bytes + 2 * pixels * DEFAULT_BYTES_PER_PIXEL, pixels)


def _count_samples(image: pillow.Image) -> float:
    """Samples of a JPEG for each of its pixels: 3 without subsampling, 1.5 with the usual 4:2:0."""
    layers = getattr(image, "layer", [])  # (id, horizontal, vertical, table) for each component
    if not layers:
        return len(image.getbands())
    widest, highest = max(layer[1] for layer in layers), max(layer[2] for layer in layers)
    return float(sum(layer[1] * layer[2] for layer in layers) / (widest * highest))


class DecodeLimiter:
    """Grants bytes up to a total, and one large picture at a time. Called from decoding threads."""

    def __init__(self, total_bytes: int) -> None:
        """A limiter of `total_bytes`, all of them free."""
        self._total_bytes = total_bytes
        self._taken_bytes = 0
        self._waiting_first = 0
        self._has_large = False
        self._freed = threading.Condition()

    @contextmanager
    def acquire(self, cost: DecodeCost, *, first: bool = False) -> Iterator[None]:
        """Wait for the bytes, and hold them while the context lasts; those who are `first` overtake the others.

        Raises PermanentError for a cost above the total.
        """
        if cost.size_bytes > self._total_bytes:
            raise PermanentError(
                "too-many-pixels",
                f"The picture takes {cost.size_bytes // MB} MB of memory while it is decoded; limits.memory_bytes is"
                f" {self._total_bytes // MB} MB.",
            )
        with self._freed:
            self._waiting_first += first
            self._freed.wait_for(lambda: self._has_room(cost) and (first or not self._waiting_first))
            self._waiting_first -= first
            self._taken_bytes += cost.size_bytes
            self._has_large |= cost.is_large
            self._freed.notify_all()  # those who let a first one pass
        try:
            yield
        finally:
            with self._freed:
                self._taken_bytes -= cost.size_bytes
                self._has_large &= not cost.is_large
                self._freed.notify_all()

    def _has_room(self, cost: DecodeCost) -> bool:
        fits = self._taken_bytes + cost.size_bytes <= self._total_bytes
        return fits and not (cost.is_large and self._has_large)
