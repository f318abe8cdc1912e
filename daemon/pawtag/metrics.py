"""What an operator's Prometheus asks: counted where it happens, shown by GET /metrics."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from pawtag.domain.records import ModelInfo

STAGE_BUCKETS_S = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """All numbers of one daemon. Every method may be called from any thread."""

    def __init__(self) -> None:
        """Start at nothing."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which nobody asks for
        own = self._registry = CollectorRegistry()
        self._photos = Counter("pawtag_photos", "Photos that got a result.", ["source", "status"], registry=own)
        self._skipped = Counter(
            "pawtag_photos_skipped", "What was looked at and owed nothing.", ["reason"], registry=own
        )
        self._depth = Gauge("pawtag_photos_pending", "Photos that are known to wait.", ["source"], registry=own)
        self._in_flight = Gauge("pawtag_photos_in_flight", "Photos that are being worked on.", registry=own)
        self._batch = Histogram("pawtag_batch_size", "Photos in a model call.", buckets=BATCH_BUCKETS, registry=own)
        self._stage = Histogram(
            "pawtag_stage_duration_seconds", "Time in a stage.", ["stage"], buckets=STAGE_BUCKETS_S, registry=own
        )
        self._model = Gauge(
            "pawtag_model_info", "The model that tags.", ["id", "revision", "fallback", "engine"], registry=own
        )
        self._ready = Gauge("pawtag_ready", "Whether photos are tagged now.", registry=own)
        self._success = Gauge("pawtag_last_success_timestamp_seconds", "When a photo last got its tags.", registry=own)
        self._requests = Counter("pawtag_http_requests", "Requests answered.", ["route", "status"], registry=own)
        self._download = Gauge("pawtag_download_bytes", "The wanted model's download.", ["part"], registry=own)

    def render(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self._registry)

    def count_photo(self, source: str, status: str) -> None:
        """A photo has its result."""
        self._photos.labels(source, status).inc()
        if status != "failed":
            self._success.set_to_current_time()

    def count_skipped(self, reason: str, count: int = 1) -> None:
        """Something was owed no record."""
        self._skipped.labels(reason).inc(count)

    def observe_batch(self, size: int) -> None:
        """The model was given that many photos at once."""
        self._batch.observe(size)

    @contextmanager
    def time_stage(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        started_s = monotonic()
        try:
            yield
        finally:
            self._stage.labels(name).observe(monotonic() - started_s)

    def count_request(self, route: str, status: int) -> None:
        """A request was answered."""
        self._requests.labels(route, str(status)).inc()

    def set_model(self, name: ModelInfo, engine: str) -> None:
        """Tell which model tags from now on."""
        self._model.clear()
        self._model.labels(name.id, name.revision or "", str(name.fallback).lower(), engine).set(1)

    def watch_pending(self, source: str, pending: Callable[[], float]) -> None:
        """Ask `waiting` for the queue's depth whenever it is wanted."""
        self._depth.labels(source).set_function(pending)

    def watch(self, *, in_flight: Callable[[], float], ready: Callable[[], float]) -> None:
        """Ask these for what is in hand, and whether photos are tagged, whenever that is wanted."""
        self._in_flight.set_function(in_flight)
        self._ready.set_function(ready)

    def watch_download(self, done_bytes: Callable[[], float], total_bytes: Callable[[], float]) -> None:
        """Ask these how far the download is."""
        self._download.labels("done").set_function(done_bytes)
        self._download.labels("total").set_function(total_bytes)
