"""What corrections say of a model."""

import pytest

from pawtag.domain.errors import ConfigError
from pawtag.domain.labels import Thresholds
from pawtag.inference.correction_report import build_correction_report
from support.doubles import COLOURS
from support.records import record_for

GROUP = COLOURS.groups["species"]


class Ref:
    size_bytes, mtime_ns = 1, 1


def record(red: float, green: float, corrected=None, status="tagged"):
    scores = {"species": {"red": red, "green": green, "none": round(1 - red - green, 4)}}
    return record_for(Ref(), scores=scores, corrected=corrected, status=status)


def test_wrong_and_missed_labels_are_counted():
    """By the model's own tags, which the scores keep; a photo that nobody corrected is right."""
    report = build_correction_report(
        [
            record(0.9, 0.1),
            record(0.9, 0.1, {"species": ["green"]}),
            record(0.8, 0.1, {"species": []}),
            record(0.1, 0.1, {"species": ["green"]}),
            record(0.6, 0.3, {"coat": []}),
        ],
        GROUP,
        Thresholds(),
    )
    assert report.corrected == 3
    assert dict(report.given) == {"red": 4}
    assert dict(report.taken) == {"red": 2}
    assert dict(report.added) == {"green": 2}


def test_unsure_photos_that_nobody_corrected_say_nothing():
    """Nor do those that failed."""
    failed = record_for(Ref(), scores={}, status="failed", tags=())
    assert not build_correction_report([record(0.45, 0.4, status="unsure"), failed], GROUP, Thresholds()).photos


def test_the_threshold_that_would_have_been_right_is_found():
    """Photos below 0.7 were no pets: a threshold above it is right for all."""
    wrong = [record(0.55 + number / 200, 0.02, {"species": []}) for number in range(25)]
    right = [record(0.85, 0.02) for _ in range(40)]
    report = build_correction_report([*wrong, *right], GROUP, Thresholds(tag=0.5))
    assert report.count_right(0.5, 0.5) == 40
    best = report.find_threshold(Thresholds(tag=0.5))
    assert 0.68 < best < 0.85
    assert report.count_right(best, 0.5) == 65


def test_a_threshold_that_is_right_stays():
    """Equals do not move it."""
    confirmed = [record(0.9, 0.05, {"species": ["red"]}) for _ in range(20)]
    assert build_correction_report(confirmed, GROUP, Thresholds(tag=0.5)).find_threshold(Thresholds(tag=0.5)) == 0.5


def test_a_few_corrections_move_no_threshold():
    """Twenty are needed."""
    few = [record(0.9, 0.05, {"species": ["green"]}) for _ in range(19)]
    with pytest.raises(ConfigError, match="19 photos have a corrected species; a threshold needs 20"):
        build_correction_report(few, GROUP, Thresholds()).find_threshold(Thresholds())
