"""GIF's structure, as far as the first frame (GIF89a specification, sections 17 to 25)."""

MAGIC = (b"GIF87a", b"GIF89a")
HEADER_BYTES, DESCRIPTOR_BYTES = 13, 10
IMAGE, EXTENSION = 0x2C, 0x21
TABLE_FLAG, TABLE_SIZE = 0x80, 0x07


def read_frame_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) that the screen and the first frame take together; None for what is no whole GIF.

    When Pillow opens the file, it reserves the memory that the first frame claims, before a caller can check the size.
    """
    if not data.startswith(MAGIC) or len(data) < HEADER_BYTES:
        return None
    flags = data[10]
    position = HEADER_BYTES + (3 << 1 + (flags & TABLE_SIZE) if flags & TABLE_FLAG else 0)
    while position < len(data):
        if data[position] == IMAGE:
            return _read_descriptor(data, position)
        position = _skip_blocks(data, position + 2) if data[position] == EXTENSION else position + 1
    return None


def _read_descriptor(data: bytes, position: int) -> tuple[int, int] | None:
    numbers = data[position + 1 : position + DESCRIPTOR_BYTES - 1]
    if len(numbers) < DESCRIPTOR_BYTES - 2:
        return None
    left, top, width, height = (int.from_bytes(numbers[at : at + 2], "little") for at in (0, 2, 4, 6))
    screen = [int.from_bytes(data[at : at + 2], "little") for at in (6, 8)]
    return max(screen[0], left + width), max(screen[1], top + height)


def _skip_blocks(data: bytes, position: int) -> int:
    """The position behind a chain of sub-blocks."""
    while position < len(data) and data[position]:
        position += 1 + data[position]
    return position + 1
