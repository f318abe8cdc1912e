"""Scoring: logits to scores, scores to tags."""

import math

import numpy as np
import pytest

from pawtag.domain.labels import Group, Thresholds
from pawtag.inference.scoring import choose_tags, embed_words, judge_pet, list_prompts, score_labels, softmax_labels
from support.doubles import COLOURS, ColourEngine

SEVERAL = COLOURS.model_copy(
    update={"groups": {"species": COLOURS.groups["species"].model_copy(update={"multi_label": True})}}
)
VOCABULARY = embed_words(SEVERAL, ColourEngine().embed_text(list_prompts(SEVERAL)))


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


def embedding(red: float, green: float, blue: float) -> np.ndarray:
    vector = np.array([red, green, blue], np.float32)
    return vector / np.linalg.norm(vector)


def score_with_parts(whole, views, **thresholds):
    return score_labels(whole, VOCABULARY, ColourEngine(), Thresholds(**thresholds), views)


def test_a_part_adds_the_tag_of_an_animal_that_the_whole_does_not_show():
    """With its own score; the first tag stays, in the order of the scores."""
    found = score_with_parts(embedding(1, 0.9, 0.1), [embedding(0.1, 1, 0), embedding(1, 0.9, 0)], parts=0.98)
    assert [tag.label for tag in found.tags] == ["green", "red"]
    assert all(found.scores["species"][tag.label] == tag.score for tag in found.tags)
    assert found.status == "tagged"


def test_a_part_that_is_not_sure_adds_nothing():
    """Nor does a part of a photo whose parts are not looked at."""
    doubtful = embedding(0.9, 1, 0)
    assert [tag.label for tag in score_with_parts(embedding(1, 0, 0), [doubtful], parts=0.98).tags] == ["red"]
    assert [tag.label for tag in score_with_parts(embedding(1, 0, 0), [], parts=None).tags] == ["red"]


def test_an_animal_in_a_part_alone_makes_the_photo_one_of_a_pet():
    """The whole shows none; its doubtful label does not become a tag."""
    found = score_with_parts(embedding(0.95, 0.1, 1), [embedding(0, 1, 0)], parts=0.98)
    assert [tag.label for tag in found.tags] == ["green"]
    assert found.status == "tagged"
    assert found.scores["species"]["none"] <= 0.02


def test_a_labels_own_threshold_holds_for_parts_too():
    """A label that is seen in everything needs more."""
    part = embedding(0.1, 1, 0.75)
    assert len(score_with_parts(embedding(1, 0, 0), [part], parts=0.9).tags) == 2
    assert [
        tag.label for tag in score_with_parts(embedding(1, 0, 0), [part], parts=0.9, labels={"green": 0.999}).tags
    ] == ["red"]


def test_groups_with_one_tag_are_asked_about_the_whole_alone():
    """A second coat would be no coat."""
    single = COLOURS.model_copy(
        update={"groups": {"species": COLOURS.groups["species"].model_copy(update={"multi_label": False})}}
    )
    vocabulary = embed_words(single, ColourEngine().embed_text(list_prompts(single)))
    found = score_labels(embedding(1, 0, 0), vocabulary, ColourEngine(), Thresholds(parts=0.9), [embedding(0, 1, 0)])
    assert [tag.label for tag in found.tags] == ["red"]
