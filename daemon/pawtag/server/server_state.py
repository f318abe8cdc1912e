"""The daemon as the routes see it. The daemon fills it in as it starts."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, TypeVar

from aiohttp import web

from pawtag import __version__
from pawtag.config import Settings
from pawtag.domain.errors import OverloadedError
from pawtag.domain.labels import Labels
from pawtag.domain.ports import DownloadProgress, SourceState
from pawtag.inference.tagger import Tagger
from pawtag.metrics import Metrics
from pawtag.pipeline.live_feed import LiveFeed
from pawtag.pipeline.observers import Observers
from pawtag.pipeline.photo_operations import PhotoOperations
from pawtag.server.thumbnail_cache import ThumbnailCache
from pawtag.state.results import RecentResult, RecentResults

Result = TypeVar("Result")
OPERATIONS_TIMEOUT_S = 3.0  # container runtimes kill ten seconds after SIGTERM


class TrackedSource(Protocol):
    """A source, as far as the server needs it."""

    @property
    def state(self) -> SourceState:
        """Its state now."""

    @property
    def in_flight(self) -> int:
        """How many of its photos are in flight."""

    @property
    def pending(self) -> int:
        """How many are known to be pending."""

    @property
    def last_error(self) -> str | None:
        """The last fault of a photo."""

    @property
    def done(self) -> int:
        """How many have got a record since the start."""


@dataclass(frozen=True, slots=True)
class StoredResults:
    """What the state knows: failures by code, the newest failed photos, messages that could not be used."""

    failures: dict[str, int] = field(default_factory=dict)
    failed: tuple[dict[str, Any], ...] = ()
    dead_letters: int = 0


@dataclass(slots=True)
class ServerState:
    """The state of the server. `tagger` is None while no model is loaded."""

    settings: Settings
    labels: Labels
    metrics: Metrics = field(default_factory=Metrics)
    observers: Observers = field(default_factory=Observers)
    live_feed: LiveFeed[RecentResult] = field(default_factory=LiveFeed)
    """What happens now, for readers."""
    results: RecentResults | None = None
    """What happened lately; None before the state is open."""
    find_operations: Callable[[str], PhotoOperations | None] = lambda _uri: None
    """The operations of the source that a URI belongs to."""
    is_missing: Callable[[str], bool] = lambda _uri: True
    """Whether a photo is gone while its folder exists (a missing folder may be unmounted); blocks."""
    thumbnails: ThumbnailCache = field(init=False)
    tagger: Tagger | None = None
    lack: str | None = None
    """What does not work without a writable state.dir; None if it is writable."""
    unready_reason: str = "the model is loading"
    loading_step: Callable[[], str | None] = lambda: None
    """What a first start is doing."""
    download: Callable[[], DownloadProgress | None] = lambda: None
    sources: tuple[TrackedSource, ...] = ()
    read_results: Callable[[], StoredResults] = StoredResults
    """What is kept of earlier results; blocks."""
    accept_notification: Callable[[bytes], Awaitable[int]] | None = None
    """Accepts a notification of a store; None without s3.bucket."""
    max_bytes_in_flight: int = 512 * 1024 * 1024
    operations: set[asyncio.Future[Any]] = field(default_factory=set)
    """Corrections and retries that are not done yet."""
    in_flight: int = 0
    bytes_in_flight: int = 0

    def __post_init__(self) -> None:
        """Connect the metrics, and the thumbnails to the readers of the live feed."""
        self.thumbnails = ThumbnailCache(lambda: self.live_feed.is_read)
        self.metrics.watch(
            in_flight=lambda: self.in_flight + sum(source.in_flight for source in self.sources),
            ready=lambda: self.describe_readiness()["ready"],
        )
        self.metrics.watch_download(
            lambda: progress.done_bytes if (progress := self.download()) else 0,
            lambda: (progress.total_bytes or 0) if (progress := self.download()) else 0,
        )

    def activate(self, tagger: Tagger, *sources: TrackedSource) -> None:
        """Serve from now on."""
        self.tagger, self.sources = tagger, sources
        tagger.thumbnails = self.thumbnails
        self.note_model()

    def note_model(self) -> None:
        """Set the metrics to the model that serves now."""
        if self.tagger:
            model = self.tagger.model
            self.metrics.set_model(model.identity.model, model.engine.description)

    @contextmanager
    def reserve_memory(self) -> Iterator[Callable[[int], None]]:
        """Memory for a body: call the result with the size of each piece. It raises OverloadedError when none is left."""
        taken_bytes = 0

        def take(size_bytes: int) -> None:
            nonlocal taken_bytes
            taken_bytes += size_bytes
            self.bytes_in_flight += size_bytes
            if self.bytes_in_flight > self.max_bytes_in_flight:
                raise OverloadedError("Photos in flight have reached their memory limit; try again later.")

        try:
            yield take
        finally:
            self.bytes_in_flight -= taken_bytes

    @contextmanager
    def reserve_slot(self) -> Iterator[None]:
        """One of the slots for pending requests. Raises OverloadedError if none is free."""
        if self.in_flight >= self.settings.server.max_pending:
            raise OverloadedError(f"{self.in_flight} requests are pending; try again later.")
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    async def run_to_end(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run work that writes records to its end, even if the client disconnects. Returns its result."""
        task = asyncio.create_task(work, name="photo-operation")
        self.operations.add(task)
        task.add_done_callback(self.operations.discard)
        return await asyncio.shield(task)

    async def finish_operations(self) -> None:
        """Wait a short time for corrections and retries that are not done yet."""
        if self.operations:
            await asyncio.wait(self.operations, timeout=OPERATIONS_TIMEOUT_S)

    def describe_readiness(self) -> dict[str, Any]:
        """The document of /readyz: not ready while no model is loaded, or while a source is unavailable.

        During a download it has the key `download`.
        """
        states = [source.state for source in self.sources]
        unavailable = next((state.reason for state in states if state.state == "unavailable"), None)
        progress = self.download()
        unready_reason = f"the model is being downloaded: {progress}" if progress else self._explain_unready()
        reason = (self.tagger.failure or unavailable) if self.tagger else unready_reason
        return (
            {
                "ready": reason is None,
                "reason": reason,
                "model": self._model(),
                "labels": self.labels.fingerprint,
                "sources": [{"name": state.name, "state": state.state, "reason": state.reason} for state in states],
            }
            | ({"state_dir": self.lack} if self.lack else {})
            | ({"download": asdict(progress)} if progress else {})
        )

    def describe_status(self, results: StoredResults) -> dict[str, Any]:
        """The document of /status. Names of photos only where the page is on."""
        counts = {source.state.name: source for source in self.sources}
        document = self.describe_readiness()
        sources = [
            found
            | {
                "pending": counts[found["name"]].pending,
                "in_flight": counts[found["name"]].in_flight,
                "done": counts[found["name"]].done,
                "last_error": counts[found["name"]].last_error if self.settings.server.shows_page else None,
            }
            for found in document["sources"]
        ]
        return document | {
            "version": __version__,
            "sources": sources,
            "failures": results.failures,
            "failed": list(results.failed) if self.settings.server.shows_page else None,
            "dead_letters": results.dead_letters,
        }

    def _explain_unready(self) -> str:
        step = self.loading_step()
        return f"{self.unready_reason}: {step}" if step else self.unready_reason

    def _model(self) -> dict[str, Any] | None:
        if self.tagger is None:
            return None
        model = self.tagger.model
        engine = {"engine": model.engine.description, "calibrated": model.calibrated}
        return {**model.identity.model.model_dump(), **engine}


SERVER_STATE = web.AppKey("server_state", ServerState)
