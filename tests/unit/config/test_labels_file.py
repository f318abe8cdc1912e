"""The labels file: what is read, and what is refused."""

import filecmp
from pathlib import Path

import pytest

from pawtag.config.labels_file import PACKAGED, find_shared_labels, load_labels
from pawtag.domain.errors import ConfigError
from support.paths import ROOT

MINIMAL = 'templates = ["a photo of a {}"]\n[groups.species]\nlabels.cat = ["cat"]\nlabels.dog = ["dog", "puppy"]\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "labels.toml"
    path.write_text(text, "utf-8")
    return path


def test_the_packaged_labels_are_the_nine_species_and_three_coats(labels):
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


def test_the_files_in_config_equal_the_packaged_ones():
    """config/labels.toml and everyday.txt are the packaged defaults, byte for byte."""
    _, different, missing = filecmp.cmpfiles(
        ROOT / "config", PACKAGED.parent, ["labels.toml", "everyday.txt"], shallow=False
    )
    assert not different
    assert not missing


def test_words_come_from_a_file_next_to_the_labels_file(tmp_path):
    """A label whose words are a file's name gets its lines, without comments and blanks."""
    (tmp_path / "things.txt").write_text("# no pets\nchair\n\n table \n")
    path = written(tmp_path, MINIMAL + 'labels.none = "things.txt"\n')
    assert load_labels(path).groups["species"].labels["none"] == ("chair", "table")


def test_a_word_changes_the_fingerprint_and_a_comment_does_not(tmp_path):
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
        (MINIMAL + "many = true\n", "allowed are applies_to, labels, multi_label, templates, thresholds"),
        (MINIMAL + "thresholds.cow = 0.5\n", "'cow' is no label"),
        (MINIMAL + "thresholds.cat = 1.5\n", "thresholds.cat"),
        (MINIMAL + 'labels.none = "absent.txt"\n', "absent.txt does not exist"),
        (MINIMAL + '[groups.coat]\napplies_to.species = ["cow"]\nlabels.long = ["long"]\n', "'cow' is no label"),
        (
            MINIMAL + '[groups.coat]\napplies_to.colour = ["cat"]\nlabels.long = ["long"]\n',
            "is not a group above this one",
        ),
        ('templates = ["{}"]\n[groups]\n', "groups"),
    ],
)
def test_M09_an_invalid_labels_file_is_an_error_that_names_the_place(tmp_path, text, said):
    """Each mistake is one clear sentence with the file and the place."""
    with pytest.raises(ConfigError) as error:
        load_labels(written(tmp_path, text))
    assert said in str(error.value)
    assert "labels" in str(error.value) or "absent.txt" in str(error.value)


def test_a_word_of_a_label_is_taken_out_of_none(tmp_path):
    """everyday.txt has the guinea pig; whoever asks for it must not be told that it is no pet."""
    (tmp_path / "everyday.txt").write_text("chair\nGuinea Pig\nferret\n")
    text = MINIMAL + 'labels.guinea-pig = ["guinea pig"]\nlabels.none = "everyday.txt"\n'
    found = load_labels(written(tmp_path, text))
    assert found.groups["species"].labels["none"] == ("chair", "ferret")
    assert "guinea pig" in (PACKAGED.parent / "everyday.txt").read_text()


def test_labels_that_two_groups_share_are_found(tmp_path):
    """A correction by the bare label could mean either."""
    text = MINIMAL + '[groups.place]\nlabels.cat = ["cat tree"]\nlabels.sofa = ["sofa"]\n'
    assert find_shared_labels(load_labels(written(tmp_path, text))) == {"cat": ["species", "place"]}
    assert find_shared_labels(load_labels(None)) == {}


def test_a_byte_order_mark_changes_no_label(tmp_path):
    """Windows editors begin a file with one: in a word list it would make the first comment a word."""
    text = MINIMAL + 'labels.none = "everyday.txt"\n'
    (tmp_path / "everyday.txt").write_text("# things\ncup\ntable\n", "utf-8")
    plain = load_labels(written(tmp_path, text))
    (tmp_path / "everyday.txt").write_text("# things\ncup\ntable\n", "utf-8-sig")
    (tmp_path / "labels.toml").write_text(text, "utf-8-sig")
    assert load_labels(tmp_path / "labels.toml").fingerprint == plain.fingerprint
