"""The wall clock, as records write the time."""

import time
from collections.abc import Callable
from functools import lru_cache


def utc_timestamp(offset_s: float = 0.0) -> str:
    """The time in UTC so many seconds from now, to the second: `2026-11-23T15:00:00Z`."""
    return _format_time(int(time.time() + offset_s))


def since_now(monotonic_s: float) -> Callable[[], str]:
    """A function that tells the time at `monotonic_s` by the wall clock as it is at each call."""
    return lambda: utc_timestamp(monotonic_s - time.monotonic())


@lru_cache(maxsize=8)
def _format_time(seconds: int) -> str:
    """Formatting costs more than the rest of a pushed event; most calls are for the same second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
