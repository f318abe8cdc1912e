"""What a file's first bytes say that it is, where Pillow is not to open it."""

import json

from PIL import Image as pillow
from PIL import TiffImagePlugin

MAX_TIFF_TAGS = 1000
BOX_HEADER_BYTES = 8
MAX_JSON_BYTES = 1024 * 1024
# TIFF 6.0 and DNG 1.4 tag numbers.
NEW_SUBFILE_TYPE, SUB_IFDS, DNG_VERSION = 254, 330, 50706
REDUCED_PREVIEW = 1
COMPRESSION, FILL_ORDER, STRIP_OFFSETS, STRIP_BYTES = 259, 266, 273, 279
FAX_GROUP_4, LOW_BIT_FIRST = 4, 2
END_OF_FACSIMILE = "000000000001" * 2  # ITU-T T.6

SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"%PDF", "a PDF document"),
    (0, b"%!PS", "a PostScript file"),
    (0, b"\xc5\xd0\xd3\xc6", "an EPS file"),
    (0, b"\xff\x0a", "a JPEG XL image"),
    (0, b"\x00\x00\x00\x0cJXL \r\n\x87\n", "a JPEG XL image"),
    (0, b"\x00\x00\x00\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"FUJIFILMCCD-RAW", "a RAW file"),
    (0, b"IIU\x00", "a RAW file"),
    (0, b"IIRO", "a RAW file"),
    (0, b"IIRS", "a RAW file"),
    (0, b"II\x1a\x00\x00\x00HEAPCCDR", "a RAW file"),
    (8, b"CR\x02", "a RAW file"),
    (4, b"ftypcrx ", "a RAW file"),
    (4, b"ftypqt  ", "a video"),
    (4, b"ftypisom", "a video"),
    (4, b"ftypmp4", "a video"),
    (0, b"\x1aE\xdf\xa3", "a video"),
    (0, b"\xd7\xcd\xc6\x9a", "a WMF drawing"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x00\x00\x01\x00", "an icon"),
)


def detect_unsupported_type(data: bytes) -> str | None:
    """The name of a type that is recognised but not read ("a PDF document"); None for anything else."""
    for offset, magic, name in SIGNATURES:
        if data.startswith(magic, offset):
            return name
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<svg", b"<?xml", b"<!doctype svg")) and b"<svg" in data[:4096].lower():
        return "an SVG drawing"
    return "a JSON document" if head.startswith((b"{", b"[")) and _parses_as_json(data) else None


def is_truncated(data: bytes) -> bool:
    """Whether a container says that it is longer than it is: RIFF (WebP) or the boxes of HEIF and AVIF."""
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if data[4:8] != b"ftyp":
        return False
    position = 0
    while position + BOX_HEADER_BYTES <= len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        if size < BOX_HEADER_BYTES:  # 0: to the end of the file; 1: a 64-bit size, not in photos
            return False
        position += size
    return position > len(data)


def is_raw(image: pillow.Image) -> bool:
    """Whether a TIFF is a camera's RAW file, of which Pillow would open the small preview."""
    tags = getattr(image, "tag_v2", None)
    if not isinstance(tags, TiffImagePlugin.ImageFileDirectory_v2):
        return False
    return DNG_VERSION in tags or (SUB_IFDS in tags and tags.get(NEW_SUBFILE_TYPE) == REDUCED_PREVIEW)


def is_broken_fax(image: pillow.Image, data: bytes) -> bool:
    """Whether a TIFF's Group 4 data lacks its end: libtiff turns it into white and raises nothing."""
    tags = getattr(image, "tag_v2", None)
    if not isinstance(tags, TiffImagePlugin.ImageFileDirectory_v2) or tags.get(COMPRESSION) != FAX_GROUP_4:
        return False
    end = tags[STRIP_OFFSETS][-1] + tags[STRIP_BYTES][-1]
    step = -1 if tags.get(FILL_ORDER) == LOW_BIT_FIRST else 1
    return END_OF_FACSIMILE not in "".join(f"{byte:08b}"[::step] for byte in data[end - 8 : end])


def _parses_as_json(data: bytes) -> bool:
    if len(data) > MAX_JSON_BYTES:  # no picture begins so, and parsing it would cost gigabytes
        return True
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True
