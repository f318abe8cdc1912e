"""Waits and sizes of the folder modules, as one value. Tests pass shorter ones."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FolderTuning:
    """Waits and limits of the folder source."""

    stable_age_s: float = 60.0
    """A file whose mtime and ctime are older is finished at once."""
    fresh_s: float = 60.0
    """A truncated photo that changed within this time counts as unfinished."""
    held_s: float = 600.0
    """How long to wait for a file that a writer has open, or that looks preallocated and not completely written."""
    snapshot_s: float = 60.0
    """A file that keeps changing for this time is read as it is."""
    root_check_interval_s: float = 2.0
    """How often the identity of the root is compared."""
    max_backlog: int = 50_000
    """Photos that the backlog of a scan holds."""
