"""Metadata: what is damaged in it, or large, does not keep a picture from being decoded."""

import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image as Pillow

from pawtag.domain.errors import PermanentError
from support.pictures import BLUE, RED, corner, decode_picture, encode_picture, plain

PNG_HEADER_END = 8 + 25  # signature, IHDR


def build_chunk(kind: bytes, content: bytes, crc: int | None = None) -> bytes:
    crc = zlib.crc32(kind + content) if crc is None else crc
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def insert_chunk(chunk: bytes, data: bytes | None = None) -> bytes:
    """The chunk behind the header of a PNG."""
    data = data or encode_picture(corner())
    return data[:PNG_HEADER_END] + chunk + data[PNG_HEADER_END:]


def insert_segment(marker: int, content: bytes, length: int | None = None, **options) -> bytes:
    """The segment behind the start of a JPEG."""
    data = encode_picture(corner(), "JPEG", quality=95, subsampling=0, **options)
    size = len(content) + 2 if length is None else length
    return data[:2] + bytes((0xFF, marker)) + struct.pack(">H", size) + content + data[2:]


def assert_shows_the_corner(data: bytes) -> None:
    image = decode_picture(data)
    assert (image.width, image.height) == (60, 40)
    assert np.abs(image.rgb.astype(int) - np.asarray(corner())).mean() < 3


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"pHYs", b"sRGB", b"gAMA", b"cHRM", b"eXIf"])
@pytest.mark.parametrize("content", [b"", b"x", b"key\0", bytes(40)])
@pytest.mark.parametrize("crc", [None, 12345])
def test_I11_a_damaged_ancillary_chunk_does_not_hide_the_picture(kind, content, crc):
    """PNG: ancillary chunks that are short, empty or of a wrong checksum are passed over, as browsers do."""
    assert_shows_the_corner(insert_chunk(build_chunk(kind, content, crc)))


@pytest.mark.parametrize("head", [b"tEXtcomment\0", b"zTXtcomment\0\0", b"iTXtcomment\0\1\0\0\0"])
def test_I11_long_texts_of_a_png_do_not_hide_the_picture(head):
    """Image generators and Photoshop write texts of megabytes."""
    text = b"a prompt " * 400_000
    content = head[4:] + (text if head.startswith(b"tEXt") else zlib.compress(text))
    assert_shows_the_corner(insert_chunk(build_chunk(head[:4], content)))


def test_I11_many_small_texts_of_a_png_do_not_hide_the_picture():
    """Ten thousand comments are ten thousand chunks that nobody needs."""
    assert_shows_the_corner(insert_chunk(b"".join(build_chunk(b"tEXt", b"key\0%d" % n) for n in range(10_000))))


def test_I03_a_bomb_of_text_is_refused_at_little_cost():
    """Texts that inflate to gigabytes are refused; they are never held in memory."""
    bomb = zlib.compress(bytes(200_000_000), 9)
    data = insert_chunk(build_chunk(b"zTXt", b"comment\0\0" + bomb))
    tracemalloc.start()
    with pytest.raises(PermanentError) as error:
        decode_picture(data)
    assert error.value.code == "too-many-bytes"
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_I06_transparency_of_a_png_stays():
    """tRNS decides pixels: a transparent colour is white."""
    data = encode_picture(Pillow.new("RGB", (20, 20), RED), transparency=RED)
    assert decode_picture(insert_chunk(build_chunk(b"tEXt", b"a\0b"), data)).rgb.min() == 255


def test_I06_a_transparency_of_wrong_length_is_none():
    """PNG 11.3.2.1: tRNS of a colour picture has six bytes."""
    assert_shows_the_corner(insert_chunk(build_chunk(b"tRNS", b"\0\1")))


@pytest.mark.parametrize(
    ("marker", "content", "length"),
    [
        (0xE0, b"JFIF", None),
        (0xE0, b"JFIF\0", None),
        (0xE0, b"JFXX\0", None),
        (0xE1, b"Exif\0\0", None),
        (0xE1, b"Exif\0\0II", None),
        (0xE2, b"ICC_PROFILE\0", None),
        (0xE2, b"ICC_PROFILE\0\1", None),
        (0xE2, b"MPF\0", None),
        (0xED, b"Photoshop 3.0\x008BIM\x03\xed", None),
        (0xED, b"Photoshop 3.0\x008BIM\x03\xed\0\0\0\0\0\x01x", None),
        (0xEE, b"Adobe", None),
        (0xEE, b"Adobe\0", None),
        (0xFE, b"", None),
        (0xE5, b"", 0),
        (0xEC, b"", 1),
    ],
)
def test_I11_a_damaged_segment_does_not_hide_the_picture(marker, content, length):
    """JPEG: application segments that are too short are passed over, as libjpeg does."""
    assert_shows_the_corner(insert_segment(marker, content, length))


def test_I11_junk_and_fill_bytes_between_segments_do_not_hide_the_picture():
    """ITU-T T.81, B.1.1.2: fill bytes may stand before a marker; viewers pass over junk, too."""
    data = encode_picture(corner(), "JPEG", quality=95, subsampling=0)
    assert_shows_the_corner(data[:2] + b"\xff\xff\xff" + data[2:])
    assert_shows_the_corner(data[:2] + b"junk\x00" + data[2:])


def test_I05_the_orientation_outlives_a_damaged_neighbour():
    """EXIF is kept where another segment goes."""
    exif = Pillow.Exif()
    exif[0x0112] = 6
    image = decode_picture(insert_segment(0xED, b"Photoshop 3.0\x008BIM\x03\xed\0\0\0\0\0\x01x", exif=exif))
    assert (image.width, image.height) == (40, 60)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_I11_a_jpeg_without_its_end_marker_is_whole(options):
    """Every viewer shows it, and no pixel is missing."""
    data = encode_picture(corner((128, 96)), "JPEG", quality=90, **options)
    without = data.removesuffix(b"\xff\xd9")
    assert len(without) == len(data) - 2
    assert np.array_equal(decode_picture(without).rgb, decode_picture(data).rgb)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_I01_a_jpeg_that_lacks_picture_data_is_truncated(options):
    """Whatever is missing besides the end marker are pixels."""
    noise = Pillow.effect_noise((128, 96), 60).convert("RGB")
    data = encode_picture(noise, "JPEG", quality=90, **options)
    for missing in (40, 400, len(data) // 2):
        with pytest.raises(PermanentError) as error:
            decode_picture(data[:-missing])
        assert error.value.code == "truncated"


@pytest.mark.parametrize("brand", [b"mif1", b"msf1", b"miaf", b"MA1B", b"MA1A", b"mif2", b"avis", b"1pic"])
def test_I11_the_compatible_brands_of_an_avif_count(brand):
    """ISO/IEC 14496-12: any brand may be the major one."""
    data = plain(BLUE, kind="AVIF")
    image = decode_picture(data[:8] + brand + data[12:])
    assert image.format == "AVIF"
    assert np.abs(image.rgb.reshape(-1, 3).mean(0) - BLUE).max() < 10
