"""Whether a file looks cut off, or preallocated and not completely written."""

from collections.abc import Callable

from pawtag.images import tiff
from pawtag.images.metadata import JPEG_START, PNG_SIGNATURE

SCAN_MARKER, JPEG_END = b"\xff\xda", b"\xff\xd9"
BOX_HEADER_BYTES, LARGE_BOX = 8, 1
WEBP_PICTURES = (b"VP8 ", b"VP8L", b"ANMF")
PNG_END, GIF_END = b"IEND", b";"
PADDING_BOXES = (b"free", b"skip")
BMP_HEADER_BYTES = 26
MAGICS = (PNG_SIGNATURE, JPEG_START, b"GIF87a", b"GIF89a", b"BM", b"RIFF", *tiff.MAGIC)
# Entropy-coded data has no such run of zeros. Preallocated files end in one.
MAX_ZEROS_BYTES, MIN_ZEROS_BYTES = 4096, 64


def is_truncated(data: bytes) -> bool:
    """Whether a file that cannot be decoded ends before its picture does, or was never written to its end."""
    if any(magic.startswith(data) for magic in MAGICS) or ends_in_zeros(data):
        return True
    return next((check(data) for magic, check in IS_TRUNCATED.items() if data.startswith(magic)), _lacks_boxes(data))


def lacks_data(data: bytes) -> bool:
    """Whether the picture data ends in zeros, or a TIFF's lies beyond the end of the file: decoders raise no error."""
    return next((check(data) for magic, check in LACKS_DATA.items() if data.startswith(magic)), _ends_in_no_box(data))


def _lacks_boxes(data: bytes) -> bool:
    is_container = data[4:8] == b"ftyp" or (data[:3] == bytes(3) and b"ftyp".startswith(data[4:8]))
    return is_container and _find_box_end(data) > len(data)


def _ends_in_no_box(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and ends_in_zeros(data[: _find_box_end(data, PADDING_BOXES)])


def count_empty_share(data: bytes) -> float:
    """The share of zeros at the end of an uncompressed file, 0 to 1: black, or not written yet. 0 for other formats."""
    if not data.startswith((b"BM", *tiff.MAGIC)):
        return 0.0
    return 1.0 - len(data.rstrip(b"\0")) / len(data) if ends_in_zeros(data) else 0.0


def ends_in_zeros(data: bytes) -> bool:
    """Whether the data ends in more zeros than entropy-coded data can have."""
    count = max(MIN_ZEROS_BYTES, min(MAX_ZEROS_BYTES, len(data) // 16))
    return len(data) > count and not data[-count:].strip(b"\0")


def _find_riff_end(data: bytes) -> int:
    return int.from_bytes(data[4:8], "little") + 8


def _find_webp_picture_end(data: bytes) -> int:
    """Where the last chunk of picture data ends; metadata may follow, and be padded."""
    position, end = 12, 0
    while position + BOX_HEADER_BYTES <= len(data):
        kind, size = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "little")
        if kind == bytes(4):
            break
        position += BOX_HEADER_BYTES + size + size % 2
        end = position if kind in WEBP_PICTURES else end
    return end


def _find_box_end(data: bytes, ignored: tuple[bytes, ...] = ()) -> int:
    """Where the last box ends, according to its size field. ISO/IEC 14496-12, 4.2."""
    position = end = 0
    while position + BOX_HEADER_BYTES <= len(data):
        size, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        if size == LARGE_BOX:
            size = int.from_bytes(data[position + 8 : position + 16], "big")
        if kind == bytes(4):  # padding
            break
        if size < BOX_HEADER_BYTES:  # 0: to the end of the file
            return len(data)
        position += size
        end = end if kind in ignored else position
    return max(end, BOX_HEADER_BYTES)


# By the first bytes of a file.
IS_TRUNCATED: dict[bytes | tuple[bytes, ...], Callable[[bytes], bool]] = {
    JPEG_START: lambda data: SCAN_MARKER not in data,
    PNG_SIGNATURE: lambda data: PNG_END not in data,
    b"GIF8": lambda data: not data.rstrip(b"\0").endswith(GIF_END),
    b"BM": lambda data: len(data) < max(BMP_HEADER_BYTES, int.from_bytes(data[2:6], "little")),
    b"RIFF": lambda data: _find_riff_end(data) > len(data),
    tiff.MAGIC: lambda data: tiff.lacks_data(data) or tiff.is_cut(data) or tiff.lost_tags(data),
}
LACKS_DATA: dict[bytes | tuple[bytes, ...], Callable[[bytes], bool]] = {
    JPEG_START: lambda data: ends_in_zeros(data) and data.rfind(JPEG_END) < data.rfind(SCAN_MARKER),
    PNG_SIGNATURE: lambda data: ends_in_zeros(data) and PNG_END not in data,
    b"RIFF": lambda data: ends_in_zeros(data[: _find_webp_picture_end(data)]),
    tiff.MAGIC: lambda data: tiff.lacks_data(data) or ends_in_zeros(tiff.find_last_piece(data)),
}
