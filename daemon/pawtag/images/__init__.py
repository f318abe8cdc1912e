"""Photos: bytes -> upright bounded RGB -> the model's pixels. The only importer of Pillow."""

from pawtag.images.decode import ImageLimits, check_header, decode
from pawtag.images.memory import DecodeLimiter
from pawtag.images.pixels import preprocess

__all__ = ["DecodeLimiter", "ImageLimits", "check_header", "decode", "preprocess"]
