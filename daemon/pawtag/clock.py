"""The wall clock, as records write the time."""

import time
from collections.abc import Callable
from functools import lru_cache


def utc_timestamp(offset_s: float = 0.0) -> str:
    """The UTC time `offset_s` seconds from now, in whole seconds: `2026-11-23T15:00:00Z`."""
    return _format_time(int(time.time() + offset_s))


def since_now(monotonic_s: float) -> Callable[[], str]:
    """A function that returns the time of `monotonic_s`, by the wall clock at the moment of each call."""
    return lambda: utc_timestamp(monotonic_s - time.monotonic())


@lru_cache(maxsize=8)
def _format_time(seconds: int) -> str:
    """Cached: formatting costs more than all other work of a pushed event, and most calls are for the same second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
