"""labels: the file, the prompts, the shares and the tags."""

import filecmp
import math
from pathlib import Path

import numpy as np
import pytest

from pawtag.config.labels_file import PACKAGED, load_labels
from pawtag.domain.errors import ConfigError
from pawtag.domain.labels import Group, Thresholds, rank_labels
from pawtag.inference.scoring import choose_tags, softmax_labels

ROOT = Path(__file__).parents[2]
MINIMAL = 'templates = ["a photo of a {}"]\n[groups.species]\nlabels.cat = ["cat"]\nlabels.dog = ["dog", "puppy"]\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "labels.toml"
    path.write_text(text, "utf-8")
    return path


def test_the_labels_that_ship_are_the_nine_species_and_three_coats(labels):
    """The packaged labels hold what the user asked for."""
    species, coat = labels.groups["species"], labels.groups["coat"]
    assert list(species.labels) == [
        "cat",
        "dog",
        "hamster",
        "rabbit",
        "bird",
        "fish",
        "turtle",
        "snake",
        "lizard",
        "none",
    ]
    assert list(coat.labels) == ["long-hair", "medium-hair", "short-hair"]
    assert len(species.labels["none"]) > 500


def test_the_files_in_config_are_those_that_ship():
    """config/labels.toml and everyday.txt are the packaged defaults, byte for byte."""
    _, different, missing = filecmp.cmpfiles(
        ROOT / "config", PACKAGED.parent, ["labels.toml", "everyday.txt"], shallow=False
    )
    assert not different
    assert not missing


def test_a_coat_is_asked_about_each_species_by_name(labels):
    """A template's {species} is filled with the label that the group is asked about."""
    assert dict(labels.prompt_sets())["coat", "rabbit"][0] == ["a photo of a long-haired rabbit"]


def test_words_come_from_a_file_beside_the_labels(tmp_path):
    """A label whose words are a file's name gets its lines, without comments and blanks."""
    (tmp_path / "things.txt").write_text("# no pets\nchair\n\n table \n")
    path = written(tmp_path, MINIMAL + 'labels.none = "things.txt"\n')
    assert load_labels(path).groups["species"].labels["none"] == ("chair", "table")


def test_a_comment_changes_no_fingerprint_and_a_word_does(tmp_path):
    """The fingerprint is of the parsed labels."""
    first = load_labels(written(tmp_path, MINIMAL)).fingerprint
    assert load_labels(written(tmp_path, "# a comment\n" + MINIMAL)).fingerprint == first
    assert load_labels(written(tmp_path, MINIMAL.replace("puppy", "hound"))).fingerprint != first


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("templates = 1 1\n", "line 1"),
        (MINIMAL.replace('["cat"]', "[]"), "groups.species.labels.cat"),
        (MINIMAL.replace("{}", "pet"), "has no {}"),
        (MINIMAL + "surprise = 1\n", "surprise"),
        (MINIMAL + "thresholds.cow = 0.5\n", "'cow' is no label"),
        (MINIMAL + "thresholds.cat = 1.5\n", "thresholds.cat"),
        (MINIMAL + 'labels.none = "absent.txt"\n', "absent.txt does not exist"),
        (MINIMAL + '[groups.coat]\napplies_to.species = ["cow"]\nlabels.long = ["long"]\n', "'cow' is no label"),
        (
            MINIMAL + '[groups.coat]\napplies_to.colour = ["cat"]\nlabels.long = ["long"]\n',
            "no group that stands above",
        ),
        ('templates = ["{}"]\n[groups]\n', "groups"),
    ],
)
def test_a_wrong_file_is_named_with_the_place(tmp_path, text, said):
    """Each mistake is one clear sentence with the file and the place."""
    with pytest.raises(ConfigError) as error:
        load_labels(written(tmp_path, text))
    assert said in str(error.value)
    assert "labels" in str(error.value) or "absent.txt" in str(error.value)


def test_shares_follow_the_formula_and_add_up_to_one():
    """log sum exp over a label's words, less half the logarithm of their number, then softmax."""
    found = softmax_labels(np.array([2.0, 1.0, 3.0], np.float32), [1, 2], temperature=1.0)
    first, second = 2.0, math.log(math.e**1 + math.e**3) - 0.5 * math.log(2)
    assert found.sum() == pytest.approx(1)
    assert found[0] == pytest.approx(1 / (1 + math.exp(second - first)), abs=1e-6)


def test_huge_logits_do_not_overflow():
    """Logits of a hundred, as CLIP's, give finite shares."""
    assert np.isfinite(softmax_labels(np.array([1000.0, -1000.0, 990.0], np.float32), [1, 1, 1], 1.0)).all()


@pytest.mark.parametrize(
    ("scores", "tags"),
    [
        ({"cat": 0.7, "dog": 0.28, "none": 0.02}, ["cat", "dog"]),
        ({"cat": 0.7, "dog": 0.2, "none": 0.1}, ["cat"]),
        ({"cat": 0.49, "dog": 0.4, "none": 0.11}, []),
        ({"cat": 0.45, "dog": 0.05, "none": 0.5}, []),
        ({"dog": 0.55, "none": 0.35, "cat": 0.1}, []),
    ],
)
def test_the_best_label_is_a_tag_at_its_threshold(scores, tags):
    """`none` is never a tag, further labels need 0.25, and a label's own threshold holds."""
    group = Group(labels={"cat": ["cat"], "dog": ["dog"], "none": ["x"]}, multi_label=True, thresholds={"dog": 0.6})
    assert [tag.label for tag in choose_tags("species", group, scores, Thresholds())] == tags


def test_the_list_for_http_mixes_groups_best_first_without_none():
    """Labels below min_score and `none` are left out; `tagged` says which are tags."""
    scores = {"species": {"cat": 0.9, "dog": 0.005, "none": 0.095}, "coat": {"long-hair": 0.95}}
    group = Group(labels={"cat": ["cat"], "dog": ["dog"], "none": ["x"]})
    rows = rank_labels(scores, tuple(choose_tags("species", group, scores["species"], Thresholds())), 0.01)
    assert [(row["label"], row["tagged"]) for row in rows] == [("long-hair", False), ("cat", True)]


def test_a_models_own_threshold_of_a_label_holds_unless_the_labels_file_has_one():
    """What was measured for a model applies to it; what a user wrote wins."""
    measured, scores = Thresholds(labels={"dog": 0.9}), {"dog": 0.8, "cat": 0.2}
    labels = {"cat": ["cat"], "dog": ["dog"]}
    assert choose_tags("species", Group(labels=labels), scores, measured) == []
    assert choose_tags("species", Group(labels=labels, thresholds={"dog": 0.7}), scores, measured)
