"""Records that could not be written yet."""

from dataclasses import replace

import pytest

from pawtag.domain.errors import TemporaryError
from pawtag.domain.records import PhotoRef
from pawtag.pipeline import unwritten
from pawtag.pipeline.unwritten import UnwrittenRecords
from support.records import record_for

FILE = PhotoRef("/p/a.jpg", 5, 7)
OBJECT = PhotoRef("s3://b/a.jpg", etag="e")


@pytest.mark.parametrize("ref", [FILE, OBJECT])
def test_a_record_is_found_for_its_version_and_fingerprint_alone(ref):
    """Another content, or another model, needs another record."""
    kept, record = UnwrittenRecords(), record_for(ref)
    kept.keep(ref, record)
    assert kept.get(ref, record.fingerprint) == record
    assert kept.get(ref, "other") is None
    assert kept.get(replace(ref, mtime_ns=8, etag=ref.etag and "f"), record.fingerprint) is None
    kept.forget(ref.uri)
    assert kept.get(ref, record.fingerprint) is None


def test_what_a_get_adds_does_not_make_another_version_of_an_object():
    """Size and version id are known after it alone; the next look reads the tags only."""
    kept, record = UnwrittenRecords(), record_for(OBJECT)
    kept.keep(replace(OBJECT, size_bytes=5, version_id="v"), record)
    assert kept.get(OBJECT, record.fingerprint) == record


def test_records_of_photos_that_never_come_back_make_room(monkeypatch):
    """They are another daemon's, or gone."""
    kept = UnwrittenRecords(max_records=1)
    kept.keep(FILE, record_for(FILE))
    kept.require_room(FILE.uri, None)
    with pytest.raises(TemporaryError, match="disk is full"):
        kept.require_room("/p/b.jpg", "The disk is full.")
    monkeypatch.setattr(unwritten, "MAX_AGE_S", -1.0)
    kept.require_room("/p/b.jpg", "The disk is full.")
    assert len(kept) == 0


def test_a_folder_that_cannot_be_written_does_not_stop_the_others():
    """The oldest record goes: another run of the model costs less than a library that waits."""
    kept = UnwrittenRecords(max_records=2)
    kept.keep(FILE, record_for(FILE))
    kept.keep(replace(FILE, uri="/p/b.jpg"), record_for(FILE))
    kept.require_room("/other/c.jpg", "The folder /p cannot be written.")
    assert len(kept) == 1
    assert kept.get(FILE, record_for(FILE).fingerprint) is None
