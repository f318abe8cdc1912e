"""The picture of the self test: drawn here, so that it has no other author."""

from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 256


def draw(path: Path) -> None:
    """Write a 256 x 256 PNG of smooth colours with rings: every pixel from a formula."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    rings = 0.5 + 0.5 * np.sin(40 * np.hypot(x - 0.4, y - 0.55))
    picture = np.stack([x, y * rings, 1 - rings * x], axis=2)
    Image.fromarray((picture * 255).round().astype(np.uint8)).save(path, optimize=True)
