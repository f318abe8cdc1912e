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
from PIL import PngImagePlugin, UnidentifiedImageError

from pawtag.domain.errors import PermanentError
from pawtag.domain.pictures import Image
from pawtag.images.colour import reduce_to_rgb, remove_empty_alpha
from pawtag.images.completeness import JPEG_END, ends_in_zeros, is_truncated, lacks_data
from pawtag.images.gif import read_frame_size
from pawtag.images.heif_items import check_items
from pawtag.images.memory import DecodeCost, estimate_cost, estimate_layout_cost
from pawtag.images.metadata import JPEG_START, MAX_PROFILE_BYTES, drop_metadata
from pawtag.images.sample_layout import SampleLayout, find_layout, widen_samples
from pawtag.images.signatures import detect_unsupported_type
from pawtag.images.tiff import Directory, check_structure, read_directory, require_no_error

# Pillow may open only these formats: some of its others start external programs.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "HEIF", "AVIF")  # MPO comes with JPEG
READABLE = "JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC, AVIF"
ORIENTATION_TAG, EXIF_DIRECTORY, TAKEN_AT_TAG = 0x0112, 0x8769, 0x9003
MAX_TIME_CHARS = 64
# If picture data is missing before them, a decoder reads these two endings differently.
JPEG_ENDINGS = (JPEG_END, b"\x55" * 4096 + JPEG_END)
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

pi_heif.register_heif_opener(thumbnails=False)
pillow.preinit()
for plugin in ("Avif", "Mpo", "Tiff", "WebP"):  # and no others, which take longer to import than these
    importlib.import_module(f"PIL.{plugin}ImagePlugin")
# Pillow warns about odd files (for example with broken EXIF), but pawtag tags them.
warnings.filterwarnings("ignore", module=r"PIL\.")
# Instead of Pillow's limit, the user's limits (ImageLimits) are checked before any pixel is decoded.
pillow.MAX_IMAGE_PIXELS = None
PngImagePlugin.MAX_TEXT_CHUNK = MAX_PROFILE_BYTES  # for colour profiles: texts are dropped before

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
    """The picture in `data`, reduced if that is cheap, but never below twice `shorter_side` on its shorter side.

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
        return _decode_whole(drop_metadata(data), limits, 2 * shorter_side, reserve)
    except PermanentError:
        raise
    except MemoryError as error:
        raise PermanentError("too-many-pixels", "There is not enough memory to decode this picture.") from error
    except Exception as error:  # decoders raise at least eight unrelated types
        raise _translate_error(error, data) from error


def check_header(head: bytes, limits: ImageLimits) -> None:
    """Raise PermanentError where a file's first bytes show that `decode` refuses it.

    For a JPEG, the smallest size counts that it can be decoded at: an eighth of each side.
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


def _decode_whole(data: bytes, limits: ImageLimits, shorter_side: int, reserve: Reserve) -> Image:
    """The picture, also of a JPEG that lacks its end marker alone."""
    if lacks_data(data):
        raise EOFError  # `_translate_error` makes it `truncated`
    try:
        return _decode(data, limits, shorter_side, reserve)
    except OSError as error:
        if not data.startswith(JPEG_START) or "truncated" not in str(error) or ends_in_zeros(data):
            raise
        if found := _decode_without_end(data, limits, shorter_side, reserve):
            return found
        raise


def _decode_without_end(data: bytes, limits: ImageLimits, shorter_side: int, reserve: Reserve) -> Image | None:
    """The picture of a JPEG that lacks its end marker; None where it lacks picture data, too."""
    try:
        whole = data.removesuffix(JPEG_END[:1])
        found, other = (_decode(whole + ending, limits, shorter_side, reserve) for ending in JPEG_ENDINGS)
    except OSError:
        return None
    return found if np.array_equal(found.rgb, other.rgb) else None


def _decode(data: bytes, limits: ImageLimits, shorter_side: int, reserve: Reserve) -> Image:
    tags = read_directory(data)
    if tags is not None:
        check_structure(tags)
        if layout := find_layout(tags, data):
            return _decode_layout(layout, limits, shorter_side, reserve)
    check_items(data)
    if size := read_frame_size(data):
        _check_size(size, size, limits)
    return _build_image(*_decode_by_pillow(data, tags, limits, shorter_side, reserve))


def _decode_by_pillow(
    data: bytes, tags: Directory | None, limits: ImageLimits, shorter_side: int, reserve: Reserve
) -> tuple[pillow.Image, tuple[int, int], int, str, str | None]:
    """The arguments of `_build_image`. The decoder's own picture is freed before `_build_image` makes a copy."""
    with pillow.open(io.BytesIO(data), formats=FORMATS) as opened:
        name, size = opened.format or "", opened.size
        _draft(opened, shorter_side)
        _check_pixels(opened, size, limits)
        factor = max(1, min(opened.size) // shorter_side)
        is_reduced = factor > 1 and opened.mode != "F"
        cost = estimate_cost(opened, size, is_progressive=_is_progressive(opened), is_reduced=is_reduced)
        with reserve(cost):
            with require_no_error():
                opened.load()
            if name == "BMP":
                remove_empty_alpha(opened)
            orientation, taken_at = _read_exif(opened)  # of a PNG it may load the pixels
            picture = widen_samples(opened, tags) if tags else opened
            upright = _turn_upright(reduce_to_rgb(picture, factor), orientation)
    return upright, size, orientation, name, taken_at


def _decode_layout(layout: SampleLayout, limits: ImageLimits, shorter_side: int, reserve: Reserve) -> Image:
    """A TIFF whose samples Pillow reads wrongly, or not at all."""
    size = (layout.width, layout.height)
    _check_size(size, size, limits)
    with reserve(estimate_layout_cost(layout.size_bytes, layout.width * layout.height)):
        reduced = reduce_to_rgb(layout.read(), max(1, min(size) // shorter_side))
        upright = _turn_upright(reduced, layout.orientation)
    return _build_image(upright, size, layout.orientation, "TIFF")


def _build_image(
    upright: pillow.Image, size: tuple[int, int], orientation: int, name: str, taken_at: str | None = None
) -> Image:
    width, height = size if orientation < 5 else size[::-1]  # noqa: PLR2004 - 5 to 8 lie on their side
    return Image(np.asarray(upright), width, height, name, taken_at)


def _draft(image: pillow.Image, shorter_side: int) -> None:
    """Ask the JPEG decoder for a reduced size, at least `shorter_side`, before any pixel is decoded."""
    if image.format in ("JPEG", "MPO"):
        scale = min(1.0, shorter_side / min(image.size))
        image.draft(None, (math.ceil(image.width * scale), math.ceil(image.height * scale)))


def _check_pixels(image: pillow.Image, original: tuple[int, int], limits: ImageLimits) -> None:
    """A baseline JPEG costs what it is drafted to; a progressive one is decoded in full first."""
    _check_size(original if _is_progressive(image) else image.size, original, limits)


def _check_size(size: tuple[int, int], original: tuple[int, int], limits: ImageLimits) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise PermanentError("not-an-image", "The picture has no pixels.")
    if width * height > limits.max_pixels:
        raise PermanentError(
            "too-many-pixels",
            f"The picture has {original[0]} x {original[1]} pixels; the limit is {limits.max_pixels} in all.",
        )


def _is_progressive(image: pillow.Image) -> bool:
    return bool(image.info.get("progressive") or image.info.get("progression"))


def _read_exif(image: pillow.Image) -> tuple[int, str | None]:
    """The orientation, 1 to 8, and when the photo was taken; 1 and None where EXIF is absent or broken.

    The orientation is 1 where the decoder has turned the picture by itself.
    """
    try:
        exif = image.getexif()
        value, taken_at = exif.get(ORIENTATION_TAG, 1), exif.get_ifd(EXIF_DIRECTORY).get(TAKEN_AT_TAG)
    except Exception:
        return 1, None
    is_known = image.format not in ("HEIF", "TIFF") and isinstance(value, int) and 1 <= value <= 8  # noqa: PLR2004
    time = taken_at.strip("\0 ")[:MAX_TIME_CHARS] if isinstance(taken_at, str) else None
    return value if is_known else 1, time or None


def _turn_upright(image: pillow.Image, orientation: int) -> pillow.Image:
    return image.transpose(TRANSPOSES[orientation]) if orientation in TRANSPOSES else image


def _translate_error(error: Exception, data: bytes) -> PermanentError:
    """The one place where a decoder's exception gets its code."""
    text = str(error).lower()
    if is_truncated(data) or isinstance(error, EOFError) or "truncated" in text or "unexpected end" in text:
        return PermanentError("truncated", "The picture is cut off: a part of its data is missing.")
    if isinstance(error, UnidentifiedImageError):
        return PermanentError("not-an-image", f"This is no picture that pawtag reads ({READABLE}).")
    if isinstance(error, (struct.error, SyntaxError, OSError, ValueError)):
        return PermanentError("not-an-image", f"The picture is damaged: {error}.")
    return PermanentError("not-an-image", f"The picture cannot be decoded: {type(error).__name__}.")
