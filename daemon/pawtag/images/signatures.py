"""Recognises files that Pillow must not open, by their first bytes."""

import json

MAX_JSON_BYTES = 1024 * 1024

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
    (0, b"MM\x00\x2b", "a big-endian BigTIFF"),
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


def _parses_as_json(data: bytes) -> bool:
    if len(data) > MAX_JSON_BYTES:  # no picture begins so, and parsing it would cost gigabytes
        return True
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True
