"""The cost estimate of a scan."""

import pytest

from pawtag.s3.cost_estimate import CostEstimate


def test_a_started_thousand_of_keys_is_a_list_request():
    """A listing answers a thousand keys at most."""
    assert [CostEstimate(keys, 0).lists for keys in (0, 1, 1000, 1001)] == [0, 1, 1, 2]


def test_a_scan_of_current_photos_costs_one_read_each():
    """Their tags; nothing is downloaded or written."""
    million = CostEstimate(keys=1_000_000, photos=1_000_000)
    assert million.cost_current_usd == pytest.approx(1000 * 0.005 / 1000 + 1e6 * 0.0004 / 1000)
    assert million.cost_current_usd < million.cost_usd


def test_hours_follow_the_rate():
    """Of one daemon."""
    assert CostEstimate(keys=0, photos=72_000).hours(20) == 1
