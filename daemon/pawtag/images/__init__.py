"""Photos: bytes -> upright bounded RGB -> the model's pixels. The only importer of Pillow."""

from pawtag.images.decode import ImageLimits, Reserve, check_header, decode
from pawtag.images.memory import DecodeCost, DecodeLimiter, return_freed_blocks
from pawtag.images.pixels import preprocess

__all__ = [
    "DecodeCost",
    "DecodeLimiter",
    "ImageLimits",
    "Reserve",
    "check_header",
    "decode",
    "preprocess",
    "return_freed_blocks",
]
