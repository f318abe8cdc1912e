"""TIFF: every layout of samples is read as it looks, upright, within limits."""

import struct
from itertools import product

import numpy as np
import pytest
from PIL import Image as Pillow

from pawtag.domain.errors import PermanentError
from pawtag.images.sample_layout import find_layout
from pawtag.images.tiff import read_directory
from support.pictures import corner, decode_picture, encode_picture

LONG, SIZE = 4, (48, 32)
NONE, LZW, DEFLATE, PACKBITS = 1, 5, 8, 32773
GREY = np.arange(SIZE[0] * SIZE[1], dtype=np.float64).reshape(SIZE[1], SIZE[0]) / (SIZE[0] * SIZE[1])
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=2)
FULL = {"u": lambda bits: 2**bits - 1, "i": lambda bits: 2 ** (bits - 1) - 1, "f": lambda _: 1.0}
FORMATS = {"u": 1, "i": 2, "f": 3}


def build_tiff(samples: np.ndarray, *, photometric: int, order: str = "<", **more: tuple[int, ...]) -> bytes:
    """An uncompressed TIFF of (height, width, samples); `planar=(2,)` separates them."""
    height, width, count = samples.shape
    dtype = samples.dtype
    planes = [samples] if more.get("planar") != (2,) else [samples[..., n] for n in range(count)]
    strips = [plane.astype(dtype.newbyteorder(order)).tobytes() for plane in planes]
    offsets = [8 + sum(map(len, strips[:number])) for number in range(len(strips))]
    tags = {
        256: (width,),
        257: (height,),
        258: (dtype.itemsize * 8,) * count,
        259: (1,),
        262: (photometric,),
        273: tuple(offsets),
        277: (count,),
        278: (height,),
        279: tuple(map(len, strips)),
        284: more.get("planar", (1,)),
        339: (FORMATS[dtype.kind],) * count,
    }
    if "extra" in more:
        tags[338] = more["extra"]
    return _assemble(tags, b"".join(strips), order)


def _assemble(tags: dict[int, tuple[int, ...]], body: bytes, order: str = "<") -> bytes:
    start = 8 + len(body)
    entries, values, values_at = b"", b"", start + 2 + 12 * len(tags) + 4
    for tag, numbers in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(numbers)}I", *numbers)
        entries += struct.pack(f"{order}HHI", tag, LONG, len(numbers))
        entries += packed if len(packed) <= 4 else struct.pack(f"{order}I", values_at + len(values))
        values += packed if len(packed) > 4 else b""
    mark = b"II" if order == "<" else b"MM"
    header = mark + struct.pack(f"{order}HI", 42, start)
    return header + body + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + values


def scale(values: np.ndarray, kind: str, bits: int) -> np.ndarray:
    return (values * FULL[kind](bits)).astype(np.dtype(f"{kind}{bits // 8}"))


def assert_looks_like(data: bytes, expected: np.ndarray) -> None:
    """`expected`: 0 to 1, (height, width) or (height, width, 3)."""
    image = decode_picture(data)
    shown = expected if expected.ndim == 3 else np.stack([expected] * 3, axis=2)
    assert image.rgb.shape == shown.shape
    assert np.abs(image.rgb.astype(float) / 255 - shown).max() < 0.02


LAYOUTS = [("u", 8), ("u", 16), ("u", 32), ("i", 16), ("i", 32), ("f", 16), ("f", 32), ("f", 64)]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("kind", "bits"), LAYOUTS)
def test_I06_samples_of_every_type_look_right(kind, bits, order):
    """Grey, colours, colours in planes: a sample's type decides what is white, not Pillow's table."""
    grey, colour = scale(GREY[..., None], kind, bits), scale(COLOUR, kind, bits)
    assert_looks_like(build_tiff(grey, photometric=1, order=order), GREY)
    assert_looks_like(build_tiff(grey, photometric=0, order=order), 1 - GREY)
    assert_looks_like(build_tiff(colour, photometric=2, order=order), COLOUR)
    assert_looks_like(build_tiff(colour, photometric=2, order=order, planar=(2,)), COLOUR)


@pytest.mark.parametrize("bits", [8, 16])
def test_I06_unusual_extra_samples_are_read(bits):
    """Grey and CMYK with alpha, four colours with two further samples."""
    white, alpha = np.ones_like(GREY), np.full_like(GREY, 0.5)
    with_alpha = scale(np.stack([np.zeros_like(GREY), alpha], axis=2), "u", bits)
    assert_looks_like(build_tiff(with_alpha, photometric=1, extra=(2,)), alpha)
    inks = scale(np.stack([GREY, *[np.zeros_like(GREY)] * 3, white], axis=2), "u", bits)
    assert_looks_like(build_tiff(inks, photometric=5, extra=(2,)), np.stack([1 - GREY, white, white], axis=2))
    more = scale(np.concatenate([COLOUR, np.stack([white, GREY], axis=2)], axis=2), "u", bits)
    assert_looks_like(build_tiff(more, photometric=2, extra=(0, 0)), COLOUR)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_I06_compressed_samples_of_16_bits_look_right(compression):
    """libtiff decompresses them as bytes."""
    grey = Pillow.fromarray(scale(GREY, "u", 16))
    assert_looks_like(encode_picture(grey, "TIFF", compression=compression), GREY)


@pytest.mark.parametrize("kind", ["u", "f"])
def test_I06_differences_between_samples_are_added_up(kind):
    """The predictors of TIFF 6.0 (section 14) and of Photoshop's floating-point samples, by hand on plain strips."""
    values, bits = scale(COLOUR, kind, 32), 32
    if kind == "u":
        stored = values.copy()
        stored[:, 1:] -= values[:, :-1]
        body, predictor = stored.tobytes(), 2
    else:
        planes = values.astype(">f4").view(np.uint8).reshape(SIZE[1], SIZE[0] * 3, 4).swapaxes(1, 2)
        rows = planes.reshape(SIZE[1], -1, 3)
        stored = rows.copy()
        stored[:, 1:] -= rows[:, :-1]
        body, predictor = stored.tobytes(), 3
    tags = {256: (SIZE[0],), 257: (SIZE[1],), 258: (bits,) * 3, 259: (1,), 262: (2,), 273: (8,), 277: (3,)}
    tags |= {278: (SIZE[1],), 279: (len(body),), 317: (predictor,), 339: (FORMATS[kind],) * 3}
    assert_looks_like(_assemble(tags, body), COLOUR)


def test_I06_tiles_of_16_bits_look_right():
    """Tiles at the edges are filled up, and cut again."""
    samples, tile = scale(COLOUR, "u", 16), 32
    padded = np.zeros((32, 64, 3), samples.dtype)
    padded[:, : SIZE[0]] = samples
    tiles = [padded[:, left : left + tile].tobytes() for left in (0, tile)]
    tags = {256: (SIZE[0],), 257: (SIZE[1],), 258: (16,) * 3, 259: (1,), 262: (2,), 277: (3,), 322: (tile,)}
    tags |= {323: (tile,), 324: (8, 8 + len(tiles[0])), 325: (len(tiles[0]),) * 2}
    assert_looks_like(_assemble(tags, b"".join(tiles)), COLOUR)


def test_I06_samples_of_12_bits_are_not_black():
    """Pillow leaves 12 bits in 16."""
    body = b"\xff" * (SIZE[0] * SIZE[1] * 12 // 8)
    tags = {256: (SIZE[0],), 257: (SIZE[1],), 258: (12,), 259: (1,), 262: (1,), 273: (8,), 277: (1,)}
    data = _assemble(tags | {278: (SIZE[1],), 279: (len(body),)}, body)
    assert decode_picture(data).rgb.min() >= 254


@pytest.mark.parametrize(("orientation", "compression"), list(product(range(1, 9), [None, "tiff_lzw", "jpeg"])))
def test_I05_a_tiff_is_turned_upright_once(orientation, compression):
    """Pillow turns a TIFF while it loads it; width and height are those of the upright picture."""
    backwards = [None, 0, 3, 1, 5, 2, 6, 4]  # Pillow's transposes that undo 2 to 8
    turn = backwards[orientation - 1]
    stored = corner() if turn is None else corner().transpose(Pillow.Transpose(turn))
    image = decode_picture(encode_picture(stored, "TIFF", compression=compression, tiffinfo={274: orientation}))
    assert (image.width, image.height) == (60, 40)
    assert np.abs(image.rgb.astype(int) - np.asarray(corner())).mean() < 8


def test_I05_samples_of_16_bits_are_turned_upright_once():
    """The layouts that are read without Pillow's own table, too."""
    stored = np.asarray(corner().convert("L").transpose(Pillow.Transpose.ROTATE_90)).astype(np.uint16) * 257
    image = decode_picture(encode_picture(Pillow.fromarray(stored), "TIFF", tiffinfo={274: 6}))
    assert (image.width, image.height) == (60, 40)
    assert np.abs(image.rgb[..., 0].astype(int) - np.asarray(corner().convert("L"))).max() < 2


@pytest.mark.parametrize(
    "claims",
    [
        {256: (30_000,), 257: (30_000,)},
        {322: (60_000,), 323: (60_000,)},
        {256: (6_000,), 257: (6_000,), 258: (64,), 339: (3,)},
        {273: (8,) * 150_000},
        {40_000 + number: (1,) for number in range(1_100)},
    ],
)
def test_I04_a_tiff_that_claims_too_much_is_refused(claims):
    """Pixels, tiles, samples, strips, tags: the tables alone decide."""
    tags = {256: (8,), 257: (8,), 258: (8,), 259: (1,), 262: (1,), 273: (8,), 277: (1,), 278: (8,), 279: (64,)}
    with pytest.raises(PermanentError) as error:
        decode_picture(_assemble(tags | claims, bytes(64)))
    assert error.value.code == "too-many-pixels"


def test_I04_only_the_first_frame_of_a_tiff_is_read():
    """A scanner's stack of a hundred pages costs one page."""
    pages = [Pillow.new("L", (40, 30), shade) for shade in (200, 10, 10)]
    data = encode_picture(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert decode_picture(data).rgb.min() == 200


def test_libtiff_writes_nothing_to_stderr(capfd):
    """Its own lines would stand between the lines of the log."""
    damaged = bytearray(encode_picture(corner().convert("1"), "TIFF", compression="group3"))
    damaged[20:60] = b"\x5a" * 40
    for data in (bytes(damaged), bytes(damaged[:-30])):
        try:
            decode_picture(data)
        except PermanentError:
            continue
    assert capfd.readouterr().err == ""


def test_I06_a_large_tiff_of_16_bits_is_left_to_pillow():
    """What Pillow reads rightly is read in one piece: 50 megapixels of RGB are within the limits."""
    for count, photometric in ((3, 2), (1, 1), (4, 5)):
        data = build_tiff(np.zeros((4, 4, count), np.uint16), photometric=photometric)
        tags = read_directory(data)
        tags[256], tags[257] = 7000, 7000
        assert find_layout(tags, data) is None


def test_I01_a_table_that_claims_too_many_bytes_does_not_hide_the_picture():
    """Some writers round up."""
    data = build_tiff((COLOUR * 255).astype(np.uint8), photometric=2)
    size = SIZE[0] * SIZE[1] * 3
    assert_looks_like(data.replace(struct.pack("<I", size), struct.pack("<I", size + 10_000)), COLOUR)


def test_I04_tiles_that_are_larger_than_the_picture_count_in_full():
    """A small picture in tiles of millions of rows: what is allocated is what counts."""
    tags = {256: (800,), 257: (16,), 258: (16,), 259: (1,), 262: (0,), 277: (1,), 322: (16,), 323: (1_000_000,)}
    tags |= {324: (8,) * 50, 325: (64,) * 50}
    with pytest.raises(PermanentError) as error:
        decode_picture(_assemble(tags, bytes(64)))
    assert error.value.code == "too-many-pixels"


def test_I01_numbers_that_are_texts_do_not_end_in_an_unexpected_error():
    """A damaged directory says that the places of its strips are texts."""
    data = bytearray(encode_picture(corner(), "TIFF", compression="tiff_lzw"))
    directory = int.from_bytes(data[4:8], "little")
    for number in range(int.from_bytes(data[directory : directory + 2], "little")):
        place = directory + 2 + 12 * number
        if int.from_bytes(data[place : place + 2], "little") in (273, 279):
            data[place + 2 : place + 12] = b"\x02\0\4\0\0\0a\0b\0"  # two texts
    with pytest.raises(PermanentError):
        decode_picture(bytes(data))
