"""Corrections: what a person wrote overrules the model."""

import pytest

from pawtag.domain.corrections import apply_corrections
from pawtag.domain.records import Failure, ModelInfo, PhotoInfo, SourceInfo, Tag, TagRecord


def record(**changes) -> TagRecord:
    values = {
        "schema": "pawtag.record/1",
        "status": "tagged",
        "photo": PhotoInfo(name="a.jpg"),
        "tags": (Tag(label="cat", group="species", score=0.9), Tag(label="long-hair", group="coat", score=0.8)),
        "scores": {"species": {"cat": 0.9, "dog": 0.1}, "coat": {"long-hair": 0.8, "short-hair": 0.2}},
        "model": ModelInfo(id="m"),
        "labels": "l",
        "fingerprint": "b",
        "source": SourceInfo(kind="folder"),
        "tagged_at": "2026-11-23T12:00:00Z",
    }
    return TagRecord(**(values | changes))


def test_a_corrected_group_has_those_tags_and_no_others():
    """The labels that a person wrote, with score 1; other groups keep theirs."""
    found = apply_corrections(record(), {"species": ["dog", "rabbit"]})
    assert [(tag.label, tag.score) for tag in found.tags] == [("dog", 1.0), ("rabbit", 1.0), ("long-hair", 0.8)]
    assert found.corrected == {"species": ["dog", "rabbit"]}


def test_a_correction_to_no_species_makes_no_pet():
    """An empty list means that there is none."""
    assert apply_corrections(record(), {"species": [], "coat": []}).status == "no-pet"


def test_a_correction_to_a_species_makes_a_pet():
    """A label makes a photo without pet a tagged one."""
    assert apply_corrections(record(status="no-pet", tags=()), {"species": ["cat"]}).status == "tagged"


@pytest.mark.parametrize("nonsense", [None, "dog", 5, {"species": 5}, [1]])
def test_an_invalid_correction_changes_nothing(nonsense):
    """What is no correction is left out of account."""
    assert apply_corrections(record(), nonsense) == record()


def test_a_failed_photo_stays_failed():
    """A correction does not make a broken file readable."""
    failed = record(status="failed", tags=(), scores={}, error=Failure(code="truncated", message="cut"))
    assert apply_corrections(failed, {"species": ["cat"]}).status == "failed"
