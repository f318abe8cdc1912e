"""The wall clock, as records write the time."""

from datetime import UTC, datetime


def utc_timestamp() -> str:
    """The time in UTC, to the second: `2026-11-23T15:00:00Z`."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
