"""Photos: bytes -> upright bounded RGB -> the model's pixels. The only importer of Pillow."""

from pawtag.images.decode import ImageLimits, check_header, decode
from pawtag.images.pixels import preprocess

__all__ = ["ImageLimits", "check_header", "decode", "preprocess"]
