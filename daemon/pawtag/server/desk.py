"""What the routes know of the daemon: filled in by it as it comes up."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pawtag.config import Settings
from pawtag.errors import OverloadedError
from pawtag.labels import Labels
from pawtag.ports import SourceState
from pawtag.tagger import Tagger

BYTES_IN_HAND = 512 * 1024 * 1024


@dataclass(slots=True)
class Desk:
    """The daemon as the server sees it. `tagger` is None while the model loads."""

    settings: Settings
    labels: Labels
    tagger: Tagger | None = None
    engine: str = ""
    calibrated: bool = False
    loading: str = "the model is loading"
    sources: list[Callable[[], SourceState]] = field(default_factory=list)
    in_hand: int = 0
    bytes_in_hand: int = 0

    @contextmanager
    def holding(self) -> Iterator[Callable[[int], None]]:
        """Memory for a body; gives what is to be told of each piece, and raises OverloadedError when there is no more."""
        taken_bytes = 0

        def take(size_bytes: int) -> None:
            nonlocal taken_bytes
            taken_bytes += size_bytes
            self.bytes_in_hand += size_bytes
            if self.bytes_in_hand > BYTES_IN_HAND:
                raise OverloadedError("The photos in hand fill the memory that they may take; come again.")

        try:
            yield take
        finally:
            self.bytes_in_hand -= taken_bytes

    @contextmanager
    def place(self) -> Iterator[None]:
        """One of the bounded places for photos that wait for the model. Raises OverloadedError when all are taken."""
        if self.in_hand >= self.settings.limits.waiting:
            raise OverloadedError(f"{self.in_hand} photos wait already; come again.")
        self.in_hand += 1
        try:
            yield
        finally:
            self.in_hand -= 1

    def readiness(self) -> dict[str, Any]:
        """The document of /readyz: not ready while the model loads, or while a source is lost."""
        states = [state() for state in self.sources]
        lost = next((state.reason for state in states if state.state == "lost"), None)
        reason = lost if self.tagger else self.loading
        return {
            "ready": reason is None,
            "reason": reason,
            "model": self._model(),
            "labels": self.labels.fingerprint,
            "sources": [{"name": state.name, "state": state.state, "reason": state.reason} for state in states],
        }

    def _model(self) -> dict[str, Any] | None:
        if self.tagger is None:
            return None
        name = self.tagger.fingerprints.model
        return {**name.model_dump(), "engine": self.engine, "calibrated": self.calibrated}
