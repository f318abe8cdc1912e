"""Progress: the line of a backlog."""

from pawtag.pipeline.progress import format_progress


def test_the_progress_line_gives_count_rate_and_time_left():
    """Seconds for a short one, minutes for a long one."""
    assert format_progress(100, 50, 5.0) == "100 of 150 photos, 5.0 a second, about 10 s left"
    assert format_progress(100, 9000, 10.0) == "100 of 9100 photos, 10.0 a second, about 15 min left"
