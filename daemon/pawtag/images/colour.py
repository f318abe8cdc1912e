"""Any of Pillow's modes as sRGB: transparency over white, 16 bits to 8, colour profiles applied."""

import io
import math

import numpy as np
from PIL import Image as pillow
from PIL import ImageCms

from pawtag.images.metadata import MAX_PROFILE_BYTES

SIXTEEN_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")
BAND_PIXELS = 1_000_000
SRGB = ImageCms.createProfile("sRGB")


def remove_empty_alpha(image: pillow.Image) -> None:
    """Make a picture opaque if all its pixels are transparent: such a BMP has no real transparency."""
    if image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0):
        image.putalpha(255)


def reduce_to_rgb(image: pillow.Image, factor: int) -> pillow.Image:
    """A new picture in mode RGB, each side divided by `factor`.

    A picture that Pillow cannot reduce directly is converted in bands: as a whole, an RGBA picture of 49 megapixels
    would take 935 MB.
    """
    is_small = factor == 1 and image.width * image.height <= BAND_PIXELS
    if is_small or image.mode == "F":
        return convert_to_rgb(image)
    if factor > 1 and image.mode in ("RGB", "L") and "transparency" not in image.info:
        return convert_to_rgb(image.reduce(factor))
    small = pillow.new("RGB", (math.ceil(image.width / factor), math.ceil(image.height / factor)))
    height = factor * max(1, BAND_PIXELS // (image.width * factor))
    for top in range(0, image.height, height):
        band = image.crop((0, top, image.width, min(top + height, image.height)))
        small.paste(convert_to_rgb(band).reduce(factor), (0, top // factor))
    return small


def convert_to_rgb(image: pillow.Image) -> pillow.Image:
    """A new picture in mode RGB."""
    if image.mode in SIXTEEN_BIT_MODES:
        return _narrow(np.asarray(image, np.float32) / 256)
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image, np.float32))
        return _narrow(values * (255 / max(float(values.max()), 1e-9)))
    if image.mode in ("P", "PA", "LA", "La", "RGBa", "RGBA") or "transparency" in image.info:
        return _compose_over_white(image)
    converted = _convert_by_profile(image) or image.convert("RGB")
    return converted if converted is not image else image.copy()


def _narrow(values: np.ndarray) -> pillow.Image:
    return pillow.fromarray(values.clip(0, 255).astype(np.uint8)).convert("RGB")


def _compose_over_white(image: pillow.Image) -> pillow.Image:
    with_alpha = image.convert("RGBA")
    ground = pillow.new("RGBA", image.size, "white")
    flat = pillow.alpha_composite(ground, with_alpha).convert("RGB")
    flat.info["icc_profile"] = image.info.get("icc_profile") if image.mode in ("RGBA", "RGBa") else None
    return _convert_by_profile(flat) or flat


def _convert_by_profile(image: pillow.Image) -> pillow.Image | None:
    """The picture, converted by its profile to sRGB; None without a profile, with sRGB's own, or with a broken one."""
    profile = image.info.get("icc_profile")
    if not profile or len(profile) > MAX_PROFILE_BYTES or image.mode not in ("RGB", "CMYK", "L"):
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return None
        return ImageCms.profileToProfile(image, source, SRGB, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
