"""The keywords inside a photo."""

import pytest

from pawtag.images.embedded_keywords import EmbeddedKeywords, read_embedded_keywords
from support.pictures import plain

PACKET = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_packet_of_each_format_is_found(kind):
    """As Pillow writes it."""
    options = {"tiffinfo": {700: PACKET}} if kind == "TIFF" else {"xmp": PACKET}
    if kind == "PNG":
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", PACKET.decode())
        options = {"pnginfo": info}
    assert read_embedded_keywords(plain(kind=kind, **options)).xmp.strip(b"\0") == PACKET


def test_a_photo_without_keywords_has_none():
    """Nor has one that is damaged, or none at all."""
    assert read_embedded_keywords(plain()) == EmbeddedKeywords()
    assert read_embedded_keywords(plain(kind="JPEG")) == EmbeddedKeywords()
    assert read_embedded_keywords(b"no photo") == EmbeddedKeywords()
