"""Observers: what happened is told to each, and none of them can stop the others."""

import logging

from pawtag.domain.outcomes import PhotoFailed, PhotoRetrying, PhotoSkipped, PhotoTagged
from pawtag.domain.records import Failure, PhotoRef
from pawtag.metrics import Metrics
from pawtag.pipeline.observers import Counts, Observers, RetryLog, count_in, log_results
from support.records import record_for

REF = PhotoRef("/p/a.jpg", 1, 1)
CUT = Failure(code="truncated", message="cut")
OUTCOMES = [
    PhotoTagged(REF, record_for(REF), 0.1),
    PhotoTagged(REF, record_for(REF, status="unsure", tags=()), 0.1),
    PhotoFailed(REF, record_for(REF, status="failed", error=CUT), 0.1),
    PhotoSkipped("not-a-photo", 5),
    PhotoRetrying(REF, "full", 1.0),
]


def test_an_observer_that_fails_does_not_stop_the_others(caplog):
    """It is named in the log."""

    def broken(_) -> None:
        raise ZeroDivisionError

    heard = []
    Observers(broken, heard.append).publish(OUTCOMES[0])
    assert heard == OUTCOMES[:1]
    assert "an observer failed" in caplog.text


def test_counts_are_by_status_and_reason():
    """Of a scan, a number of files at once."""
    counts = Counts()
    for outcome in OUTCOMES:
        counts(outcome)
    assert (counts.tagged, counts.unsure, counts.failed, counts.total) == (1, 1, 1, 3)
    assert counts.skipped == {"not-a-photo": 5}


def test_metrics_hear_what_happened():
    """As photos by status, and skips by reason."""
    metrics = Metrics()
    observers = Observers(count_in(metrics))
    for outcome in OUTCOMES:
        observers.publish(outcome)
    text = metrics.render().decode()
    assert 'pawtag_photos_total{source="folder",status="unsure"} 1.0' in text
    assert 'pawtag_photos_skipped_total{reason="not-a-photo"} 5.0' in text


def test_the_log_of_an_unsure_photo_names_the_candidates(caplog):
    """Not "no pet"."""
    scores = {"species": {"cat": 0.49, "dog": 0.39, "none": 0.08}}
    with caplog.at_level("INFO", logger="pawtag"):
        log_results(PhotoTagged(REF, record_for(REF, status="unsure", tags=(), scores=scores), 0.1))
    assert "unsure: cat 0.49 or dog 0.39" in caplog.text


def test_W08_a_fault_that_stays_is_said_once_whatever_succeeds_meanwhile(caplog, monkeypatch):
    """Photos of another folder are tagged between; hours later the warning still stands alone."""
    caplog.set_level(logging.WARNING)
    times = iter(range(0, 1_000_000, 60))
    monkeypatch.setattr("pawtag.pipeline.observers.time.monotonic", lambda: next(times))
    retries = RetryLog()
    for number in range(50):
        retries(PhotoRetrying(PhotoRef(f"/full/{number}.jpg"), "No space is left.", 1.0))
        retries(PhotoSkipped("current", ref=PhotoRef(f"/well/{number}.jpg")))
    assert caplog.text.count("No space is left.") == 1


def test_W08_a_fault_that_begins_just_after_another_is_said_later(caplog, monkeypatch):
    """Not at once, for a store that fails may say a hundred things; but it is not forgotten."""
    caplog.set_level(logging.WARNING)
    now_s = [100.0]
    monkeypatch.setattr("pawtag.pipeline.observers.time.monotonic", lambda: now_s[0])
    retries = RetryLog()
    retries(PhotoRetrying(PhotoRef("/a/1.jpg"), "Full.", 1.0))
    now_s[0] += 5
    retries(PhotoRetrying(PhotoRef("/b/1.jpg"), "Denied.", 1.0))
    assert "Denied." not in caplog.text
    now_s[0] += 30
    retries(PhotoRetrying(PhotoRef("/b/1.jpg"), "Denied.", 1.0))
    assert "Denied." in caplog.text
