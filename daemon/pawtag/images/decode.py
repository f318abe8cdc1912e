"""Bytes to an upright, bounded RGB picture; whatever a decoder raises becomes one clear error."""

import importlib
import io
import math
import struct
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import pi_heif
from PIL import Image as pillow
from PIL import UnidentifiedImageError

from pawtag.domain.errors import PermanentError
from pawtag.domain.pictures import Image
from pawtag.images.colour import reduce_to_rgb
from pawtag.images.memory import DecodeCost, estimate_cost
from pawtag.images.signatures import (
    MAX_TIFF_TAGS,
    STRIP_OFFSETS,
    detect_unsupported_type,
    is_broken_fax,
    is_raw,
    is_truncated,
)

# Nothing else is offered to the opener: some of Pillow's formats start other programs.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "HEIF", "AVIF")  # MPO comes with JPEG
READABLE = "JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC, AVIF"
MAX_STRIPS = 100_000
MAX_TILE_PIXELS = 16_000_000
MAX_SAMPLE_BYTES = 400_000_000
ORIENTATION_TAG = 0x0112
# EXIF 2.32, tag 0x0112: what brings the picture upright.
TRANSPOSES = {
    2: pillow.Transpose.FLIP_LEFT_RIGHT,
    3: pillow.Transpose.ROTATE_180,
    4: pillow.Transpose.FLIP_TOP_BOTTOM,
    5: pillow.Transpose.TRANSPOSE,
    6: pillow.Transpose.ROTATE_270,
    7: pillow.Transpose.TRANSVERSE,
    8: pillow.Transpose.ROTATE_90,
}
TILE_OFFSETS, TILE_WIDTH, TILE_LENGTH = 324, 322, 323

pi_heif.register_heif_opener(thumbnails=False)
pillow.preinit()
for plugin in ("Avif", "Mpo", "Tiff", "WebP"):  # and no others, which take longer to import than these
    importlib.import_module(f"PIL.{plugin}ImagePlugin")
# What Pillow finds odd about a file (broken EXIF, say) does not keep the file from being tagged.
warnings.filterwarnings("ignore", module=r"PIL\.")
# The limits below are the user's own, and hold before any pixel is decoded.
pillow.MAX_IMAGE_PIXELS = None


Reserve = Callable[[DecodeCost], AbstractContextManager[None]]


def reserve_nothing(_: DecodeCost) -> AbstractContextManager[None]:
    """For callers that decode one picture at a time."""
    return nullcontext()


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """The largest file in bytes, and the largest picture in pixels."""

    max_bytes: int
    max_pixels: int


def decode(data: bytes, limits: ImageLimits, shorter_side: int, reserve: Reserve = reserve_nothing) -> Image:
    """The picture in `data`, reduced where that is cheap, its shorter side not below twice `shorter_side`.

    Only the first frame; transparency over white; colours as sRGB. Pixels are decoded in the context of `reserve`.
    Raises PermanentError.
    """
    if not data:
        raise PermanentError("empty", "The file is empty.")
    if len(data) > limits.max_bytes:
        raise PermanentError("too-many-bytes", f"The file has {len(data)} bytes; the limit is {limits.max_bytes}.")
    if foreign := detect_unsupported_type(data):
        raise PermanentError("unsupported", f"This is {foreign}, which pawtag does not read; it reads {READABLE}.")
    try:
        return _decode(data, limits, 2 * shorter_side, reserve)
    except PermanentError:
        raise
    except MemoryError as error:
        raise PermanentError("too-many-pixels", "There is not enough memory to decode this picture.") from error
    except Exception as error:  # decoders raise at least eight unrelated types
        raise _translate_error(error, data) from error


def check_header(head: bytes, limits: ImageLimits) -> None:
    """Raise PermanentError where a file's first bytes show that `decode` refuses it.

    Of a JPEG the least that it can be drafted to counts, an eighth of each side.
    """
    if foreign := detect_unsupported_type(head):
        raise PermanentError("unsupported", f"This is {foreign}, which pawtag does not read; it reads {READABLE}.")
    try:
        with pillow.open(io.BytesIO(head), formats=("JPEG",)) as opened:
            size = opened.size
            _draft(opened, 1)
            _check_pixels(opened, size, limits)
    except PermanentError:
        raise
    except Exception:  # no JPEG, or its header is longer: the whole file decides
        return


def _decode(data: bytes, limits: ImageLimits, shorter_side: int, reserve: Reserve) -> Image:
    with pillow.open(io.BytesIO(data), formats=FORMATS) as opened:
        name, (width, height) = opened.format or "", opened.size
        _check_structure(opened)
        if is_broken_fax(opened, data):
            raise PermanentError("not-an-image", "The picture is damaged: its fax data has no end.")
        _draft(opened, shorter_side)
        _check_pixels(opened, (width, height), limits)
        factor = max(1, min(opened.size) // shorter_side)
        is_reduced = factor > 1 and opened.mode != "F"
        cost = estimate_cost(opened, (width, height), is_progressive=_is_progressive(opened), is_reduced=is_reduced)
        with reserve(cost):
            opened.load()
            orientation = _read_orientation(opened)  # of a PNG it may load the pixels
            upright = _turn_upright(reduce_to_rgb(opened, factor), orientation)
    if orientation >= 5:  # noqa: PLR2004 - EXIF orientations 5 to 8 lie on their side
        width, height = height, width
    return Image(np.asarray(upright), width, height, name)


def _draft(image: pillow.Image, shorter_side: int) -> None:
    """Ask the JPEG decoder for a reduced size, at least `shorter_side`, before any pixel is decoded."""
    if image.format in ("JPEG", "MPO"):
        scale = min(1.0, shorter_side / min(image.size))
        image.draft(None, (math.ceil(image.width * scale), math.ceil(image.height * scale)))


def _check_pixels(image: pillow.Image, original: tuple[int, int], limits: ImageLimits) -> None:
    """A baseline JPEG costs what it is drafted to; a progressive one is decoded in full first."""
    width, height = original if _is_progressive(image) else image.size
    if width < 1 or height < 1:
        raise PermanentError("not-an-image", "The picture has no pixels.")
    if width * height > limits.max_pixels:
        raise PermanentError(
            "too-many-pixels",
            f"The picture has {original[0]} x {original[1]} pixels; the limit is {limits.max_pixels} in all.",
        )


def _is_progressive(image: pillow.Image) -> bool:
    return bool(image.info.get("progressive") or image.info.get("progression"))


def _check_structure(image: pillow.Image) -> None:
    """Refuse RAW previews, and TIFFs whose tables claim more than any photo needs."""
    if is_raw(image):
        raise PermanentError("unsupported", "This is a RAW file, which pawtag does not read; export it as JPEG.")
    tags = getattr(image, "tag_v2", None)
    if image.format != "TIFF" or tags is None:
        return
    pieces = max(_count_values(tags.get(STRIP_OFFSETS)), _count_values(tags.get(TILE_OFFSETS)))
    tile_pixels = int(tags.get(TILE_WIDTH, 0)) * int(tags.get(TILE_LENGTH, 0))
    sample_bytes = image.width * image.height * len(image.getbands()) * _bytes_per_sample(image.mode)
    if (
        len(tags) > MAX_TIFF_TAGS
        or pieces > MAX_STRIPS
        or tile_pixels > MAX_TILE_PIXELS
        or sample_bytes > MAX_SAMPLE_BYTES
    ):
        raise PermanentError("too-many-pixels", "This TIFF's tables claim more than pawtag decodes.")


def _count_values(value: object) -> int:
    return len(value) if isinstance(value, tuple) else 0


def _bytes_per_sample(mode: str) -> int:
    return {"I": 4, "F": 4, "I;16": 2, "I;16B": 2}.get(mode, 1)


def _read_orientation(image: pillow.Image) -> int:
    """EXIF's orientation, 1 to 8; 1 where EXIF is absent or broken, and where the decoder turns by itself."""
    if image.format == "HEIF":
        return 1
    try:
        value = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1  # noqa: PLR2004


def _turn_upright(image: pillow.Image, orientation: int) -> pillow.Image:
    return image.transpose(TRANSPOSES[orientation]) if orientation in TRANSPOSES else image


def _translate_error(error: Exception, data: bytes) -> PermanentError:
    """The one place where a decoder's exception gets its code."""
    text = str(error).lower()
    if is_truncated(data) or isinstance(error, EOFError) or "truncated" in text or "unexpected end" in text:
        return PermanentError("truncated", "The picture is cut off: it ends before all of it is there.")
    if isinstance(error, UnidentifiedImageError):
        return PermanentError("not-an-image", f"This is no picture that pawtag reads ({READABLE}).")
    if isinstance(error, (struct.error, SyntaxError, OSError, ValueError)):
        return PermanentError("not-an-image", f"The picture is damaged: {error}.")
    return PermanentError("not-an-image", f"The picture cannot be decoded: {type(error).__name__}.")
