"""What corrections say about a model: how often each label was wrong, and which threshold would have been best.

It reads no photos: each record keeps the scores that decided its tags.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pawtag.domain.errors import ConfigError
from pawtag.domain.labels import NONE, Group, Thresholds
from pawtag.domain.records import PET_GROUP, TagRecord
from pawtag.inference.evaluation import CANDIDATE_THRESHOLDS, MIN_PHOTOS
from pawtag.inference.scoring import choose_tags, compute_presence


@dataclass(frozen=True, slots=True)
class JudgedPhoto:
    """The scores of the species, the model's tags, and the true labels: a person's correction, or else the tags."""

    scores: dict[str, float]
    tags: tuple[str, ...]
    truth: tuple[str, ...]
    is_corrected: bool


@dataclass(frozen=True, slots=True)
class CorrectionReport:
    """By label: how often the model gave it, how often people took it away, and how often they had to add it."""

    photos: Sequence[JudgedPhoto]
    given: Counter[str] = field(default_factory=Counter)
    taken: Counter[str] = field(default_factory=Counter)
    added: Counter[str] = field(default_factory=Counter)

    @property
    def corrected(self) -> int:
        """How many photos have a corrected species."""
        return sum(photo.is_corrected for photo in self.photos)

    def count_right(self, threshold: float, presence: float) -> int:
        """How many photos are right with this threshold: their tag is true, or they rightly have no tag."""
        return sum(_is_right(photo, threshold, presence) for photo in self.photos)

    def find_threshold(self, current: Thresholds) -> float:
        """The threshold with which most photos are right (the middle of several), or the current one if none is better.

        Raises ConfigError for fewer than 20 corrected photos.
        """
        if self.corrected < MIN_PHOTOS:
            raise ConfigError(f"{self.corrected} photos have a corrected species; a threshold needs {MIN_PHOTOS}.")
        rights = {value: self.count_right(value, current.presence) for value in CANDIDATE_THRESHOLDS}
        best = max(rights.values())
        if best <= self.count_right(current.tag, current.presence):
            return current.tag
        good = [value for value, count in rights.items() if count == best]
        return round(good[len(good) // 2], 2)


def build_correction_report(records: Iterable[TagRecord], group: Group, thresholds: Thresholds) -> CorrectionReport:
    """The report of one model's records. A photo without a correction counts as right, or, if unsure, not at all."""
    report = CorrectionReport([photo for record in records if (photo := _judge(record, group, thresholds))])
    for photo in report.photos:
        report.given.update(photo.tags)
        report.taken.update(set(photo.tags) - set(photo.truth))
        report.added.update(set(photo.truth) - set(photo.tags))
    return report


def _judge(record: TagRecord, group: Group, thresholds: Thresholds) -> JudgedPhoto | None:
    scores, corrected = record.scores.get(PET_GROUP), (record.corrected or {}).get(PET_GROUP)
    if not scores or (corrected is None and record.status == "unsure"):
        return None
    tags = tuple(tag.label for tag in choose_tags(PET_GROUP, group, scores, thresholds))
    truth = tags if corrected is None else tuple(corrected)
    return JudgedPhoto(scores, tags, truth, corrected is not None)


def _is_right(photo: JudgedPhoto, threshold: float, presence: float) -> bool:
    pets = {label: score for label, score in photo.scores.items() if label != NONE}
    best = max(pets, key=lambda label: pets[label], default="")
    is_tagged = compute_presence(photo.scores) >= presence and pets.get(best, 0.0) >= threshold
    return best in photo.truth if is_tagged else not photo.truth
