"""TIFF's structure: its first directory, what it claims, where its pieces lie; and what libtiff says of the data."""

import ctypes
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

from PIL import TiffImagePlugin, _imaging

from pawtag.domain.errors import PermanentError

Directory = TiffImagePlugin.ImageFileDirectory_v2
MAX_TAGS, MAX_PIECES, MAX_TILE_PIXELS, MAX_SAMPLE_BYTES = 1000, 100_000, 16_000_000, 400_000_000
# Tag numbers: TIFF 6.0, DNG 1.4.
NEW_SUBFILE_TYPE, WIDTH, LENGTH, BITS, COMPRESSION, SUB_IFDS, DNG_VERSION = 254, 256, 257, 258, 259, 330, 50706
STRIP_OFFSETS, STRIP_BYTES, TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_BYTES = 273, 279, 322, 323, 324, 325
REDUCED_PREVIEW = 1
MAGIC = tuple(TiffImagePlugin.PREFIXES)

_Handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
_errors = threading.local()


def _note_error(_module: bytes, _format: bytes, _values: int) -> None:
    _errors.count = getattr(_errors, "count", 0) + 1


_handle_error, _ignore_warning = _Handler(_note_error), _Handler(lambda _module, _format, _values: None)

# libtiff would write to stderr by itself, between the lines of the log. TIFFSetErrorHandler(3).
with suppress(OSError, AttributeError):
    _libtiff = ctypes.CDLL(_imaging.__file__)
    _libtiff.TIFFSetErrorHandler(_handle_error)
    _libtiff.TIFFSetWarningHandler(_ignore_warning)


@contextmanager
def require_no_error() -> Iterator[None]:
    """Raise OSError if libtiff reports an error in this thread: it fills damaged fax data with guesses."""
    _errors.count = 0
    yield
    if _errors.count:
        raise OSError("libtiff found damaged data")


def read_directory(data: bytes) -> Directory | None:
    """The first directory of a TIFF; None if the data is no TIFF, or the directory is incomplete."""
    if not data.startswith(MAGIC):
        return None
    file = io.BytesIO(data)
    header = file.read(16 if _is_big(data) else 8)
    try:
        tags = Directory(header)
        file.seek(start := tags.next)
        tags.load(file)
        is_whole = _find_directory_end(data, start) <= len(data)
    except Exception:  # whatever is wrong with it, the opener names it
        return None
    return tags if is_whole else None


def _is_big(data: bytes) -> bool:
    return 43 in data[2:4]  # noqa: PLR2004 - BigTIFF's version


def _find_directory_end(data: bytes, start: int) -> int:
    count_bytes, entry_bytes = (8, 20) if _is_big(data) else (2, 12)
    return start + count_bytes + entry_bytes * _count_entries(data, start)


def _count_entries(data: bytes, start: int) -> int:
    order: Literal["big", "little"] = "big" if data[:2] == b"MM" else "little"
    return int.from_bytes(data[start : start + (8 if _is_big(data) else 2)], order)


def check_structure(tags: Directory) -> None:
    """Refuse a RAW file, because Pillow would open its small preview, and tables that claim more than photos need."""
    if DNG_VERSION in tags or (SUB_IFDS in tags and tags.get(NEW_SUBFILE_TYPE) == REDUCED_PREVIEW):
        raise PermanentError("unsupported", "This is a RAW file, which pawtag does not read; export it as JPEG.")
    pieces = max(_count(tags.get(STRIP_OFFSETS)), _count(tags.get(TILE_OFFSETS)))
    tile_pixels = read_number(tags, TILE_WIDTH, 0) * read_number(tags, TILE_LENGTH, 0)
    sample_bytes = read_number(tags, WIDTH, 0) * read_number(tags, LENGTH, 0) * sum(read_numbers(tags, BITS, 1)) // 8
    if len(tags) > MAX_TAGS or pieces > MAX_PIECES or tile_pixels > MAX_TILE_PIXELS or sample_bytes > MAX_SAMPLE_BYTES:
        raise PermanentError("too-many-pixels", "This TIFF's tables claim more than pawtag decodes.")


def lacks_data(data: bytes) -> bool:
    """Whether a TIFF's directory, or the beginning of a piece of its picture, lies beyond the end of the file."""
    tags = read_directory(data)
    if tags is None or not (STRIP_OFFSETS in tags or TILE_OFFSETS in tags):
        return True
    return any(start >= len(data) for start, _ in _find_pieces(tags))


def is_cut(data: bytes) -> bool:
    """Whether, by the table, a piece of the picture ends beyond the end of the file. Some writers claim too much."""
    tags = read_directory(data)
    return tags is not None and any(start + size > len(data) for start, size in _find_pieces(tags))


def lost_tags(data: bytes) -> bool:
    """Whether tags are lost because their values lie beyond the end of the file, or have an unknown type."""
    tags = read_directory(data)
    return tags is not None and len(tags) < _count_entries(data, tags.offset)


def find_last_piece(data: bytes) -> bytes:
    """The compressed strip or tile that is last in the file; empty if the samples are not compressed."""
    tags = read_directory(data)
    if tags is None or read_number(tags, COMPRESSION, 1) == 1:
        return b""
    start, size = max(_find_pieces(tags), default=(0, 0))
    return data[start : start + size]


def _find_pieces(tags: Directory) -> list[tuple[int, int]]:
    """Where strips or tiles begin, and how long they are."""
    with suppress(KeyError, TypeError, ValueError):
        offsets, counts = (TILE_OFFSETS, TILE_BYTES) if TILE_OFFSETS in tags else (STRIP_OFFSETS, STRIP_BYTES)
        return list(zip(read_numbers(tags, offsets, 0), read_numbers(tags, counts, 0), strict=True))
    return []


def read_numbers(tags: Directory, tag: int, default: int) -> tuple[int, ...]:
    """A tag's values; the default where it is absent or empty. Raises ValueError where they are no numbers."""
    value = tags.get(tag, default)
    values = value if isinstance(value, tuple) else (value,)
    try:
        return tuple(map(int, values)) or (default,)
    except (TypeError, ArithmeticError) as error:
        raise ValueError(f"tag {tag} has no numbers") from error


def read_number(tags: Directory, tag: int, default: int) -> int:
    """A tag's first value."""
    return int(read_numbers(tags, tag, default)[0])


def _count(value: object) -> int:
    return len(value) if isinstance(value, tuple) else 0
