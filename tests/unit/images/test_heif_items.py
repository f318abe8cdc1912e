"""Items of a HEIF file."""

import pytest

from pawtag.domain.errors import PermanentError
from pawtag.images.heif_items import check_items

FILE_TYPE = b"\0\0\0\x0cftypheic"


def entry(kind: bytes, names: bytes = b"", version: int = 2) -> bytes:
    """An entry of the item table."""
    content = b"infe" + bytes([version]) + bytes(3) + bytes(2 if version == 2 else 4) + bytes(2) + kind + names
    return (len(content) + 4).to_bytes(4, "big") + content


@pytest.mark.parametrize("version", [2, 3])
def test_I09_an_item_whose_type_is_no_text_is_refused(version):
    """The binding of libheif dies of it."""
    with pytest.raises(PermanentError, match="damaged"):
        check_items(FILE_TYPE + entry(b"\xff\xffif", version=version))
    with pytest.raises(PermanentError, match="damaged"):
        check_items(FILE_TYPE + entry(b"mime", b"\0application/\xff\0", version=version))


def test_I09_items_of_real_files_and_other_formats_pass():
    """Also where a name, which nobody reads, is of another encoding."""
    check_items(FILE_TYPE + entry(b"hvc1", b"\xff\0") + entry(b"Exif") + entry(b"mime", b"XMP\0application/rdf+xml\0"))
    check_items(b"\xff\xd8\xff" + entry(b"\xff\xffif"))
