"""Measures labels.views on composites: photos of two to four species, side by side and small in a scene.

    python scripts/views.py ../shared/pets/dev [--model ID]

The folder holds labels.csv with the columns file and species. Composites are made with a fixed seed. The cost is
measured on single photos: tags for species that they do not show, and the model's time. The threshold of the parts was
chosen on the odd half of the photos; report the results of the even half.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image as pillow
from PIL import ImageOps

from pawtag import config
from pawtag.config.labels_file import load_labels
from pawtag.domain.labels import NONE
from pawtag.domain.pictures import Floats, Image
from pawtag.domain.records import PET_GROUP
from pawtag.images import cut_parts, preprocess
from pawtag.inference.evaluation import LabelledPhoto, read_labelled_photos
from pawtag.inference.loaded_model import LoadedModel
from pawtag.inference.model_loader import load_model
from pawtag.inference.scoring import score_labels

COUNT, SIDE_PX, SCENE_PX = 40, 480, (1200, 900)
SLOTS = ((60, 80), (660, 80), (60, 500), (660, 500))
THRESHOLDS = (None, 0.9, 0.95, 0.98, 0.99)


@dataclass(frozen=True, slots=True)
class Case:
    """A picture, as embeddings of the whole and of its parts, with the species that it shows."""

    kind: str
    half: str
    truth: frozenset[str]
    embeddings: list[Floats]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default=config.EMBEDDED)
    given = parser.parse_args()
    settings = config.load_settings(overrides={"model": {"id": given.model}})
    loaded = load_model(settings, load_labels(settings.labels.file))
    photos = read_labelled_photos(given.folder / "labels.csv", loaded.vocabulary.labels).photos
    halves = {"odd": photos[::2], "even": photos[1::2]}
    cases = [
        Case(kind, half, truth, embed_views(loaded, picture))
        for half, chosen in halves.items()
        for kind, truth, picture in make_pictures(chosen, given.folder, random.Random(7))
    ]
    for half in halves:
        print_table(half, [case for case in cases if case.half == half], loaded)
    print_cost(loaded)
    return 0


def make_pictures(
    photos: list[LabelledPhoto], folder: Path, rng: random.Random
) -> Iterator[tuple[str, frozenset[str], pillow.Image]]:
    """The kind, the species and the picture of each composite, then of each photo alone."""
    pets = [photo for photo in photos if photo.species != NONE]
    scenes = [photo for photo in photos if photo.species == NONE]
    for number in (2, 3, 4):
        for _ in range(COUNT):
            chosen = pick_different(pets, number, rng)
            animals = [load(folder, photo) for photo in chosen]
            truth = frozenset(photo.species for photo in chosen)
            yield f"{number} side by side", truth, join_side_by_side(animals)
            yield f"{number} in a scene", truth, place_in_scene(animals, load(folder, rng.choice(scenes)), rng)
    for photo in photos:
        yield "single" if photo.species != NONE else "no pet", frozenset({photo.species} - {NONE}), load(folder, photo)


def pick_different(pets: list[LabelledPhoto], number: int, rng: random.Random) -> list[LabelledPhoto]:
    """`number` photos, each of another species."""
    by_species: dict[str, list[LabelledPhoto]] = {}
    for photo in pets:
        by_species.setdefault(photo.species, []).append(photo)
    return [rng.choice(by_species[species]) for species in rng.sample(sorted(by_species), number)]


def load(folder: Path, photo: LabelledPhoto) -> pillow.Image:
    """The upright picture."""
    with pillow.open(folder / photo.file) as opened:
        return ImageOps.exif_transpose(opened).convert("RGB")


def join_side_by_side(animals: list[pillow.Image]) -> pillow.Image:
    """A row; four are a square of two rows."""
    columns = 2 if len(animals) == 4 else len(animals)
    rows = len(animals) // columns
    whole = pillow.new("RGB", (SIDE_PX * columns, SIDE_PX * rows))
    for number, animal in enumerate(animals):
        place = (number % columns * SIDE_PX, number // columns * SIDE_PX)
        whole.paste(ImageOps.fit(animal, (SIDE_PX, SIDE_PX)), place)
    return whole


def place_in_scene(animals: list[pillow.Image], scene: pillow.Image, rng: random.Random) -> pillow.Image:
    """Each animal takes about a tenth of the scene."""
    whole = ImageOps.fit(scene, SCENE_PX)
    for animal, (left, top) in zip(animals, rng.sample(SLOTS, len(animals)), strict=True):
        side = rng.randint(330, 420)
        place = (left + rng.randint(0, 100), min(top + rng.randint(-40, 40), SCENE_PX[1] - side))
        whole.paste(ImageOps.fit(animal, (side, side)), place)
    return whole


def embed_views(loaded: LoadedModel, picture: pillow.Image) -> list[Floats]:
    """The embeddings of the whole and of its parts."""
    image = Image(np.asarray(picture), picture.width, picture.height, "JPEG")
    spec = loaded.engine.spec
    return [loaded.engine.embed([preprocess(view, spec)])[0] for view in (image, *cut_parts(image))]


def print_table(half: str, cases: list[Case], loaded: LoadedModel) -> None:
    """A row for each threshold: composites with all species found, and false tags a picture."""
    kinds = list(dict.fromkeys(case.kind for case in cases))
    print(f"\n{half} half: all species found (false tags a picture)\n")
    print(f"| views | {' | '.join(kinds)} |\n|---|{'---|' * len(kinds)}")
    for threshold in THRESHOLDS:
        cells = [describe([case for case in cases if case.kind == kind], loaded, threshold) for kind in kinds]
        print(f"| {'whole' if threshold is None else f'parts from {threshold}'} | {' | '.join(cells)} |")


def describe(cases: list[Case], loaded: LoadedModel, threshold: float | None) -> str:
    """Two figures."""
    found = [find_species(case, loaded, threshold) for case in cases]
    whole = sum(tags >= case.truth for case, tags in zip(cases, found, strict=True)) / len(cases)
    false = sum(len(tags - case.truth) for case, tags in zip(cases, found, strict=True)) / len(cases)
    return f"{100 * whole:.0f} % ({false:.2f})"


def find_species(case: Case, loaded: LoadedModel, threshold: float | None) -> set[str]:
    """The species that are tagged."""
    whole, *parts = case.embeddings
    thresholds = replace(loaded.thresholds, parts=threshold)
    seen = parts if threshold is not None else []
    scored = score_labels(whole, loaded.vocabulary, loaded.engine, thresholds, seen)
    return {tag.label for tag in scored.tags if tag.group == PET_GROUP}


def print_cost(loaded: LoadedModel) -> None:
    """How much longer preprocessing and model take with parts; side by side, the median of ratios."""
    image = Image(np.random.default_rng(0).integers(0, 256, (700, 900, 3), np.uint8), 900, 700, "JPEG")

    def measure(*, with_parts: bool) -> float:
        began_s = time.perf_counter()
        views = [image, *(cut_parts(image) if with_parts else ())]
        loaded.engine.embed([preprocess(view, loaded.engine.spec) for view in views])
        return time.perf_counter() - began_s

    ratios = [measure(with_parts=True) / measure(with_parts=False) for _ in range(30)]
    print(f"\ntime of model and preprocessing with parts: {statistics.median(ratios):.2f} times that of the whole")


if __name__ == "__main__":
    sys.exit(main())
