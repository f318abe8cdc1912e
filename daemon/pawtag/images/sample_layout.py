"""Layouts of TIFF samples that Pillow reads wrongly or not at all.

These are samples of 16 bits and more, signed and floating-point samples, and unusual extra samples. libtiff
decompresses them as plain bytes, and this module interprets the bytes as the tags say. Numbers and meanings: TIFF 6.0;
the floating-point predictor: Adobe Photoshop TIFF Technical Note 3.
"""

import io
import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image as pillow

from pawtag.domain.errors import PermanentError
from pawtag.images.tiff import (
    COMPRESSION,
    STRIP_BYTES,
    STRIP_OFFSETS,
    TILE_BYTES,
    TILE_LENGTH,
    TILE_OFFSETS,
    TILE_WIDTH,
    Directory,
    read_number,
    read_numbers,
)

MAX_SAMPLE_BYTES = 150_000_000
WIDTH, LENGTH, BITS, PHOTOMETRIC, FILL_ORDER, ORIENTATION, SAMPLES = 256, 257, 258, 262, 266, 274, 277
ROWS_PER_STRIP, PLANAR, PREDICTOR, EXTRA_SAMPLES, SAMPLE_FORMAT, ICC_PROFILE = 278, 284, 317, 338, 339, 34675
SEPARATE_PLANES = 2
# None, LZW, deflate (two numbers), PackBits, LZMA, Zstandard: what they decompress to are the samples themselves.
BYTE_COMPRESSIONS = frozenset({1, 5, 8, 32946, 32773, 34925, 50000})
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK = 0, 1, 2, 5
COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, CMYK: 4}
SAMPLE_KINDS = {1: "u", 2: "i", 3: "f"}
PREMULTIPLIED, STRAIGHT_ALPHA = 1, 2
DIFFERENCES, FLOATING_POINT = 2, 3
MAX_BYTE = 255
BAND_ROWS = 64


@dataclass(frozen=True, slots=True)
class SampleLayout:
    """How the samples of a TIFF are stored. `dtype`: the type of one sample, in the file's byte order."""

    tags: Directory
    data: bytes
    width: int
    height: int
    samples: int
    dtype: np.dtype[Any]

    @property
    def size_bytes(self) -> int:
        """The bytes of all samples, tiles at the edges filled up."""
        width, height = self._find_padded_size()
        return width * height * self.samples * self.dtype.itemsize

    @property
    def orientation(self) -> int:
        """EXIF's orientation."""
        return read_number(self.tags, ORIENTATION, 1)

    def read(self) -> pillow.Image:
        """The picture with 8 bits a sample, in mode L, LA, RGB, RGBA or CMYK. Raises what libtiff's decoder raises."""
        values = self._read_values()
        narrowed = np.empty(values.shape, np.uint8)
        top_value = _find_top_value(values)
        for top in range(0, self.height, BAND_ROWS):
            narrowed[top : top + BAND_ROWS] = _narrow(values[top : top + BAND_ROWS], top_value)
        del values
        return self._build_picture(narrowed)

    def _build_picture(self, values: np.ndarray) -> pillow.Image:
        photometric = read_number(self.tags, PHOTOMETRIC, BLACK_IS_ZERO)
        colours, extra = COLOURS[photometric], read_numbers(self.tags, EXTRA_SAMPLES, 0)
        if photometric == WHITE_IS_ZERO:
            values[..., 0] = MAX_BYTE - values[..., 0]
        has_alpha = self.samples > colours and extra[0] in (PREMULTIPLIED, STRAIGHT_ALPHA) and photometric != CMYK
        kept = np.ascontiguousarray(values[..., : colours + has_alpha])
        mode = {1: "L", 3: "RGB", 4: "CMYK"}[colours]
        if has_alpha:
            mode += "a" if extra[0] == PREMULTIPLIED else "A"
        size = (self.width, self.height)
        picture = pillow.frombytes(mode, size, kept.tobytes())
        if profile := self.tags.get(ICC_PROFILE):
            picture.info["icc_profile"] = profile
        return picture

    def _read_values(self) -> np.ndarray:
        """The samples as (height, width, samples), in the machine's own order of bytes."""
        planes = self.samples if read_number(self.tags, PLANAR, 1) == SEPARATE_PLANES else 1
        read = [self._read_plane(plane, planes) for plane in range(planes)]
        return read[0] if planes == 1 else np.concatenate(read, axis=2)

    def _find_piece_size(self) -> tuple[int, int]:
        """Width and height of a tile; without tiles, of the picture."""
        if TILE_OFFSETS not in self.tags:
            return max(1, self.width), max(1, self.height)
        return max(1, read_number(self.tags, TILE_WIDTH, 1)), max(1, read_number(self.tags, TILE_LENGTH, 1))

    def _find_padded_size(self) -> tuple[int, int]:
        across, down = self._find_piece_size()
        return math.ceil(self.width / across) * across, math.ceil(self.height / down) * down

    def _read_plane(self, plane: int, planes: int) -> np.ndarray:
        each, is_tiled = self.samples // planes, TILE_OFFSETS in self.tags
        (across, down), (width, height) = self._find_piece_size(), self._find_padded_size()
        pixel_bytes = each * self.dtype.itemsize
        plain: dict[int, tuple[int, ...]] = {
            WIDTH: (width * pixel_bytes,),
            LENGTH: (height,),
            BITS: (8,),
            COMPRESSION: (read_number(self.tags, COMPRESSION, 1),),
            PHOTOMETRIC: (BLACK_IS_ZERO,),
            FILL_ORDER: (read_number(self.tags, FILL_ORDER, 1),),
            SAMPLES: (1,),
            ROWS_PER_STRIP: (min(read_number(self.tags, ROWS_PER_STRIP, height), height),),
        }
        if is_tiled:
            plain |= {TILE_WIDTH: (across * pixel_bytes,), TILE_LENGTH: (down,)}
        for tag in (TILE_OFFSETS, TILE_BYTES) if is_tiled else (STRIP_OFFSETS, STRIP_BYTES):
            found = tuple(self.tags[tag])
            count = len(found) // planes
            plain[tag] = found[plane * count : (plane + 1) * count]
        rows = self._decompress(plain).reshape(height, width * pixel_bytes)
        values = self._undo_predictor(rows, across, each).reshape(height, width, each)
        return values[: self.height, : self.width]

    def _decompress(self, plain: dict[int, tuple[int, ...]]) -> np.ndarray:
        """Decompress the strips or tiles in our data, as a picture with one byte a sample."""
        table_at = len(self.data)
        header = struct.pack("<2sHI", b"II", 42, table_at)
        parts = (header, memoryview(self.data)[len(header) :], _encode_directory(plain, table_at))
        with pillow.open(io.BytesIO(b"".join(parts)), formats=("TIFF",)) as opened:
            return np.array(opened)

    def _undo_predictor(self, rows: np.ndarray, across: int, samples: int) -> np.ndarray:
        predictor, size = read_number(self.tags, PREDICTOR, 1), self.dtype.itemsize
        pieces = rows.reshape(len(rows), -1, across * samples * size)
        if predictor == FLOATING_POINT:
            summed = pieces.reshape(*pieces.shape[:2], -1, samples).cumsum(axis=2, dtype=np.uint8)
            ordered = summed.reshape(*pieces.shape[:2], size, -1).swapaxes(2, 3)
            return np.ascontiguousarray(ordered).view(self.dtype.newbyteorder(">")).astype(self.dtype.newbyteorder("="))
        values = pieces.view(self.dtype).astype(self.dtype.newbyteorder("="), copy=False)
        if predictor == DIFFERENCES:
            values = values.reshape(*values.shape[:2], -1, samples).cumsum(axis=2, dtype=values.dtype)
        return values


def widen_samples(image: pillow.Image, tags: Directory) -> pillow.Image:
    """The loaded picture with samples of 16 bits where it has 12: Pillow leaves these as they are."""
    is_narrow = image.mode == "I;16" and read_number(tags, BITS, 1) == 12  # noqa: PLR2004
    return image.point(lambda value: value * 16) if is_narrow else image


def find_layout(tags: Directory, data: bytes) -> SampleLayout | None:
    """How to read samples that Pillow would read wrongly; None if Pillow reads the picture correctly."""
    bits, formats = read_numbers(tags, BITS, 1), read_numbers(tags, SAMPLE_FORMAT, 1)
    photometric, samples = read_number(tags, PHOTOMETRIC, -1), read_number(tags, SAMPLES, 1)
    kind = SAMPLE_KINDS.get(formats[0])
    is_uniform = len(set(bits)) == 1 and len(set(formats)) == 1 and bits[0] in (8, 16, 32, 64)
    if read_number(tags, COMPRESSION, 1) not in BYTE_COMPRESSIONS or photometric not in COLOURS or not is_uniform:
        return None
    is_no_type = kind is None or (kind == "f" and bits[0] == 8)  # noqa: PLR2004
    if is_no_type or samples < COLOURS[photometric] or _is_read_by_pillow(tags, bits[0], kind, photometric, samples):
        return None
    order = ">" if data[:2] == b"MM" else "<"
    dtype = np.dtype(f"{order}{kind}{bits[0] // 8}")
    layout = SampleLayout(tags, data, read_number(tags, WIDTH, 0), read_number(tags, LENGTH, 0), samples, dtype)
    if layout.size_bytes > MAX_SAMPLE_BYTES:
        raise PermanentError("too-many-pixels", "This TIFF's samples are more than pawtag decodes.")
    return layout


def _encode_directory(tags: dict[int, tuple[int, ...]], position: int) -> bytes:
    """A directory whose values are all LONG. TIFF 6.0, section 2."""
    table, more = struct.pack("<H", len(tags)), b""
    more_at = position + 2 + 12 * len(tags) + 4
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"<{len(values)}I", *values)
        is_short = len(packed) <= 4  # noqa: PLR2004 - then the value stands in the entry
        table += struct.pack("<HHI", tag, 4, len(values))
        table += packed if is_short else struct.pack("<I", more_at + len(more))
        more += b"" if is_short else packed
    return table + bytes(4) + more


def _is_read_by_pillow(tags: Directory, bits: int, kind: str | None, photometric: int, samples: int) -> bool:
    """Whether Pillow reads the samples correctly.

    It does with 8 bits. It does with 16 bits, unless white is zero, or the planes are separate and uncompressed.
    """
    if kind != "u" or samples != COLOURS[photometric]:
        return False
    is_bare_plane = read_number(tags, PLANAR, 1) == SEPARATE_PLANES and read_number(tags, COMPRESSION, 1) == 1
    return bits == 8 or (bits == 16 and photometric != WHITE_IS_ZERO and not is_bare_plane)  # noqa: PLR2004


def _find_top_value(values: np.ndarray) -> float:
    """The value that becomes white: the type's highest; for floating-point samples 1, or the highest sample above 1."""
    if values.dtype.kind != "f":
        return float(np.iinfo(values.dtype).max)
    finite = values[np.isfinite(values)]
    return max(float(finite.max()), 1.0) if finite.size else 1.0


def _narrow(values: np.ndarray, top_value: float) -> np.ndarray:
    scaled = np.nan_to_num(values.astype(np.float64), posinf=top_value) * ((MAX_BYTE + 0.999) / top_value)
    return scaled.clip(0, MAX_BYTE).astype(np.uint8)
