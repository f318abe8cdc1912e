"""What a scan tells its user."""

from pawtag.cli.scan_report import ScanReport
from pawtag.domain.outcomes import PhotoFailed, PhotoSkipped, PhotoTagged
from pawtag.domain.records import Failure, PhotoRef
from support.records import record_for

CUT = Failure(code="truncated", message="The file ends early.")


def failed(uri: str) -> PhotoFailed:
    ref = PhotoRef(uri, 1, 1)
    return PhotoFailed(ref, record_for(ref, status="failed", tags=(), error=CUT), 0.1)


def report_of(*outcomes) -> ScanReport:
    report = ScanReport()
    for outcome in outcomes:
        report(outcome)
    return report


def test_each_failed_photo_is_named_with_its_reason():
    """The first twenty, then how many more there are."""
    lines = report_of(*(failed(f"/p/{number:02}.jpg") for number in range(25))).format().splitlines()
    assert lines[0] == "0 tagged, 0 without a pet, 25 failed"
    assert lines[1] == "  /p/00.jpg: truncated: The file ends early."
    assert (len(lines), lines[-1]) == (22, "  and 5 more")


def test_photos_that_failed_before_are_named_too():
    """With the time since when, by the oldest of their records."""
    before = [
        PhotoSkipped("current", ref=PhotoRef("/p/a.jpg"), failure=CUT, since="2026-11-20T08:00:00Z"),
        PhotoSkipped("current", ref=PhotoRef("/p/b.jpg"), failure=CUT, since="2026-11-19T08:00:00Z"),
    ]
    report = report_of(*before)
    assert "2 failed, unchanged since 2026-11-19T08:00:00Z:\n  /p/a.jpg: truncated" in report.format()
    assert report.has_failures


def test_the_tags_of_an_object_tell_a_code_alone():
    """They hold neither the message nor the time."""
    code = Failure(code="truncated", message=None)
    found = report_of(PhotoSkipped("current", ref=PhotoRef("s3://b/a.jpg"), failure=code)).format()
    assert "1 failed, unchanged:\n  s3://b/a.jpg: truncated\n" in found


def test_a_photo_that_failed_in_this_scan_is_named_once():
    """A large folder is scanned several times."""
    again = PhotoSkipped("current", ref=PhotoRef("/p/a.jpg"), failure=CUT, since="2026-11-20T08:00:00Z")
    assert "unchanged" not in report_of(failed("/p/a.jpg"), again).format()


def test_what_is_skipped_is_counted_by_reason():
    """And unsure photos stand beside the tagged ones."""
    ref = PhotoRef("/p/a.jpg", 1, 1)
    unsure = PhotoTagged(ref, record_for(ref, status="unsure", tags=()), 0.1)
    lines = report_of(unsure, PhotoSkipped("not-a-photo", 3), PhotoSkipped("current", 5)).format().splitlines()
    assert lines == ["0 tagged, 1 unsure, 0 without a pet, 0 failed", "skipped: 5 current, 3 not-a-photo"]


def test_control_characters_of_a_name_are_escaped():
    """A terminal does not obey a file name."""
    assert r"a\x1b[2J.jpg" in report_of(failed("/p/a\x1b[2J.jpg")).format()
