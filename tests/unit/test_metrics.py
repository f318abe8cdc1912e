"""Metrics: the names of the contract."""

from prometheus_client.parser import text_string_to_metric_families

from pawtag.domain.records import ModelInfo
from pawtag.metrics import Metrics


def values(metrics: Metrics) -> dict[str, float]:
    """Every sample, by its name and labels."""
    return {
        sample.name + "".join(f" {key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def test_photos_are_counted_by_source_and_status():
    """A failed one is no success."""
    metrics = Metrics()
    metrics.count_photo("folder", "failed")
    assert values(metrics)["pawtag_last_success_timestamp_seconds"] == 0
    metrics.count_photo("folder", "tagged")
    metrics.count_photo("folder", "tagged")
    found = values(metrics)
    assert found["pawtag_photos_total source=folder status=tagged"] == 2
    assert found["pawtag_photos_total source=folder status=failed"] == 1
    assert found["pawtag_last_success_timestamp_seconds"] > 1_700_000_000


def test_there_is_one_model_at_a_time():
    """After a change the old one is gone from the metrics."""
    metrics = Metrics()
    metrics.set_model(ModelInfo(id="embedded", fallback=True, wanted="x"), "torch")
    metrics.set_model(ModelInfo(id="x", revision="abc"), "torch")
    models = [name for name in values(metrics) if name.startswith("pawtag_model_info")]
    assert models == ["pawtag_model_info engine=torch fallback=false id=x revision=abc"]


def test_gauges_are_read_when_they_are_scraped():
    """Depths and readiness are those of the moment."""
    metrics, depth = Metrics(), [3]
    metrics.watch_pending("folder", lambda: depth[0])
    metrics.watch(in_flight=lambda: 2, ready=lambda: False)
    assert values(metrics)["pawtag_photos_pending source=folder"] == 3
    depth[0] = 1
    found = values(metrics)
    assert found["pawtag_photos_pending source=folder"] == 1
    assert (found["pawtag_photos_in_flight"], found["pawtag_ready"]) == (2, 0)


def test_stages_are_timed_also_when_they_fail():
    """A histogram for each stage."""
    metrics = Metrics()
    try:
        with metrics.time_stage("decode"):
            raise ValueError
    except ValueError:
        pass
    assert values(metrics)["pawtag_stage_duration_seconds_count stage=decode"] == 1


def test_failures_begin_at_zero_for_each_code():
    """Prometheus sees no increase from nothing to the first value: an alert would miss a burst after the start."""
    lines = Metrics().render().decode().splitlines()
    assert 'pawtag_photos_failed_total{code="truncated"} 0.0' in lines
