"""Measures a model on labelled photos: species, false pets, coat, calibration.

    python scripts/accuracy.py ../shared/pets/dev --half even [--model ID] [--taught]

The folder holds labels.csv with the columns file, species (`none`: no pet) and coat (may be empty).
--half: files with an even or an odd number; the odd half is for tuning, the even one for reporting.
--taught: in place of the text tower's vectors those that it was taught (needs scripts/embedded/requirements.txt).
"""

import argparse
import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pawtag import app, config, labels
from pawtag.images import ImageLimits, decode, prepare
from pawtag.labels import NONE, PromptSet
from pawtag.records import Floats
from pawtag.tagger import Answer, Vocabulary, answer

BINS = 5
COATED = ("cat", "dog")


@dataclass(frozen=True)
class Photo:
    """A photo's truth, and what the model says of it."""

    file: str
    species: str
    coat: str
    found: Answer
    coat_asked: dict[str, float]

    @property
    def best_species(self) -> str:
        """The best of the labels that are pets."""
        pets = {label: score for label, score in self.found.scores["species"].items() if label != NONE}
        return max(pets, key=lambda label: pets[label])

    @property
    def best_answer(self) -> str:
        """The best label, `none` included."""
        scores = self.found.scores["species"]
        return max(scores, key=lambda label: scores[label])

    @property
    def tags(self) -> list[str]:
        """The species tags."""
        return [tag.label for tag in self.found.tags if tag.group == "species"]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--half", choices=["even", "odd", "all"], default="all")
    parser.add_argument("--model", default=config.EMBEDDED)
    parser.add_argument("--taught", action="store_true")
    parser.add_argument("--misses", action="store_true", help="name the photos that came out wrong")
    given = parser.parse_args()
    photos = measure(given.folder, given.half, given.model, taught=given.taught)
    print("\n".join(f"{name}: {value}" for name, value in table(photos).items()))
    if given.misses:
        print("\n".join(f"{photo.file}: {photo.species}, got {photo.tags}" for photo in photos if not right(photo)))
    return 0


def measure(folder: Path, half: str, model: str, *, taught: bool = False) -> list[Photo]:
    """The photos of the half, each with the model's answer."""
    settings = config.load(overrides={"model": {"id": model}})
    loaded = app.load(settings, labels.load(settings.labels.file))
    vocabulary = loaded.tagger.vocabulary
    if taught:
        vocabulary = Vocabulary(vocabulary.labels, _taught_vectors(vocabulary))
    rows = [
        row
        for row in csv.DictReader((folder / "labels.csv").read_text().splitlines())
        if half in ("all", _half(row["file"]))
    ]
    photos = []
    for row in rows:
        embedding = _embed(loaded, (folder / row["file"]).read_bytes())
        found = answer(embedding, vocabulary, loaded.model.scale, loaded.tagger.thresholds)
        asked = _coat_of(row["species"], embedding, vocabulary, loaded)
        photos.append(Photo(row["file"], row["species"], row["coat"], found, asked))
    return photos


def table(photos: list[Photo]) -> dict[str, str]:
    """The numbers that the model card quotes."""
    pets = [photo for photo in photos if photo.species != NONE]
    others = [photo for photo in photos if photo.species == NONE]
    coated = [photo for photo in pets if photo.species in COATED and photo.coat in ("long-hair", "short-hair")]
    medium = [photo for photo in pets if photo.species in COATED and photo.coat == "medium-hair"]
    return {
        "species among nine": _of(sum(photo.best_species == photo.species for photo in pets), len(pets)),
        "pets tagged right": _of(sum(right(photo) for photo in pets), len(pets)),
        "no pet, called a pet": _of(sum(bool(photo.tags) for photo in others), len(others)),
        "coat, long against short": _of(sum(_longer(photo) == photo.coat for photo in coated), len(coated)),
        "medium coats called medium": _of(sum(_best(photo.coat_asked) == photo.coat for photo in medium), len(medium)),
        "expected calibration error": f"{calibration_error(photos):.3f}",
    }


def right(photo: Photo) -> bool:
    """The first species tag is the truth; no tag is right where there is no pet."""
    return photo.tags[:1] == ([] if photo.species == NONE else [photo.species])


def calibration_error(photos: list[Photo]) -> float:
    """Expected calibration error of the best answer's score, in bins of equal mass (Nixon et al. 2019)."""
    scores = np.array([max(photo.found.scores["species"].values()) for photo in photos])
    hits = np.array([photo.best_answer == photo.species for photo in photos])
    bins = np.array_split(np.argsort(scores), BINS)
    return float(sum(abs(scores[each].mean() - hits[each].mean()) * len(each) for each in bins) / len(photos))


def _embed(loaded: app.Loaded, data: bytes) -> Floats:
    spec = loaded.model.spec
    image = decode(data, ImageLimits(10**9, 10**9), spec.shorter_side)
    return loaded.model.embed([prepare(image, spec)])[0]


def _coat_of(species: str, embedding: Floats, vocabulary: Vocabulary, loaded: app.Loaded) -> dict[str, float]:
    """The coat's logits when it is asked about the true species."""
    vectors = vocabulary.vectors.get(("coat", species))
    if vectors is None:
        return {}
    logits = loaded.model.scale * (vectors @ embedding)
    return dict(zip(vocabulary.labels.groups["coat"].labels, logits.tolist(), strict=True))


def _taught_vectors(vocabulary: Vocabulary) -> dict[PromptSet, Floats]:
    sys.path.insert(0, str(Path(__file__).parent / "embedded"))
    import vision
    from words import Lessons

    lessons = Lessons(vision.class_space(vision.lite2_weights(), 384)[1], 0)
    known = {**lessons.classes, **lessons.kinds, **lessons.coats}
    vectors: dict[PromptSet, Floats] = {}
    for name, group in vocabulary.labels.groups.items():
        for subject in group.subjects:
            words = [f"{word} {subject}" if subject else word for words in group.labels.values() for word in words]
            vectors[name, subject] = np.stack([known.get(word.lower(), lessons.unknown).numpy() for word in words])
    return vectors


def _longer(photo: Photo) -> str:
    return _best({coat: photo.coat_asked[coat] for coat in ("long-hair", "short-hair")})


def _best(scores: dict[str, float]) -> str:
    return max(scores, key=lambda label: scores[label])


def _half(file: str) -> str:
    number = int("".join(filter(str.isdigit, Path(file).stem)))
    return "odd" if number % 2 else "even"


def _of(count: int, total: int) -> str:
    return f"{count} of {total}" + (f" ({100 * count / total:.1f} %)" if total else "")


if __name__ == "__main__":
    sys.exit(main())
