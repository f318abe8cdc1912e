"""The metrics of the daemon, for Prometheus."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from pawtag.domain.errors import ErrorCode
from pawtag.domain.records import ModelInfo

STAGE_BUCKETS_S = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The metrics of one daemon. Every method may be called from any thread."""

    def __init__(self) -> None:
        """All metrics begin at zero."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # they double the number of series
        own = self._registry = CollectorRegistry()
        self._photos = Counter("pawtag_photos", "Photos that got a result.", ["source", "status"], registry=own)
        self._failed = Counter("pawtag_photos_failed", "Photos that cannot be tagged.", ["code"], registry=own)
        for code in get_args(ErrorCode):  # an alert on an increase needs the zero before the first failure
            self._failed.labels(code)
        self._store_errors = Counter(
            "pawtag_store_errors", "Errors of S3, SQS and other services.", ["operation", "code"], registry=own
        )
        self._dead_letters = Gauge("pawtag_dead_letters", "Messages that could not be used.", registry=own)
        self._oldest = Gauge(
            "pawtag_oldest_message_age_seconds", "Age of the oldest message in flight.", ["source"], registry=own
        )
        self._latency = Histogram(
            "pawtag_http_request_duration_seconds",
            "Duration of an HTTP request.",
            ["route"],
            buckets=STAGE_BUCKETS_S,
            registry=own,
        )
        self._skipped = Counter(
            "pawtag_photos_skipped", "Photos and files that needed no record.", ["reason"], registry=own
        )
        self._pending = Gauge("pawtag_photos_pending", "Photos that are known to be pending.", ["source"], registry=own)
        self._in_flight = Gauge("pawtag_photos_in_flight", "Photos in flight.", registry=own)
        self._batch = Histogram(
            "pawtag_batch_size", "Photos in one call of the model.", buckets=BATCH_BUCKETS, registry=own
        )
        self._stage = Histogram(
            "pawtag_stage_duration_seconds", "Duration of a stage.", ["stage"], buckets=STAGE_BUCKETS_S, registry=own
        )
        self._model = Gauge(
            "pawtag_model_info", "The model that serves.", ["id", "revision", "fallback", "engine"], registry=own
        )
        self._ready = Gauge("pawtag_ready", "Whether the daemon is ready.", registry=own)
        self._success = Gauge("pawtag_last_success_timestamp_seconds", "When a photo was last tagged.", registry=own)
        self._requests = Counter("pawtag_http_requests", "HTTP requests.", ["route", "status"], registry=own)
        self._download = Gauge("pawtag_download_bytes", "Bytes of the download of the model.", ["part"], registry=own)
        self._webhook = Counter("pawtag_webhook_posts", "Posts of the webhook.", ["result"], registry=own)
        self._outbox = Gauge("pawtag_webhook_pending", "Announcements that wait for the webhook.", registry=own)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def count_photo(self, source: str, status: str) -> None:
        """Count a photo by its status."""
        self._photos.labels(source, status).inc()
        if status != "failed":
            self._success.set_to_current_time()

    def count_failed(self, code: str) -> None:
        """Count a photo that cannot be tagged, by its error code."""
        self._failed.labels(code).inc()

    def count_store_error(self, operation: str, code: str) -> None:
        """Count an error of a store or a queue."""
        self._store_errors.labels(operation, code).inc()

    def count_skipped(self, reason: str, count: int = 1) -> None:
        """Count photos or files that needed no record."""
        self._skipped.labels(reason).inc(count)

    def observe_batch(self, size: int) -> None:
        """Observe the size of a batch."""
        self._batch.observe(size)

    @contextmanager
    def time_stage(self, name: str) -> Iterator[None]:
        """Observe the duration of the context."""
        started_s = monotonic()
        try:
            yield
        finally:
            self._stage.labels(name).observe(monotonic() - started_s)

    def count_webhook(self, result: str) -> None:
        """Count a post of the webhook: "delivered" or "failed"."""
        self._webhook.labels(result).inc()

    def watch_outbox(self, count: Callable[[], float]) -> None:
        """Call `count` for each scrape."""
        self._outbox.set_function(count)

    def count_request(self, route: str, status: int, duration_s: float) -> None:
        """Count a request by route and status, and observe how long it took."""
        self._requests.labels(route, str(status)).inc()
        self._latency.labels(route).observe(duration_s)

    def set_model(self, model: ModelInfo, engine: str) -> None:
        """Set the model that serves from now on."""
        self._model.clear()
        self._model.labels(model.id, model.revision or "", str(model.fallback).lower(), engine).set(1)

    def watch_pending(self, source: str, pending: Callable[[], float]) -> None:
        """Call `pending` for each scrape."""
        self._pending.labels(source).set_function(pending)

    def watch_dead_letters(self, count: Callable[[], float]) -> None:
        """Call `count` for each scrape."""
        self._dead_letters.set_function(count)

    def watch_oldest_message(self, source: str, age_s: Callable[[], float]) -> None:
        """Call `age_s` for each scrape."""
        self._oldest.labels(source).set_function(age_s)

    def watch(self, *, in_flight: Callable[[], float], ready: Callable[[], float]) -> None:
        """Call these for each scrape."""
        self._in_flight.set_function(in_flight)
        self._ready.set_function(ready)

    def watch_download(self, done_bytes: Callable[[], float], total_bytes: Callable[[], float]) -> None:
        """Call these for each scrape."""
        self._download.labels("done").set_function(done_bytes)
        self._download.labels("total").set_function(total_bytes)
