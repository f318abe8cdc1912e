"""Measures a model on one half of labelled photos; `pawtag model evaluate --labelled` measures on all.

    python scripts/accuracy.py ../shared/pets/dev --half even [--model ID] [--taught] [--picture docs/confusion.svg]

The folder holds labels.csv with the columns file, species (`none`: no pet) and coat (may be empty).
--half: files with an even or an odd number; the odd half is for tuning, the even one for reporting.
--picture: write the confusion table of the species as a picture.
--taught: use the vectors that the text tower was taught, not those that it gives (needs
scripts/embedded/requirements.txt).
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from confusion import draw_confusion
from pawtag import config
from pawtag.config.labels_file import load_labels
from pawtag.domain.labels import PromptSet
from pawtag.domain.pictures import Floats
from pawtag.domain.records import PET_GROUP
from pawtag.images import ImageLimits, decode, preprocess
from pawtag.inference.evaluation import EmbeddedPhoto, Prediction, predict, read_labelled_photos, summarise_predictions
from pawtag.inference.group_table import build_group_table, format_group_table
from pawtag.inference.loaded_model import LoadedModel
from pawtag.inference.model_loader import load_model
from pawtag.inference.scoring import Vocabulary


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--half", choices=["even", "odd", "all"], default="all")
    parser.add_argument("--model", default=config.EMBEDDED)
    parser.add_argument("--taught", action="store_true")
    parser.add_argument("--picture", type=Path, help="an SVG file")
    parser.add_argument("--show-errors", action="store_true", help="name the photos that came out wrong")
    given = parser.parse_args()
    photos = measure(given.folder, given.half, given.model, taught=given.taught)
    table = build_group_table(photos, PET_GROUP)
    print(format_group_table(PET_GROUP, table))
    print("\n".join(f"{name}: {value}" for name, value in summarise_predictions(photos).items()))
    if given.picture:
        given.picture.write_text(draw_confusion(table))
    if given.show_errors:
        wrong = [photo for photo in photos if not photo.is_right]
        print("\n".join(f"{photo.expected.file}: {photo.expected.species}, got {photo.tags}" for photo in wrong))
    return 0


def measure(folder: Path, half: str, model: str, *, taught: bool = False) -> list[Prediction]:
    """The photos of the half, each with the model's answer."""
    settings = config.load_settings(overrides={"model": {"id": model}})
    loaded = load_model(settings, load_labels(settings.labels.file))
    vocabulary = loaded.vocabulary
    if taught:
        vocabulary = Vocabulary(vocabulary.labels, _taught_vectors(vocabulary))
    table = read_labelled_photos(folder / "labels.csv", vocabulary.labels)
    truths = [truth for truth in table.photos if half in ("all", _half(truth.file))]
    seen = [EmbeddedPhoto(truth, _embed(loaded, (folder / truth.file).read_bytes())) for truth in truths]
    return predict(seen, vocabulary, loaded.engine, loaded.thresholds)


def _embed(loaded: LoadedModel, data: bytes) -> Floats:
    spec = loaded.engine.spec
    image = decode(data, ImageLimits(10**9, 10**9), spec.shorter_side)
    return loaded.engine.embed([preprocess(image, spec)])[0]


def _taught_vectors(vocabulary: Vocabulary) -> dict[PromptSet, Floats]:
    sys.path.insert(0, str(Path(__file__).parent / "embedded"))
    import vision
    from words import Lessons

    lessons = Lessons(vision.class_space(vision.lite2_weights(), 384)[1], 0)
    known = {**lessons.classes, **lessons.kinds, **lessons.coats}
    vectors: dict[PromptSet, Floats] = {}
    for name, group in vocabulary.labels.groups.items():
        for subject in group.parent_labels:
            words = [f"{word} {subject}" if subject else word for words in group.labels.values() for word in words]
            vectors[name, subject] = np.stack([known.get(word.lower(), lessons.unknown).numpy() for word in words])
    return vectors


def _half(file: str) -> str:
    number = int("".join(filter(str.isdigit, Path(file).stem)))
    return "odd" if number % 2 else "even"


if __name__ == "__main__":
    sys.exit(main())
