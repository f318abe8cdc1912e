"""Items of a HEIF file: their names must be text, because others crash libheif's Python binding (pi-heif 1.4.0)."""

import re

from pawtag.domain.errors import PermanentError

# An entry of the item table: size, "infe", version, flags. ISO/IEC 14496-12, 8.11.6.
ENTRY = re.compile(rb"(\0\0..)infe([\x02\x03])...", re.DOTALL)
ID_BYTES = {2: 2, 3: 4}
PROTECTION_BYTES, TYPE_BYTES = 2, 4
WITH_CONTENT_TYPE = b"mime"


def check_items(data: bytes) -> None:
    """Raise PermanentError where an item's type, or content type, is no text."""
    if data[4:8] != b"ftyp":
        return
    for entry in ENTRY.finditer(data):
        start = entry.end() + ID_BYTES[entry[2][0]] + PROTECTION_BYTES
        kind = data[start : start + TYPE_BYTES]
        end = entry.start() + int.from_bytes(entry[1], "big")
        names = data[start + TYPE_BYTES : end].split(b"\0")
        if not _is_text(kind) or (kind == WITH_CONTENT_TYPE and not all(map(_is_text, names))):
            raise PermanentError("not-an-image", "The picture is damaged: an item of it has no readable type.")


def _is_text(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True
