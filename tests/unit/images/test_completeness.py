"""Files that are cut off, or reserved in full and not yet written."""

import numpy as np
import pytest
from PIL import Image as Pillow

from pawtag.domain.errors import PermanentError
from pawtag.images.completeness import count_empty_share
from support.pictures import decode_picture, encode_picture, plain

NOISE = Pillow.effect_noise((96, 64), 90).convert("RGB")


def code_of(data: bytes) -> str:
    with pytest.raises(PermanentError) as error:
        decode_picture(data)
    return error.value.code


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("length", range(1, 13))
def test_I01_the_first_bytes_of_a_picture_are_truncated(kind, length):
    """A file that begins to arrive is cut off, not something else."""
    assert code_of(plain(kind=kind)[:length]) == "truncated"


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "jpeg", "tiff_adobe_deflate", None])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.98])
def test_I01_a_cut_tiff_is_truncated(compression, share):
    """Its directory is at its end, or names data behind the end."""
    data = encode_picture(NOISE, "TIFF", compression=compression)
    assert code_of(data[: int(len(data) * share)]) == "truncated"


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_I01_a_cut_run_length_bmp_is_truncated(share):
    """Its header tells how long it is. Written by hand: Pillow writes no such file."""
    width, height = 32, 32
    rows = b"".join(bytes((width, row, 0, 0)) for row in range(height)) + b"\0\1"
    palette = bytes(4 * 256)
    size = 54 + len(palette) + len(rows)
    header = b"BM" + size.to_bytes(4, "little") + bytes(4) + (54 + len(palette)).to_bytes(4, "little")
    info = (40).to_bytes(4, "little") + width.to_bytes(4, "little") + height.to_bytes(4, "little")
    info += b"\1\0\x08\0" + (1).to_bytes(4, "little") + len(rows).to_bytes(4, "little") + bytes(16)
    data = header + info + palette + rows
    assert decode_picture(data).width == width
    assert code_of(data[: int(54 + len(palette) + len(rows) * share)]) == "truncated"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "AVIF"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_F25_a_reserved_file_that_is_not_written_to_its_end_is_truncated(kind, share):
    """Its decoder would show the part that is there: zeros in compressed data are no picture."""
    data = encode_picture(NOISE, kind)
    written = int(len(data) * share)
    assert code_of(data[:written] + bytes(len(data) - written)) == "truncated"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_I01_zeros_behind_a_whole_picture_do_not_matter(kind):
    """Some cameras and programs fill a block up."""
    data = encode_picture(NOISE, kind)
    assert np.array_equal(decode_picture(data + bytes(10_000)).rgb, decode_picture(data).rgb)


@pytest.mark.parametrize("kind", ["BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_F25_the_empty_end_of_an_uncompressed_file_is_measured(kind, share):
    """A BMP or raw TIFF that ends in zeros may be black there, or not written yet."""
    data = plain((200, 200, 200), size=(100, 100), kind=kind)
    empty = int(len(data) * share)
    assert count_empty_share(data) == 0
    assert count_empty_share(data[:-empty] + bytes(empty)) == pytest.approx(share, abs=0.02)
    assert count_empty_share(plain(kind="JPEG") + bytes(1000)) == 0


def test_I11_padded_metadata_of_a_webp_is_no_missing_picture():
    """EXIF stands behind the picture, and may end in zeros."""
    exif = Pillow.Exif()
    exif[0x010E] = "x"
    data = encode_picture(NOISE, "WEBP", exif=exif.tobytes() + bytes(9_000))
    assert decode_picture(data).width == NOISE.width
