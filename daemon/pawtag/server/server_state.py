"""What the routes know of the daemon: filled in by it as it comes up."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from pawtag.config import Settings
from pawtag.domain.errors import OverloadedError
from pawtag.domain.labels import Labels
from pawtag.domain.ports import DownloadProgress, SourceState
from pawtag.inference.tagger import Tagger
from pawtag.metrics import Metrics

MAX_BYTES_IN_FLIGHT = 512 * 1024 * 1024


class TrackedSource(Protocol):
    """A source that is worked off, as far as the server asks."""

    @property
    def state(self) -> SourceState:
        """How it is now."""

    @property
    def in_flight(self) -> int:
        """How many of its photos are being worked on."""


@dataclass(slots=True)
class ServerState:
    """The daemon as the server sees it. `tagger` is None while the model loads."""

    settings: Settings
    labels: Labels
    metrics: Metrics = field(default_factory=Metrics)
    tagger: Tagger | None = None
    engine: str = ""
    calibrated: bool = False
    unready_reason: str = "the model is loading"
    download: Callable[[], DownloadProgress | None] = lambda: None
    sources: tuple[TrackedSource, ...] = ()
    accept_notification: Callable[[bytes], Awaitable[int]] | None = None
    """Takes in what a store pushes; None where no bucket is set."""
    in_flight: int = 0
    bytes_in_flight: int = 0

    def __post_init__(self) -> None:
        """Let the metrics ask here."""
        self.metrics.watch(
            in_flight=lambda: self.in_flight + sum(source.in_flight for source in self.sources),
            ready=lambda: self.describe_readiness()["ready"],
        )
        self.metrics.watch_download(
            lambda: progress.done_bytes if (progress := self.download()) else 0,
            lambda: (progress.total_bytes or 0) if (progress := self.download()) else 0,
        )

    def activate(self, tagger: Tagger, engine: str, *sources: TrackedSource, calibrated: bool) -> None:
        """From now on photos are tagged by this model, which works off these sources too."""
        self.tagger, self.engine, self.calibrated, self.sources = tagger, engine, calibrated, sources
        self.metrics.set_model(tagger.identity.model, engine)

    @contextmanager
    def reserve_memory(self) -> Iterator[Callable[[int], None]]:
        """Memory for a body; gives what is to be told of each piece, and raises OverloadedError when there is no more."""
        taken_bytes = 0

        def take(size_bytes: int) -> None:
            nonlocal taken_bytes
            taken_bytes += size_bytes
            self.bytes_in_flight += size_bytes
            if self.bytes_in_flight > MAX_BYTES_IN_FLIGHT:
                raise OverloadedError("The photos in hand fill the memory that they may take; come again.")

        try:
            yield take
        finally:
            self.bytes_in_flight -= taken_bytes

    @contextmanager
    def reserve_slot(self) -> Iterator[None]:
        """One of the bounded places for photos that wait for the model. Raises OverloadedError when all are taken."""
        if self.in_flight >= self.settings.server.max_pending:
            raise OverloadedError(f"{self.in_flight} photos wait already; come again.")
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    def describe_readiness(self) -> dict[str, Any]:
        """The document of /readyz: not ready while the model loads, or while a source is lost.

        While the wanted model is on its way, `download` tells how far it is.
        """
        states = [source.state for source in self.sources]
        lost = next((state.reason for state in states if state.state == "unavailable"), None)
        progress = self.download()
        unready_reason = f"the model is being downloaded: {progress}" if progress else self.unready_reason
        reason = lost if self.tagger else unready_reason
        return {
            "ready": reason is None,
            "reason": reason,
            "model": self._model(),
            "labels": self.labels.fingerprint,
            "sources": [{"name": state.name, "state": state.state, "reason": state.reason} for state in states],
        } | ({"download": asdict(progress)} if progress else {})

    def _model(self) -> dict[str, Any] | None:
        if self.tagger is None:
            return None
        name = self.tagger.identity.model
        return {**name.model_dump(), "engine": self.engine, "calibrated": self.calibrated}
