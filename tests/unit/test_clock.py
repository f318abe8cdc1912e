"""The wall clock."""

import time

import pytest

from pawtag import clock


def test_P05_a_start_with_a_wrong_clock_is_told_right_afterwards(monkeypatch):
    """A board without a battery starts in 1970; then the time is set."""
    started_at = clock.since_now(time.monotonic())
    right_s = time.time()
    monkeypatch.setattr(time, "time", lambda: 100.0)
    assert started_at().startswith("1970-01-01")
    monkeypatch.setattr(time, "time", lambda: right_s + 3600)
    assert started_at() >= clock.utc_timestamp(-5)


@pytest.mark.parametrize("offset_s", [0.0, -60.0, 86_400.0])
def test_a_time_is_to_the_second_in_utc(offset_s):
    """As records write it."""
    written = time.strptime(clock.utc_timestamp(offset_s), "%Y-%m-%dT%H:%M:%SZ")
    assert abs(time.mktime(written) - time.mktime(time.gmtime(time.time() + offset_s))) <= 1
