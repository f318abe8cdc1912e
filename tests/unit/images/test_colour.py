"""Colour: every mode and profile becomes RGB."""

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageCms

from support.pictures import BLUE, RED, decode_picture, encode_picture


def swapped_profile() -> bytes:
    """An sRGB profile whose red and blue primaries have changed places."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = profile.index(b"rXYZ", 128), profile.index(b"bXYZ", 128)
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return (
        bytes(profile)
        .replace("sRGB".encode("utf-16-be"), "odd!".encode("utf-16-be"))
        .replace(b"sRGB built-in", b"odd! built-in")
    )


@pytest.mark.parametrize(
    ("picture", "colour"),
    [
        (Pillow.new("L", (20, 20), 100), (100, 100, 100)),
        (Pillow.new("1", (20, 20), 1), (255, 255, 255)),
        (Pillow.new("RGBA", (20, 20), (255, 0, 0, 0)), (255, 255, 255)),
        (Pillow.new("RGBA", (20, 20), (255, 0, 0, 128)), (255, 127, 127)),
        (Pillow.new("LA", (20, 20), (0, 0)), (255, 255, 255)),
        (Pillow.new("RGB", (20, 20), BLUE).quantize(4), BLUE),
        (Pillow.new("I;16", (20, 20), 128 * 256), (128, 128, 128)),
    ],
)
def test_I06_every_mode_becomes_rgb(picture, colour):
    """Grey, bilevel, palette, 16 bits; transparency lies over white."""
    assert np.abs(decode_picture(encode_picture(picture)).rgb.astype(int) - colour).max() <= 1


def test_I06_cmyk_is_converted_to_rgb():
    """A CMYK JPEG without ink is white, and with cyan and yellow green."""
    green = decode_picture(encode_picture(Pillow.new("CMYK", (32, 32), (255, 0, 255, 0)), "JPEG")).rgb[16, 16]
    assert green[1] > 200 > 60 > max(green[0], green[2])
    assert decode_picture(encode_picture(Pillow.new("CMYK", (32, 32), (0, 0, 0, 0)), "JPEG")).rgb.min() > 250


@pytest.mark.parametrize(("value", "shade"), [(0.25, 63), (1.0, 255), (200.0, 255)])
def test_I06_white_of_a_floating_point_tiff_is_1_or_its_maximum(value, shade):
    """Its type names no white."""
    assert decode_picture(encode_picture(Pillow.new("F", (20, 20), value), "TIFF")).rgb.min() == shade


def test_I06_a_colour_profile_is_applied():
    """By a profile whose red is blue, a red picture is blue; sRGB itself and a broken profile change nothing."""
    picture = Pillow.new("RGB", (20, 20), RED)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = decode_picture(encode_picture(picture, icc_profile=swapped_profile())).rgb[0, 0]
    assert swapped[2] > 200
    assert swapped[0] < 60
    for profile in (srgb, b"broken"):
        assert tuple(decode_picture(encode_picture(picture, icc_profile=profile)).rgb[0, 0]) == RED
