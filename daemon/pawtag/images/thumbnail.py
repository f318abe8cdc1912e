"""Thumbnails: small, upright, and without any metadata."""

import io

from PIL import Image as pillow

from pawtag.domain.pictures import Image

LONGER_SIDE_PX = 320
QUALITY = 80


def is_enough_for_thumbnail(image: Image) -> bool:
    """Whether a picture that was reduced for a model is still as large as its thumbnail."""
    longer_side = int(max(image.rgb.shape[:2]))
    return longer_side >= min(LONGER_SIDE_PX, max(image.width, image.height))


def encode_thumbnail(image: Image) -> bytes:
    """A JPEG whose longer side is at most 320 pixels."""
    picture = pillow.fromarray(image.rgb)
    picture.thumbnail((LONGER_SIDE_PX, LONGER_SIDE_PX), pillow.Resampling.BILINEAR, reducing_gap=1.0)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
