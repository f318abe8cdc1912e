"""Resume points: how far a long job has come."""

import hashlib
import json
import time
from collections import deque
from typing import Any

from pawtag.clock import utc_timestamp
from pawtag.state.database import StateDatabase

# After this time, a resume point is dropped. With another model or other labels, the job is another one.
MAX_UNUSED_S = 30 * 86_400


class ResumePoint:
    """How far one job has come: everything up to `position` is done."""

    def __init__(self, database: StateDatabase, job: str, *parameters: str, save_interval_s: float = 2.0) -> None:
        """`job` and its `parameters` name the row. Raises TemporaryError."""
        digest = hashlib.sha256(json.dumps([job, *parameters]).encode()).hexdigest()[:16]
        self._database, self._job, self._save_interval_s = database, f"{job}-{digest}", save_interval_s
        self._saved_at_s = 0.0
        self._open: deque[list[Any]] = deque()
        rows = database.quick.execute("SELECT position, saved_at FROM resume_points WHERE job = ?", self._job)
        self.position, self.saved_at = rows[0] if rows else ("", "")

    def begin(self, position: str, parts: int) -> list[Any]:
        """Begin a piece of `parts` parts, which ends at `position`. Pass the result to `finish`."""
        piece = [position, parts]
        self._open.append(piece)
        self.finish(piece, 0)
        return piece

    def finish(self, piece: list[Any], parts: int = 1) -> None:
        """Note that parts of the piece are done. The position moves once all earlier pieces are done.

        It is saved every `save_interval_s`.
        """
        piece[1] -= parts
        before = self.position
        while self._open and self._open[0][1] <= 0:
            self.position = self._open.popleft()[0]
        if self.position != before and time.monotonic() - self._saved_at_s >= self._save_interval_s:
            self.save()

    def save(self) -> None:
        """Write the position. Raises TemporaryError."""
        self.saved_at = utc_timestamp()
        row = (self._job, self.position, self.saved_at)
        self._database.quick.execute("INSERT OR REPLACE INTO resume_points VALUES (?, ?, ?)", *row)
        self._database.quick.execute("DELETE FROM resume_points WHERE saved_at < ?", utc_timestamp(-MAX_UNUSED_S))
        self._saved_at_s = time.monotonic()

    def forget(self) -> None:
        """Remove the row: the job begins at the beginning."""
        self._database.quick.execute("DELETE FROM resume_points WHERE job = ?", self._job)
        self.position = ""
