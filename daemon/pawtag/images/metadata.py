"""Removes metadata before the decoder sees it: damaged metadata would prevent the decoding of a picture.

Browsers and viewers ignore a damaged chunk or segment, but Pillow raises an error. So all metadata is removed that the
pixels do not need.
"""

import zlib
from collections.abc import Iterator

from pawtag.domain.errors import PermanentError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_KEPT = frozenset({b"tRNS", b"iCCP", b"eXIf"})  # transparency, colours, orientation
PNG_COMPRESSED = frozenset({b"zTXt", b"iTXt", b"iCCP"})
MAX_INFLATED_BYTES = 64 * 1024 * 1024
MAX_PROFILE_BYTES = 4 * 1024 * 1024
INFLATE_STEP_BYTES = 1024 * 1024
TRANSPARENCY_BYTES = {0: 2, 2: 6}  # by colour type; PNG 11.3.2.1

JPEG_START = b"\xff\xd8"
JPEG_SCAN, JPEG_END, JPEG_COMMENT = 0xDA, 0xD9, 0xFE
PASSED_MARKERS = frozenset({0x00, 0x01, 0xFF, *range(0xD0, 0xD9)})  # junk, fill bytes, markers without content
# Application segments that affect the pixels, with their smallest size: JFIF 1.02, EXIF 2.32, ICC.1 B.4, CIPA
# DC-007, and jdmarker.c in libjpeg for Adobe's.
JPEG_KEPT = (
    (0xE0, b"JFIF\0", 14),
    (0xE1, b"Exif\0\0", 14),
    (0xE2, b"ICC_PROFILE\0", 15),
    (0xE2, b"MPF\0", 12),
    (0xEE, b"Adobe", 12),
)

AVIF_BRANDS, HEIC_BRANDS = {b"avif", b"avis"}, {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis"}
AV1_ITEM, HEVC_ITEM = b"av01", b"hvc1"
MAX_BRANDS_BYTES = 1024


def drop_metadata(data: bytes) -> bytes:
    """The same picture without the metadata that it does not need. Raises PermanentError for a bomb of text."""
    if data.startswith(PNG_SIGNATURE):
        return b"".join(_keep_chunks(data))
    if data.startswith(JPEG_START):
        return b"".join(_keep_segments(data))
    return _name_brand(data) if data[4:8] == b"ftyp" else data


def find_chunk(data: bytes, kind: bytes, prefix: bytes) -> bytes | None:
    """The content after `prefix` in a PNG's first chunk of that kind that begins with `prefix`; None without one."""
    position = len(PNG_SIGNATURE)
    while position + 12 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] == kind and data.startswith(prefix, position + 8):
            return data[position + 8 + len(prefix) : end - 4]
        position = end
    return None


def _keep_chunks(data: bytes) -> Iterator[bytes | memoryview]:
    view, position, inflated, seen = memoryview(data), len(PNG_SIGNATURE), 0, set()
    colour_type = data[25] if len(data) > 25 else 0  # noqa: PLR2004 - in IHDR, which is the first chunk
    yield PNG_SIGNATURE
    while position + 12 <= len(data):
        end = position + 12 + int.from_bytes(view[position : position + 4], "big")
        kind = bytes(view[position + 4 : position + 8])
        seen.add(kind)
        if kind[:1].isupper():
            yield view[position:end]
        elif end <= len(data):
            content = view[position + 8 : end - 4]
            size = _count_inflated(kind, content)
            inflated += size
            if inflated > MAX_INFLATED_BYTES:
                raise PermanentError("too-many-bytes", "The texts of the picture are a decompression bomb.")
            is_intact = zlib.crc32(view[position + 4 : end - 4]) == int.from_bytes(view[end - 4 : end], "big")
            is_late = b"IDAT" in seen and kind != b"eXIf"  # PNG 5.6: what decides pixels stands before them
            if is_intact and not is_late and _is_needed(kind, content, colour_type, size):
                yield view[position:end]
        position = end
    yield view[position:]


def _is_needed(kind: bytes, content: memoryview, colour_type: int, inflated_bytes: int) -> bool:
    if kind == b"tRNS":
        return len(content) == TRANSPARENCY_BYTES.get(colour_type, len(content)) > 0
    if kind == b"iCCP":
        return 0 < inflated_bytes <= MAX_PROFILE_BYTES
    return kind in PNG_KEPT


def _count_inflated(kind: bytes, content: memoryview) -> int:
    """How many bytes a compressed chunk inflates to, counted up to the limit; 0 for what is not compressed."""
    if kind not in PNG_COMPRESSED:
        return 0
    start = _find_compressed(kind, bytes(content[:1024]))
    inflater, count, piece = zlib.decompressobj(), 0, content[start:] if start else memoryview(b"")
    try:
        while len(piece) and count <= MAX_INFLATED_BYTES:
            count += len(inflater.decompress(piece, INFLATE_STEP_BYTES))
            piece = memoryview(inflater.unconsumed_tail)
    except zlib.error:
        return 0
    return count


def _find_compressed(kind: bytes, head: bytes) -> int:
    """Where the zlib stream begins; 0 where there is none. PNG 11.3.3."""
    keyword_end = head.find(b"\0")
    if keyword_end < 1:
        return 0
    if kind != b"iTXt":
        return keyword_end + 2 if head[keyword_end + 1 : keyword_end + 2] == b"\0" else 0
    language_end = head.find(b"\0", keyword_end + 3)
    translated_end = head.find(b"\0", language_end + 1)
    is_compressed = head[keyword_end + 1 : keyword_end + 2] == b"\1"
    return translated_end + 1 if is_compressed and language_end > 0 and translated_end > 0 else 0


def _keep_segments(data: bytes) -> Iterator[bytes | memoryview]:
    """The segments up to the first scan, without junk between them; then everything."""
    view, position = memoryview(data), len(JPEG_START)
    yield JPEG_START
    while (position := data.find(b"\xff", position)) >= 0 and position + 4 <= len(data):
        marker = data[position + 1]
        if marker in (JPEG_SCAN, JPEG_END):
            break
        if marker in PASSED_MARKERS:
            position += 1
            continue
        end = position + 2 + int.from_bytes(view[position + 2 : position + 4], "big")
        if not _is_application(marker) or _is_kept(marker, view[position + 4 : end]):
            yield view[position:end]
        position = max(end, position + 4) if _is_application(marker) else end
    if position >= 0:
        yield view[position:]


def _is_application(marker: int) -> bool:
    return marker == JPEG_COMMENT or 0xE0 <= marker <= 0xEF  # noqa: PLR2004 - APP0 to APP15


def _is_kept(marker: int, content: memoryview) -> bool:
    return any(
        marker == kept and len(content) >= least and content[: len(name)] == name for kept, name, least in JPEG_KEPT
    )


def _name_brand(data: bytes) -> bytes:
    """The HEIF or AVIF file, with the major brand by which Pillow finds the decoder of a still picture.

    ISO/IEC 14496-12, 4.3: any brand may be the major one; the decoder's is among the compatible ones.
    """
    end = min(int.from_bytes(data[:4], "big"), MAX_BRANDS_BYTES)
    brands = {data[8:12], *(data[start : start + 4] for start in range(16, end - 3, 4))}
    is_avif, is_heic = bool(brands & AVIF_BRANDS), bool(brands & HEIC_BRANDS)
    if is_avif == is_heic:
        is_avif, is_heic = AV1_ITEM in data[:65536], HEVC_ITEM in data[:65536]
    if is_avif == is_heic:
        return data
    return _rename(data, b"avif", b"avis", brands) if is_avif else _rename(data, b"heic", b"hevc", brands)


def _rename(data: bytes, still: bytes, sequence: bytes, brands: set[bytes]) -> bytes:
    """With the brand of a still picture, unless it is a sequence alone."""
    if data[8:12] == still or (data[8:12] == sequence and still not in brands):
        return data
    return data[:8] + still + data[12:]
