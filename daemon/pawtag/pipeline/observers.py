"""Observers of photos: metrics, counts, the log. They are called on the event loop, and must return at once."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from pawtag.domain.outcomes import Outcome, PhotoFailed, PhotoRetrying, PhotoSkipped, PhotoTagged
from pawtag.metrics import Metrics
from pawtag.pipeline.faults import Faults
from pawtag.pipeline.recording import summarise

log = logging.getLogger(__name__)

Observer = Callable[[Outcome], None]
# A fault may affect every photo. The log names only one photo in this time.
WARNING_INTERVAL_S = 10.0


class Observers:
    """Passes each outcome to all observers. If one fails, this is logged, and the others still get the outcome."""

    def __init__(self, *observers: Observer) -> None:
        """In that order."""
        self._observers = list(observers)

    def add(self, observer: Observer) -> None:
        """One more."""
        self._observers.append(observer)

    def publish(self, outcome: Outcome) -> None:
        """Tell them."""
        for observer in self._observers:
            try:
                observer(outcome)
            except Exception:
                log.exception("an observer failed")


@dataclass(slots=True)
class Counts:
    """An observer that counts records by status, and skipped photos by reason."""

    tagged: int = 0
    unsure: int = 0
    no_pet: int = 0
    failed: int = 0
    skipped: Counter[str] = field(default_factory=Counter)

    def __call__(self, outcome: Outcome) -> None:
        """Count one outcome."""
        if isinstance(outcome, PhotoTagged | PhotoFailed):
            name = outcome.record.status.replace("-", "_")
            setattr(self, name, getattr(self, name) + 1)
        elif isinstance(outcome, PhotoSkipped):
            self.skipped[outcome.reason] += outcome.count

    @property
    def total(self) -> int:
        """All records."""
        return self.tagged + self.unsure + self.no_pet + self.failed


def count_in(metrics: Metrics) -> Observer:
    """An observer that counts in Prometheus' metrics."""

    def observe(outcome: Outcome) -> None:
        if isinstance(outcome, PhotoTagged | PhotoFailed):
            metrics.count_photo(outcome.record.source.kind, outcome.record.status)
            if outcome.record.error:
                metrics.count_failed(outcome.record.error.code)
        elif isinstance(outcome, PhotoSkipped):
            metrics.count_skipped(outcome.reason, outcome.count)

    return observe


def log_results(outcome: Outcome) -> None:
    """An observer: a line for each record."""
    if not isinstance(outcome, PhotoTagged | PhotoFailed) or outcome.record.source.kind == "request":
        return  # the server logs requests
    record = outcome.record
    fields = {"uri": outcome.ref.uri, "status": record.status, "duration_s": round(outcome.duration_s, 3)}
    fields |= {"reason": record.error.code} if record.error else {}
    level = logging.WARNING if isinstance(outcome, PhotoFailed) else logging.INFO
    log.log(level, "%s: %s", outcome.ref.uri, summarise(record), extra=fields)


class RetryLog:
    """An observer: a warning for a fault that is new or has changed, not for each photo that it affects."""

    def __init__(self) -> None:
        """Nothing was said yet."""
        self._faults, self._said = Faults(), set[str]()
        self._said_at_s = -WARNING_INTERVAL_S

    def __call__(self, outcome: Outcome) -> None:
        """Log one outcome."""
        if not isinstance(outcome, PhotoRetrying):
            if outcome.ref and self._said:
                self._faults.clear(outcome.ref.uri)
                self._said &= self._faults.texts
            return
        if not outcome.is_fault:
            return
        fields = {"uri": outcome.ref.uri, "reason": outcome.reason, "delay_s": round(outcome.delay_s, 1)}
        self._faults.note(outcome.ref.uri, outcome.reason)
        is_new = outcome.reason not in self._said and self._is_time()
        level = logging.WARNING if is_new else logging.DEBUG
        log.log(level, "%s Retrying (%s).", outcome.reason, outcome.ref.uri, extra=fields)
        if is_new:
            self._said.add(outcome.reason)
            self._said_at_s = time.monotonic()

    def _is_time(self) -> bool:
        return time.monotonic() - self._said_at_s >= WARNING_INTERVAL_S
