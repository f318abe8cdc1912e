"""Photos: bytes -> upright bounded RGB -> the model's pixels. The only room that knows Pillow."""

from pawtag.images.decode import ImageLimits, decode, screen
from pawtag.images.pixels import prepare

__all__ = ["ImageLimits", "decode", "prepare", "screen"]
