"""The keywords inside a photo: its XMP packet, and the keywords of IPTC."""

import io
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from PIL import Image as pillow
from PIL import IptcImagePlugin
from PIL.ImageFile import ImageFile

from pawtag.images.decode import FORMATS
from pawtag.images.metadata import PNG_SIGNATURE, find_chunk

IPTC_KEYWORDS = (2, 25)  # IIM 4.2, data set 2:25
PACKET_START, PACKET_END, PADDING = b"<x:xmpmeta", b"</x:xmpmeta>", b"\0 \t\r\n"
PNG_XMP = b"XML:com.adobe.xmp"  # XMP Specification, Part 3, 1.1.5


@dataclass(frozen=True, slots=True)
class EmbeddedKeywords:
    """The XMP packet as it is, and IPTC's keywords."""

    xmp: bytes | None = None
    iptc: tuple[str, ...] = ()


def read_embedded_keywords(data: bytes) -> EmbeddedKeywords:
    """The keywords in a photo. If its metadata is damaged: those that can be found."""
    xmp: bytes | None = None
    iptc: tuple[str, ...] = ()
    with suppress(Exception), pillow.open(io.BytesIO(data), formats=FORMATS) as opened:  # decoders raise many types
        xmp = _find_png_packet(data) if data.startswith(PNG_SIGNATURE) else opened.info.get("xmp")
        iptc = _read_iptc(opened)
    return EmbeddedKeywords((xmp or b"").strip(PADDING) or _scan_for_packet(data), iptc)


def _scan_for_packet(data: bytes) -> bytes | None:
    """Search all bytes for an XMP packet if the format's own place has none, as the specification says (Part 3, 4)."""
    start = data.find(PACKET_START)
    end = data.find(PACKET_END, start)
    return data[start : end + len(PACKET_END)] if 0 <= start < end else None


def _find_png_packet(data: bytes) -> bytes | None:
    """The XMP packet of a PNG. Pillow finds only a packet before the pixels, but exiftool writes it after them."""
    content = find_chunk(data, b"iTXt", PNG_XMP + b"\0")
    if content is None or content[:1] != b"\0":  # compressed: the specification forbids it
        return None
    return content[2:].split(b"\0", 2)[-1]


def _read_iptc(opened: ImageFile) -> tuple[str, ...]:
    found: dict[tuple[int, int], Any] = {}
    with suppress(SyntaxError):  # Pillow's word for a block that is damaged
        found = IptcImagePlugin.getiptcinfo(opened) or {}
    keywords = found.get(IPTC_KEYWORDS, [])
    words = (_decode_text(word) for word in ([keywords] if isinstance(keywords, bytes) else keywords))
    return tuple(dict.fromkeys(word for word in words if word))


def _decode_text(content: bytes) -> str:
    """Decode as UTF-8, otherwise as Latin-1: few programs write the IIM data set that names the character set."""
    try:
        return content.decode().strip("\0 ")
    except UnicodeDecodeError:
        return content.decode("latin-1").strip("\0 ")
