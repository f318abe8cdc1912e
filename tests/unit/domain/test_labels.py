"""Labels: prompts of the groups, and the ranked list."""

from pawtag.domain.labels import Group, Thresholds, rank_labels
from pawtag.inference.scoring import choose_tags


def test_a_coat_is_asked_about_each_species_by_name(labels):
    """A template's {species} is filled with the label that the group is asked about."""
    assert dict(labels.prompt_sets())["coat", "rabbit"][0] == ["a photo of a long-haired rabbit"]


def test_the_list_for_http_mixes_groups_best_first_without_none():
    """Labels below min_score and `none` are left out; `tagged` says which are tags."""
    scores = {"species": {"cat": 0.9, "dog": 0.005, "none": 0.095}, "coat": {"long-hair": 0.95}}
    group = Group(labels={"cat": ["cat"], "dog": ["dog"], "none": ["x"]})
    rows = rank_labels(scores, tuple(choose_tags("species", group, scores["species"], Thresholds())), 0.01)
    assert [(row["label"], row["tagged"]) for row in rows] == [("long-hair", False), ("cat", True)]
