"""Signatures: types that are recognised by their first bytes."""

import pytest

from pawtag.images.completeness import is_truncated
from pawtag.images.signatures import SIGNATURES, detect_unsupported_type
from support.pictures import plain


@pytest.mark.parametrize(("offset", "magic", "name"), SIGNATURES)
def test_I07_I08_a_type_that_is_not_read_is_named(offset, magic, name):
    """By its first bytes, before any decoder sees it."""
    assert detect_unsupported_type(bytes(offset) + magic + bytes(20)) == name


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_a_photo_is_no_unsupported_type(kind):
    """And is not taken for a truncated one."""
    data = plain(kind=kind)
    assert detect_unsupported_type(data) is None
    assert not is_truncated(data)


@pytest.mark.parametrize("kind", ["WEBP", "AVIF"])
def test_I01_a_truncated_container_is_recognised(kind):
    """Its header names more bytes than there are."""
    assert is_truncated(plain(kind=kind)[:-5])
