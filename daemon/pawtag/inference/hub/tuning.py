"""Timeouts and waits of the hub modules, as one value. Tests pass shorter ones."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HubTuning:
    """Waits and limits of the hub client."""

    probe_timeout_s: float = 8.0
    """For the description of a file: an unreachable hub must be known soon."""
    read_timeout_s: float = 20.0
    short_delay_s: float = 2.0
    """The first wait after a broken connection."""
    long_delay_s: float = 15.0
    """The first wait after a refusal that may pass."""
