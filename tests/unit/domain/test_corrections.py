"""Corrections: what a person wrote overrules the model."""

import pytest

from pawtag.domain.corrections import apply_corrections as apply_with_labels
from pawtag.domain.corrections import follows_corrections, is_of_another_photo, parse_corrections
from pawtag.domain.labels import Labels
from pawtag.domain.records import Failure, ModelInfo, PhotoInfo, SourceInfo, Stamp, Tag, TagRecord

LABELS = Labels.model_validate(
    {
        "templates": ["a {}"],
        "groups": {
            "species": {
                "labels": {"cat": ["cat"], "dog": ["dog"], "rabbit": ["rabbit"], "fish": ["fish"], "none": ["x"]}
            },
            "coat": {"labels": {"long-hair": ["l"], "short-hair": ["s"]}, "applies_to": {"species": ["cat", "dog"]}},
        },
    }
)


def apply_corrections(record, corrections):
    return apply_with_labels(record, corrections, LABELS)


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
    assert [(tag.label, tag.score) for tag in found.tags] == [("dog", 1.0), ("rabbit", 1.0)]
    assert found.corrected == {"species": ["dog", "rabbit"]}


def test_a_correction_to_no_species_makes_no_pet():
    """An empty list means that there is none."""
    assert apply_corrections(record(), {"species": [], "coat": []}).status == "no-pet"


def test_a_correction_to_a_species_makes_a_pet():
    """A label makes a photo without pet a tagged one."""
    assert apply_corrections(record(status="no-pet", tags=()), {"species": ["cat"]}).status == "tagged"


@pytest.mark.parametrize("species", [["fish"], []])
def test_a_corrected_species_drops_tags_of_groups_that_do_not_apply(species):
    """A fish has no coat, and what is no pet has none."""
    assert [tag.label for tag in apply_corrections(record(), {"species": species}).tags] == species


@pytest.mark.parametrize(
    ("written", "by_group"),
    [
        (None, None),
        ({"species": ["dog"]}, {"species": ["dog"]}),
        ({"species": "dog"}, {"species": ["dog"]}),
        ({"species": "none"}, {"species": []}),
        (["dog", "long-hair"], {"species": ["dog"], "coat": ["long-hair"]}),
        ("dog", {"species": ["dog"]}),
    ],
)
def test_a_correction_is_understood_in_each_form(written, by_group):
    """A bare label names its group by itself."""
    assert parse_corrections(written, LABELS).by_group == by_group
    assert parse_corrections(written, LABELS).problems == ()


@pytest.mark.parametrize("nonsense", [5, {"species": 5}, [1], ["ferret"], [["dog"]], {"species": [["dog"]]}])
def test_what_is_no_correction_is_refused_with_the_right_form(nonsense):
    """It is never passed over in silence."""
    parsed = parse_corrections(nonsense, LABELS)
    assert parsed.by_group is None
    assert '{"species": ["dog"]}' in parsed.problems[0]


@pytest.mark.parametrize(
    ("written", "problem"),
    [({"species": ["ferret"]}, "known are cat, dog, rabbit, fish"), ({"kind": ["dog"]}, "known are species, coat")],
)
def test_an_unknown_label_or_group_holds_and_is_named(written, problem):
    """A person may know more than the labels do, or has mistyped."""
    parsed = parse_corrections(written, LABELS)
    assert parsed.by_group == written
    assert problem in parsed.problems[0]


def test_a_record_follows_its_corrections_or_not():
    """Also one whose correction was taken back does not."""
    corrected = apply_corrections(record(), {"species": ["dog"]})
    assert follows_corrections(corrected, {"species": ["dog"]}, LABELS)
    assert not follows_corrections(corrected, None, LABELS)
    assert not follows_corrections(record(), {"species": ["dog"]}, LABELS)


def test_a_failed_photo_stays_failed():
    """A correction does not make a broken file readable."""
    failed = record(status="failed", tags=(), scores={}, error=Failure(code="truncated", message="cut"))
    assert apply_corrections(failed, {"species": ["cat"]}).status == "failed"


def test_a_coat_that_was_asked_about_another_species_goes_with_it():
    """The model was asked about a long-haired cat; the dog's coat is not known. A second time changes nothing."""
    corrected = apply_corrections(record(), {"species": ["dog"]})
    assert [tag.label for tag in corrected.tags] == ["dog"]
    assert apply_corrections(corrected, {"species": ["dog"]}) == corrected
    assert [tag.label for tag in apply_corrections(record(), {"species": ["cat"]}).tags] == ["cat", "long-hair"]
    assert apply_corrections(record(), {"species": []}).tags == ()


@pytest.mark.parametrize(
    ("before", "now", "is_another"),
    [("2026:01:01 10:00:00", "2026:02:02 10:00:00", True), ("2026", "2026", False), (None, "2026", False)],
)
def test_F26_a_correction_is_of_another_photo_if_both_tell_when_they_were_taken(before, now, is_another):
    """Keywords and a rotation leave that time; without it nothing is known."""
    stamp = Stamp.from_record(record(photo=PhotoInfo(name="a.jpg", taken_at=before)))
    assert is_of_another_photo(stamp, record(photo=PhotoInfo(name="a.jpg", taken_at=now))) is is_another
    assert not is_of_another_photo(stamp, record(photo=PhotoInfo(name="a.jpg")))
    assert not is_of_another_photo(None, record())


@pytest.mark.parametrize("written", [{"species": ["Dog "]}, {"species": "DOG"}, ["dog"], " dog"])
def test_case_and_spaces_of_a_label_do_not_matter(written):
    """A person types as people do."""
    parsed = parse_corrections(written, LABELS)
    assert parsed.by_group == {"species": ["dog"]}
    assert parsed.problems == ()
