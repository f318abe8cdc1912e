"""The status of the daemon, as `pawtag status` prints it."""

from pawtag.cli.daemon_status import MAX_SHOWN, format_status


def status_with(failed: int) -> dict:
    rows = [{"uri": f"{number}.jpg", "code": "empty", "message": "No bytes."} for number in range(failed)]
    return {
        "version": "1",
        "ready": True,
        "reason": None,
        "model": None,
        "sources": [],
        "failures": {"empty": failed},
        "failed": rows,
        "dead_letters": 0,
    }


def test_failed_photos_that_are_not_named_are_counted():
    """Whoever works through the list must know that it is not whole."""
    lines = format_status(status_with(MAX_SHOWN + 6)).splitlines()
    assert len([line for line in lines if ".jpg: empty" in line]) == MAX_SHOWN
    assert lines[-1] == "  and 6 more; the page lists all"
    assert "more" not in format_status(status_with(MAX_SHOWN))
