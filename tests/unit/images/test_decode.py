"""Decoding: any photo upright in RGB, or one clear error; never much memory."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image as Pillow

from pawtag.config import FolderSettings
from pawtag.domain.errors import PermanentError
from pawtag.domain.pictures import PixelSpec
from pawtag.images import ImageLimits, decode
from pawtag.images.decode import TRANSPOSES
from support.pictures import BLUE, LIMITS, RED, corner, decode_picture, encode_picture, plain

SPEC = PixelSpec(resize=256, crop=(224, 224), resample=3, mean=(0.48, 0.46, 0.41), std=(0.27, 0.26, 0.28))
CATALOGUED = "jpg jpeg png webp gif bmp tif tiff heic heif avif mpo".split()


def code_of(data: bytes, limits: ImageLimits = LIMITS) -> str:
    with pytest.raises(PermanentError) as error:
        decode(data, limits, 16)
    assert str(error.value).endswith(".")
    return error.value.code


def huge_png(width: int, height: int) -> bytes:
    """A PNG that claims to be large, and is not."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "MPO"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_I05_a_photo_is_turned_upright_once(orientation, kind):
    """All eight EXIF orientations of one picture decode to the same picture. (HEIC: see the tests on real photos.)"""
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    backwards = {turn: turn for turn in Pillow.Transpose} | {
        Pillow.Transpose.ROTATE_90: Pillow.Transpose.ROTATE_270,
        Pillow.Transpose.ROTATE_270: Pillow.Transpose.ROTATE_90,
    }
    stored = corner().transpose(backwards[TRANSPOSES[orientation]]) if orientation in TRANSPOSES else corner()
    more = {"save_all": True, "append_images": [stored]} if kind == "MPO" else {}
    image = decode_picture(encode_picture(stored, kind, exif=exif, **more))
    assert (image.width, image.height, image.format) == (60, 40, kind)
    assert np.abs(image.rgb.astype(int) - np.asarray(corner())).mean() < 8


@pytest.mark.parametrize(("alpha", "shade"), [((0, 0), 200), ((0, 255), 255)])
def test_I06_a_bmp_without_any_alpha_is_opaque(alpha, shade):
    """Windows and browsers: an alpha of zero everywhere is none. Where one pixel has some, zero is transparent."""
    rows = b"".join(bytes((200, 200, 200, alpha[index == 3])) for index in range(4))
    masks = b"".join(mask.to_bytes(4, "little") for mask in (0xFF0000, 0xFF00, 0xFF, 0xFF000000))
    info = struct.pack("<IiiHHIIiiII", 108, 2, 2, 1, 32, 3, len(rows), 0, 0, 0, 0) + masks + bytes(52)
    data = b"BM" + struct.pack("<III", 14 + len(info) + len(rows), 0, 14 + len(info)) + info + rows
    assert decode_picture(data).rgb.max(axis=2).min() == min(shade, 200)
    assert decode_picture(data).rgb.max() == shade


def test_I06_only_the_first_frame_is_read():
    """An animation is its first frame."""
    frames = [Pillow.new("RGB", (20, 20), colour) for colour in (RED, BLUE)]
    image = decode_picture(encode_picture(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert np.abs(image.rgb[0, 0].astype(int) - RED).max() < 10


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_I01_each_format_is_recognised_by_its_content(kind):
    """What a file is called plays no part. (HEIC, which nothing here can write, is read in the tests on real photos.)"""
    image = decode_picture(plain(kind=kind))
    assert image.format == kind
    assert np.abs(image.rgb.reshape(-1, 3).mean(0) - RED).max() < 8


def test_a_large_jpeg_is_decoded_reduced():
    """draft() brings a baseline JPEG to no less than twice the model's size; it counts as that."""
    data = plain(size=(3200, 2400), kind="JPEG")
    image = decode_picture(data, shorter_side=100)
    assert (image.width, image.height) == (3200, 2400)
    assert 200 <= min(image.rgb.shape[:2]) <= 400


def test_I03_a_large_progressive_jpeg_is_refused():
    """A progressive JPEG is decoded in full first, so that it counts in full."""
    assert code_of(plain(size=(1600, 1200), kind="JPEG", progressive=True)) == "too-many-pixels"


def test_I03_a_decompression_bomb_is_refused_by_its_header():
    """A picture of four gigapixels costs nothing."""
    assert code_of(huge_png(65_500, 65_500)) == "too-many-pixels"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty"),
        (b"no picture at all", "not-an-image"),
        (plain(kind="JPEG", size=(200, 200))[:400], "truncated"),
        (plain(size=(200, 200))[:100], "truncated"),
        (plain(kind="WEBP", size=(200, 200))[:60], "truncated"),
        (b"%PDF-1.7 something", "unsupported"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "unsupported"),
        (b'{"a": [1, 2]}', "unsupported"),
        (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "unsupported"),
        (b"II*\x00\x10\x00\x00\x00CR\x02\x00" + bytes(50), "unsupported"),
        (b"[not json", "not-an-image"),
    ],
)
def test_I01_I08_bad_bytes_get_a_code(data, code):
    """Whatever a decoder raises, the answer is one error with a code."""
    assert code_of(data) == code


def test_I02_every_truncation_of_every_format_is_an_error_or_a_picture():
    """Cut anywhere, a file costs an error with a code, never another exception."""
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"):
        whole = plain(kind=kind)
        for length in range(1, len(whole), max(1, len(whole) // 40)):
            try:
                decode_picture(whole[:length])
            except PermanentError:
                continue


def test_I03_a_file_over_the_limit_is_not_opened():
    """The limit on bytes holds before any decoder sees them."""
    assert code_of(plain(), ImageLimits(max_bytes=10, max_pixels=100)) == "too-many-bytes"


def test_the_default_patterns_are_the_readable_formats():
    """Every suffix of a readable format is a photo by default."""
    assert {f"*.{suffix}" for suffix in CATALOGUED} <= set(FolderSettings().patterns)


def test_I07_a_raw_file_is_not_tagged_from_its_preview():
    """A TIFF with DNG's version tag is refused."""
    from PIL import TiffImagePlugin

    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[50706] = b"\x01\x04\x00\x00"
    tags.tagtype[50706] = 1
    file = io.BytesIO()
    Pillow.new("RGB", (8, 8)).save(file, "TIFF", tiffinfo=tags)
    assert code_of(file.getvalue()) == "unsupported"
