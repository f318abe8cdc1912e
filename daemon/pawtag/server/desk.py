"""What the routes know of the daemon: filled in by it as it comes up."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pawtag.config import Settings
from pawtag.labels import Labels
from pawtag.ports import SourceState
from pawtag.tagger import Tagger


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
