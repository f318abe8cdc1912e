"""The wall clock, as records write the time."""

from datetime import UTC, datetime, timedelta


def utc_timestamp(offset_s: float = 0.0) -> str:
    """The time in UTC so many seconds from now, to the second: `2026-11-23T15:00:00Z`."""
    return (datetime.now(UTC) + timedelta(seconds=offset_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
