"""Records and stamps: what they describe."""

import pydantic
import pytest

from pawtag.domain.records import Failure, PhotoRef, SourceInfo, Stamp
from support.records import record_for

REF = PhotoRef("/p/a.jpg", 5, 7)


def test_a_record_cannot_be_changed():
    """Values that travel between stages are frozen."""
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        record_for(REF).status = "failed"


def test_an_unknown_source_value_is_left_out_of_the_document():
    """A folder's record has no URI."""
    document = record_for(REF).to_document()
    assert document["source"] == {"kind": "folder", "mtime_ns": 7}


@pytest.mark.parametrize(("size_bytes", "mtime_ns", "describes"), [(5, 7, True), (6, 7, False), (5, 8, False)])
def test_a_stamp_describes_a_file_by_size_and_mtime(size_bytes, mtime_ns, describes):
    """Both must be the same."""
    assert Stamp.from_record(record_for(REF)).describes(PhotoRef("/p/a.jpg", size_bytes, mtime_ns)) is describes


@pytest.mark.parametrize(("etag", "describes"), [("e", True), (None, False), ("f", False)])
def test_a_stamp_describes_an_object_by_its_etag(etag, describes):
    """An ETag that is not known fits none."""
    stamp = Stamp.from_record(record_for(REF, source=SourceInfo(kind="s3", uri="s3://b/a.jpg", etag="e")))
    assert stamp.describes(PhotoRef("s3://b/a.jpg", 1, 0, etag)) is describes


@pytest.mark.parametrize(("code", "is_unreadable"), [("unreadable", True), ("truncated", False)])
def test_F10_a_record_of_an_unreadable_photo_says_so(code, is_unreadable):
    """It may be readable now, and look the same."""
    error = Failure(code=code, message="x")
    stamp = Stamp.from_record(record_for(REF, status="failed", tags=(), scores={}, error=error))
    assert stamp.is_unreadable is is_unreadable
