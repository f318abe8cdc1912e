"""Evaluation: counts on labelled photos, and calibration."""

import numpy as np
import pytest

from pawtag.domain.errors import ConfigError
from pawtag.domain.labels import Labels, Thresholds
from pawtag.inference.evaluation import (
    MIN_PHOTOS,
    EmbeddedPhoto,
    LabelledPhoto,
    calibrate,
    compute_calibration_error,
    predict,
    read_labelled_photos,
    summarise_predictions,
)
from pawtag.inference.group_table import build_group_table, format_group_table
from pawtag.inference.scoring import embed_words, list_prompts
from support.doubles import COLOURS, ColourEngine

MODEL = ColourEngine()
VOCABULARY = embed_words(COLOURS, MODEL.embed_text(list_prompts(COLOURS)))
RED, GREEN, BLUE = np.eye(3, dtype=np.float32)


def seen(species: str, embedding) -> EmbeddedPhoto:
    return EmbeddedPhoto(
        LabelledPhoto(f"{species}.jpg", {"species": species}),
        (embedding / np.linalg.norm(embedding)).astype(np.float32),
    )


def evaluated(photos, thresholds=None):
    return predict(photos, VOCABULARY, MODEL, thresholds or Thresholds())


def test_right_and_wrong_are_counted():
    """Pets tagged right, false pets, and the best of the pets where no tag was given."""
    photos = evaluated([seen("red", RED), seen("green", BLUE), seen("none", BLUE), seen("none", GREEN)])
    found = summarise_predictions(photos)
    assert found["pets tagged right"] == "1 of 2 (50.0 %)"
    assert found["no pet, called a pet"] == "1 of 2 (50.0 %)"
    assert [photo.is_right for photo in photos] == [True, False, True, False]


def test_a_calibrated_model_has_no_calibration_error():
    """And one that is sure and wrong has all of it."""
    assert compute_calibration_error(evaluated([seen("red", RED)] * 10)) == pytest.approx(0, abs=0.01)
    assert compute_calibration_error(evaluated([seen("green", RED)] * 10)) == pytest.approx(1, abs=0.01)


def mixed(count: int = 60):
    """Photos whose colours lie about their species now and then, and that are surer than they should be."""
    random = np.random.default_rng(5)
    photos = []
    for number in range(count):
        truth, colour = [("red", RED), ("green", GREEN), ("none", BLUE)][number % 3]
        photos.append(seen(truth, colour + random.random(3).astype(np.float32) * 1.3))
    return photos


def test_calibration_does_not_make_a_model_worse():
    """Its scores are as true or truer; as many or more photos come out right."""
    photos = mixed()
    now = Thresholds(tag=0.9, secondary=0.25)
    calibrated = calibrate(photos, VOCABULARY, MODEL, now)
    assert sum(photo.is_right for photo in evaluated(photos, calibrated)) >= sum(
        photo.is_right for photo in evaluated(photos, now)
    )
    assert compute_calibration_error(evaluated(photos, calibrated)) <= compute_calibration_error(evaluated(photos, now))


@pytest.mark.parametrize("photos", [mixed(MIN_PHOTOS - 1), [seen("red", RED)] * 30, [seen("none", BLUE)] * 30])
def test_too_few_photos_are_not_calibrated(photos):
    """Nor do photos of pets alone, or of none."""
    with pytest.raises(ConfigError, match="at least"):
        calibrate(photos, VOCABULARY, MODEL, Thresholds())


def test_labelled_photos_are_read_from_a_csv(tmp_path):
    """Other columns are named; a group may be left out of a row."""
    (tmp_path / "labels.csv").write_text("\ufefffile,note,species\na.jpg,hm,red\nb.jpg,,none\n", "utf-8")
    table = read_labelled_photos(tmp_path / "labels.csv", COLOURS)
    assert [(photo.file, photo.species) for photo in table.photos] == [("a.jpg", "red"), ("b.jpg", "none")]
    assert (table.groups, table.other_columns) == (("species",), ("note",))


def test_a_table_may_have_any_group(tmp_path):
    """Without a species, too; an empty cell says nothing."""
    place = {"templates": ["a photo of {}"], "groups": {"place": {"labels": {"indoors": ["room"], "out": ["field"]}}}}
    (tmp_path / "labels.csv").write_text("file,place\na.jpg,indoors\nb.jpg,\n")
    table = read_labelled_photos(tmp_path / "labels.csv", Labels.model_validate(place))
    assert [photo.labels for photo in table.photos] == [{"place": "indoors"}, {}]


def test_a_group_table_says_what_each_label_got():
    """Right ones, other labels and no tag; a photo without a pet is right without a tag."""
    photos = evaluated(
        [
            seen("red", RED),
            seen("red", RED),
            seen("red", GREEN),
            seen("green", BLUE),
            seen("none", BLUE),
            seen("none", RED),
        ]
    )
    rows = build_group_table(photos, "species")
    assert [(row.label, row.photos, row.right, dict(row.instead)) for row in rows] == [
        ("red", 3, 2, {"green": 1}),
        ("green", 1, 0, {"no tag": 1}),
        ("none", 2, 1, {"red": 1}),
    ]
    text = format_group_table("species", rows)
    assert "red           3      2 (67 %)  green 1" in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,species\na.jpg,unicorn\n", "line 2: 'unicorn'"),
        ("file,species\na.jpg,\n", "line 2: ''"),
        ("name\nx\n", "columns"),
        ("file,plce\nx,y\n", "another group"),
        ("", "columns"),
    ],
)
def test_a_wrong_csv_is_named_with_its_line(tmp_path, text, said):
    """And what is allowed."""
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_labelled_photos(tmp_path / "labels.csv", COLOURS)
