"""Small files that ask for much memory, of every kind that pawtag reads: some are refused, some are decoded."""

import io
import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

SIDE = 7000  # 49 megapixels; limits.max_pixels is 50 million
STRIP = (55_000, 890)
GREY, GREY_16_BITS, RGBA_16_BITS = (1, 0), (16, 0), (16, 6)  # PNG's bit depth and colour type
SAMPLES = {0: 1, 6: 4}


def make_hostile_pictures() -> dict[str, bytes]:
    """Their bytes by name."""
    makers: dict[str, Callable[[], bytes]] = {
        "png 60000 x 60000": lambda: build_png(60_000, 60_000, GREY),
        "png 16-bit rgba": lambda: build_png(SIDE, SIDE, RGBA_16_BITS),
        "png strip": lambda: build_png(*STRIP, (8, 6)),
        "png upright strip": lambda: build_png(*STRIP[::-1], (8, 6)),
        "png 16-bit strip": lambda: build_png(*STRIP, GREY_16_BITS),
        "png 200 MB of text": lambda: build_png(100, 100, GREY, text_bytes=200_000_000),
        "gif 65535 x 65535": build_gif,
        "gif 40000 x 40000 frame": lambda: build_gif(screen=8, side=40_000, extension=b"!\xf9\x04\x08\0\0\0\0"),
        "gif": lambda: encode(Image.new("P", (SIDE, SIDE)), "GIF"),
        "jpeg 25 MP progressive": lambda: encode(draw_noise(5000), "JPEG", progressive=True, subsampling=0),
        "jpeg 100 MP progressive": lambda: encode(Image.new("L", (10_000, 10_000)), "JPEG", progressive=True),
        "jpeg strip": lambda: encode(Image.new("RGB", STRIP), "JPEG"),
        "jpeg cut": lambda: encode(draw_noise(5000), "JPEG")[:1_000_000],
        "webp 16383 x 16383": lambda: encode(Image.new("RGB", (16_383, 16_383)), "WEBP", lossless=True, method=0),
        "webp 49 MP": lambda: encode(Image.new("RGB", (SIDE, SIDE)), "WEBP", lossless=True, method=0),
        "webp 36 MP": lambda: encode(draw_noise(6000), "WEBP", quality=10, method=0),
        "webp frames": build_animation,
        "avif": lambda: encode(draw_noise(SIDE), "AVIF", quality=10, speed=10),
        "tiff cmyk": lambda: encode(Image.new("CMYK", (SIDE, SIDE)), "TIFF", compression="tiff_lzw"),
        "tiff 32-bit": lambda: encode_array(np.zeros((SIDE, SIDE), np.float32)),
        "tiff 32-bit, 36 MP": lambda: encode_array(np.zeros((6000, 6000), np.float32)),
        "tiff 16-bit": lambda: encode_array(np.zeros((SIDE, SIDE), np.uint16)),
        "bmp 49 MP, cut": lambda: encode(Image.new("RGB", (SIDE, SIDE)), "BMP")[:1_000_000],
        "svg": lambda: b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>",
        "zeros": lambda: bytes(5_000_000),
    }
    return {name: make() for name, make in makers.items()}


def build_png(width: int, height: int, kind: tuple[int, int], text_bytes: int = 0) -> bytes:
    """A black one of (bit depth, colour type), with a compressed text. PNG specification, sections 5 and 11."""
    depth, colour = kind
    row_bytes = 1 + (width * depth * SAMPLES[colour] + 7) // 8
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    text = build_chunk(b"zTXt", b"Comment\0\0" + deflate_zeros(text_bytes)) if text_bytes else b""
    pixels = build_chunk(b"IDAT", deflate_zeros(row_bytes * height))
    return b"\x89PNG\r\n\x1a\n" + build_chunk(b"IHDR", header) + text + pixels + build_chunk(b"IEND", b"")


def build_chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def deflate_zeros(size_bytes: int) -> bytes:
    """So many zero bytes, compressed."""
    deflater, block = zlib.compressobj(9), bytes(1_000_000)
    pieces = [deflater.compress(block[: size_bytes - done]) for done in range(0, size_bytes, len(block))]
    return b"".join(pieces) + deflater.flush()


def build_gif(screen: int = 65_535, side: int = 65_535, extension: bytes = b"") -> bytes:
    """A header that claims a large picture, and no pixel. The extension says to wipe the frame."""
    header = b"GIF89a" + struct.pack("<HHBBB", screen, screen, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<HHHHB", 0, 0, side, side, 0)
    return header + extension + frame + b"\x02\x02\x44\x01\x00;"


def build_animation() -> bytes:
    """Ten frames."""
    frames = [Image.new("RGB", (3000, 3000), (shade, 0, 0)) for shade in range(10)]
    return encode(frames[0], "WEBP", save_all=True, append_images=frames[1:], method=0)


@cache
def draw_noise(side: int) -> Image.Image:
    """Coloured blocks, which compress to some megabytes."""
    blocks = np.random.default_rng(0).integers(0, 255, (side // 40, side // 40, 3), np.uint8)
    return Image.fromarray(blocks).resize((side, side), Image.Resampling.NEAREST)


def encode_array(values: np.ndarray) -> bytes:
    """A compressed TIFF."""
    return encode(Image.fromarray(values), "TIFF", compression="tiff_adobe_deflate")


def encode(image: Image.Image, name: str, **options: Any) -> bytes:
    """The bytes of a file."""
    file = io.BytesIO()
    image.save(file, name, **options)
    return file.getvalue()
