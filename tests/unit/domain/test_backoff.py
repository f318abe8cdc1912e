"""Back-off: how long to wait before the next try."""

import pytest

from pawtag.domain.backoff import Backoff


def test_delays_double_up_to_the_maximum():
    """From the first delay on."""
    backoff = Backoff(first_s=1, max_s=60)
    assert [backoff.delay_s(attempt) for attempt in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_very_high_attempt_is_no_overflow():
    """A fault of a month has been tried a million times."""
    assert Backoff(first_s=1, max_s=60).delay_s(10**6) == 60


@pytest.mark.parametrize(("random_fraction", "delay_s"), [(0, 7.5), (0.5, 10), (1, 12.5)])
def test_jitter_spreads_the_delays(random_fraction, delay_s):
    """By a quarter to both sides here."""
    assert Backoff(first_s=10, max_s=60, jitter=0.25).delay_s(0, random_fraction=random_fraction) == delay_s


def test_a_fault_may_name_its_own_first_wait():
    """A store that throttles needs longer than a file that is locked."""
    assert Backoff(first_s=1, max_s=60).delay_s(1, first_s=10) == 20
