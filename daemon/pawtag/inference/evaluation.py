"""Evaluation of a model on labelled photos, and calibration: which threshold and temperature suit it."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pawtag.domain.errors import ConfigError
from pawtag.domain.labels import NONE, Labels, Thresholds
from pawtag.domain.pictures import Floats
from pawtag.domain.ports import Engine
from pawtag.domain.records import PET_GROUP
from pawtag.inference.scoring import ScoredLabels, Vocabulary, compute_presence, multiply, score_labels

FILE_COLUMN, COAT_GROUP = "file", "coat"
CALIBRATION_BINS = 5
MIN_PHOTOS = 20
CANDIDATE_TEMPERATURES = tuple(float(value) for value in np.geomspace(0.25, 8, 41))
CANDIDATE_THRESHOLDS = tuple(float(value) for value in np.linspace(0.05, 0.99, 95))
MIN_PROBABILITY = 1e-6


@dataclass(frozen=True, slots=True)
class LabelledPhoto:
    """A person's label for each group of a photo; `none`: it shows nothing of the group. Unknown groups are absent."""

    file: str
    labels: Mapping[str, str]

    @property
    def species(self) -> str:
        """`none` without a pet; empty where the table has no species."""
        return self.labels.get(PET_GROUP, "")

    @property
    def coat(self) -> str:
        """Empty where it is not known."""
        return self.labels.get(COAT_GROUP, "")


@dataclass(frozen=True, slots=True)
class LabelledTable:
    """The photos of a table, the groups that it has columns for, and columns that are no group."""

    photos: list[LabelledPhoto]
    groups: tuple[str, ...]
    other_columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EmbeddedPhoto:
    """A labelled photo with its embedding, a unit vector (D,), and those of its parts, if they are looked at."""

    expected: LabelledPhoto
    embedding: Floats
    parts: tuple[Floats, ...] = ()


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model predicts for a labelled photo. `coat`: the logits of the coats for the true species.

    The properties are about species.
    """

    expected: LabelledPhoto
    scored: ScoredLabels
    coat: dict[str, float]

    @property
    def tags(self) -> list[str]:
        """The species tags."""
        return [tag.label for tag in self.scored.tags if tag.group == PET_GROUP]

    @property
    def is_right(self) -> bool:
        """Whether the first species tag is the expected one; without a pet, whether there is no tag."""
        return self.tags[:1] == ([] if self.expected.species == NONE else [self.expected.species])

    @property
    def best(self) -> str:
        """The best label, `none` included."""
        return _best_label(self.scored.scores[PET_GROUP])

    @property
    def best_pet(self) -> str:
        """The best label other than `none`."""
        return _best_label({label: score for label, score in self.scored.scores[PET_GROUP].items() if label != NONE})


def read_labelled_photos(path: Path, labels: Labels) -> LabelledTable:
    """The rows of a CSV with the column `file`, and a column for each labelled group. Raises ConfigError.

    An empty cell means that the label is unknown; the column `species` must not have empty cells.
    """
    try:
        rows = list(csv.DictReader(path.read_text("utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"The labelled photos {path} cannot be read: {error}.") from error
    columns = [column for column in (rows[0] if rows else ()) if column]
    groups = tuple(name for name in labels.groups if name in columns)
    if FILE_COLUMN not in columns or not groups:
        known = ", ".join(labels.groups)
        raise ConfigError(f"{path} needs a first line with the columns file and species, or another group ({known}).")
    photos = [
        LabelledPhoto(row[FILE_COLUMN], _read_labels(row, groups, labels, f"{path}, line {number}"))
        for number, row in enumerate(rows, 2)
    ]
    others = tuple(column for column in columns if column not in (FILE_COLUMN, *groups))
    return LabelledTable(photos, groups, others)


def _read_labels(row: Mapping[str, str | None], groups: Sequence[str], labels: Labels, place: str) -> dict[str, str]:
    given = {group: row.get(group) or "" for group in groups}
    for group, label in given.items():
        allowed = sorted({NONE, *labels.groups[group].labels})
        if label not in allowed and (label or group == PET_GROUP):
            raise ConfigError(f"{place}: {label!r} is none of {', '.join(allowed)}.")
    return {group: label for group, label in given.items() if label}


def predict(
    photos: Sequence[EmbeddedPhoto], vocabulary: Vocabulary, engine: Engine, thresholds: Thresholds
) -> list[Prediction]:
    """The prediction for each photo."""
    return [
        Prediction(
            photo.expected,
            score_labels(photo.embedding, vocabulary, engine, thresholds, photo.parts),
            _score_coat(photo, vocabulary, engine),
        )
        for photo in photos
    ]


def summarise_predictions(photos: Sequence[Prediction]) -> dict[str, str]:
    """The figures by name, as text for people."""
    pets = [photo for photo in photos if photo.expected.species != NONE]
    others = [photo for photo in photos if photo.expected.species == NONE]
    coated = [photo for photo in pets if photo.coat and photo.expected.coat in ("long-hair", "short-hair")]
    medium = [photo for photo in pets if photo.coat and photo.expected.coat == "medium-hair"]
    return {
        "the right species has the highest score": _format_share(
            sum(photo.best_pet == photo.expected.species for photo in pets), len(pets)
        ),
        "pets tagged right": _format_share(sum(photo.is_right for photo in pets), len(pets)),
        "pets left unsure": _format_share(sum(photo.scored.status == "unsure" for photo in pets), len(pets)),
        "no pet, called a pet": _format_share(sum(bool(photo.tags) for photo in others), len(others)),
        "coat: long and short hair told apart": _format_share(
            sum(_predict_long_or_short(photo) == photo.expected.coat for photo in coated), len(coated)
        ),
        "photos of medium hair tagged medium-hair": _format_share(
            sum(_best_label(photo.coat) == photo.expected.coat for photo in medium), len(medium)
        ),
        "expected calibration error": f"{compute_calibration_error(photos):.3f}",
    }


def compute_calibration_error(photos: Sequence[Prediction]) -> float:
    """Expected calibration error of the best label's score, in bins of equal mass (Nixon et al. 2019)."""
    scores = np.array([max(photo.scored.scores[PET_GROUP].values()) for photo in photos])
    hits = np.array([photo.best == photo.expected.species for photo in photos])
    bins = np.array_split(np.argsort(scores), min(CALIBRATION_BINS, len(photos)))
    return float(sum(abs(scores[each].mean() - hits[each].mean()) * len(each) for each in bins) / len(photos))


def calibrate(
    photos: Sequence[EmbeddedPhoto], vocabulary: Vocabulary, engine: Engine, current: Thresholds
) -> Thresholds:
    """The temperature with the lowest negative log-likelihood (Guo et al. 2017), and the threshold with most photos right.

    If several thresholds are equally good, it takes the middle one. Raises ConfigError for fewer than 20 photos, and if
    all photos or no photos show a pet.
    """
    pets = sum(photo.expected.species != NONE for photo in photos)
    if len(photos) < MIN_PHOTOS or pets in (0, len(photos)):
        raise ConfigError(f"Calibration needs at least {MIN_PHOTOS} photos, some with a pet and some without.")
    cooled = [replace(current, temperature=value) for value in CANDIDATE_TEMPERATURES]
    losses = [_log_loss(predict(photos, vocabulary, engine, each)) for each in cooled]
    best = replace(cooled[int(np.argmin(losses))], tag=0.0)
    predictions = predict(photos, vocabulary, engine, best)
    rights = [
        sum(_is_right_from(each, threshold, current.presence) for each in predictions)
        for threshold in CANDIDATE_THRESHOLDS
    ]
    good = [threshold for threshold, count in zip(CANDIDATE_THRESHOLDS, rights, strict=True) if count == max(rights)]
    tag = round(good[len(good) // 2], 2)
    return replace(best, tag=tag, secondary=min(tag, current.secondary), temperature=round(best.temperature, 3))


def _log_loss(photos: Sequence[Prediction]) -> float:
    probabilities = [photo.scored.scores[PET_GROUP].get(photo.expected.species, 0.0) for photo in photos]
    return float(-np.log(np.maximum(probabilities, MIN_PROBABILITY)).mean())


def _is_right_from(photo: Prediction, threshold: float, presence: float) -> bool:
    scores = photo.scored.scores[PET_GROUP]
    is_tagged = compute_presence(scores) >= presence and scores.get(photo.best_pet, 0.0) >= threshold
    return (photo.best_pet if is_tagged else NONE) == photo.expected.species


def _score_coat(photo: EmbeddedPhoto, vocabulary: Vocabulary, engine: Engine) -> dict[str, float]:
    vectors = vocabulary.vectors.get((COAT_GROUP, photo.expected.species))
    group = vocabulary.labels.groups.get(COAT_GROUP)
    if vectors is None or group is None or any(len(words) > 1 for words in group.labels.values()):
        return {}
    return dict(zip(group.labels, (engine.scale * multiply(vectors, photo.embedding)).tolist(), strict=True))


def _predict_long_or_short(photo: Prediction) -> str:
    return _best_label({coat: logit for coat, logit in photo.coat.items() if coat in ("long-hair", "short-hair")})


def _best_label(scores: dict[str, float]) -> str:
    return max(scores, key=lambda label: scores[label], default="")


def _format_share(count: int, total: int) -> str:
    return f"{count} of {total}" + (f" ({100 * count / total:.1f} %)" if total else "")
