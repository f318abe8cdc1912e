"""Small pictures, made here."""

import io

from PIL import Image

from pawtag.domain.pictures import Image as DecodedImage
from pawtag.images import ImageLimits, decode

LIMITS = ImageLimits(max_bytes=10_000_000, max_pixels=1_000_000)
RED, GREEN, BLUE = (250, 5, 5), (5, 250, 5), (5, 5, 250)


def encode_picture(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    """A picture's file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def plain(colour=RED, size=(40, 30), kind: str = "PNG", **options) -> bytes:
    """A picture of one colour."""
    return encode_picture(Image.new("RGB", size, colour), kind, **options)


def corner(size=(60, 40)) -> Image.Image:
    """White, with a red top left quarter, so that its orientation is visible."""
    image = Image.new("RGB", size, "white")
    image.paste((255, 0, 0), (0, 0, size[0] // 2, size[1] // 2))
    return image


def decode_picture(data: bytes, shorter_side: int = 16) -> DecodedImage:
    """The picture, decoded within LIMITS."""
    return decode(data, LIMITS, shorter_side)
