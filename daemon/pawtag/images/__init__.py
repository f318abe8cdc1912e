"""Photos: bytes -> upright bounded RGB -> the model's pixels. The only importer of Pillow."""

from pawtag.images.decode import ImageLimits, Reserve, check_header, decode
from pawtag.images.memory import DecodeCost, DecodeLimiter, return_freed_blocks
from pawtag.images.pixels import cut_parts, preprocess
from pawtag.images.thumbnail import LONGER_SIDE_PX, encode_thumbnail, is_enough_for_thumbnail

__all__ = [
    "LONGER_SIDE_PX",
    "DecodeCost",
    "DecodeLimiter",
    "ImageLimits",
    "Reserve",
    "check_header",
    "cut_parts",
    "decode",
    "encode_thumbnail",
    "is_enough_for_thumbnail",
    "preprocess",
    "return_freed_blocks",
]
