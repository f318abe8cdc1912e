"""Scoring: logits to scores, scores to tags."""

import math

import numpy as np
import pytest

from pawtag.domain.labels import Group, Thresholds
from pawtag.inference.scoring import choose_tags, judge_pet, softmax_labels


def test_scores_follow_the_formula_and_add_up_to_one():
    """log sum exp over a label's words, less half the logarithm of their number, then softmax."""
    found = softmax_labels(np.array([2.0, 1.0, 3.0], np.float32), [1, 2], temperature=1.0)
    first, second = 2.0, math.log(math.e**1 + math.e**3) - 0.5 * math.log(2)
    assert found.sum() == pytest.approx(1)
    assert found[0] == pytest.approx(1 / (1 + math.exp(second - first)), abs=1e-6)


def test_huge_logits_do_not_overflow():
    """Logits of a hundred, as CLIP's, give finite scores."""
    assert np.isfinite(softmax_labels(np.array([1000.0, -1000.0, 990.0], np.float32), [1, 1, 1], 1.0)).all()


@pytest.mark.parametrize(
    ("scores", "tags"),
    [
        ({"cat": 0.7, "dog": 0.28, "none": 0.02}, ["cat", "dog"]),
        ({"cat": 0.7, "dog": 0.2, "none": 0.1}, ["cat"]),
        ({"cat": 0.49, "dog": 0.4, "none": 0.11}, []),
        ({"cat": 0.45, "dog": 0.05, "none": 0.5}, []),
        ({"dog": 0.55, "none": 0.35, "cat": 0.1}, []),
        ({"cat": 0.5, "none": 0.5, "dog": 0.0}, ["cat"]),
    ],
)
def test_the_best_label_is_a_tag_at_its_threshold(scores, tags):
    """`none` is never a tag, further labels need 0.25, and a label's own threshold holds."""
    group = Group(labels={"cat": ["cat"], "dog": ["dog"], "none": ["x"]}, multi_label=True, thresholds={"dog": 0.6})
    assert [tag.label for tag in choose_tags("species", group, scores, Thresholds())] == tags


def test_a_threshold_of_the_labels_file_wins_over_the_models_own():
    """What was measured for a model applies to it; what a user wrote wins."""
    measured, scores = Thresholds(labels={"dog": 0.9}), {"dog": 0.8, "cat": 0.2}
    labels = {"cat": ["cat"], "dog": ["dog"]}
    assert choose_tags("species", Group(labels=labels), scores, measured) == []
    assert choose_tags("species", Group(labels=labels, thresholds={"dog": 0.7}), scores, measured)


@pytest.mark.parametrize(
    ("scores", "status"),
    [
        ({"cat": 0.49, "dog": 0.39, "none": 0.08}, "unsure"),
        ({"cat": 0.2, "dog": 0.2, "none": 0.6}, "no-pet"),
        ({"cat": 0.9, "dog": 0.02, "none": 0.08}, "tagged"),
    ],
)
def test_a_pet_whose_species_is_not_sure_is_not_called_no_pet(scores, status):
    """`none` alone decides whether there is a pet."""
    group = Group(labels={"cat": ["cat"], "dog": ["dog"], "none": ["x"]})
    tags = choose_tags("species", group, scores, Thresholds())
    assert judge_pet(tags, {"species": scores}, Thresholds()) == status


def test_the_presence_threshold_decides_what_counts_as_a_pet():
    """A camera at a feeder may ask for more."""
    group, scores = Group(labels={"cat": ["cat"], "none": ["x"]}), {"cat": 0.6, "none": 0.4}
    strict = Thresholds(presence=0.8)
    assert choose_tags("species", group, scores, strict) == []
    assert judge_pet([], {"species": scores}, strict) == "no-pet"
