"""The ImageNet classes: their numbers, their WordNet names, and the kinds above them."""

import re
import tomllib
from collections import Counter
from functools import cache
from importlib.metadata import files
from pathlib import Path

HERE = Path(__file__).parent


def class_names() -> list[list[str]]:
    """The WordNet lemmas of each of the 1,000 classes, as timm's wheel carries them."""
    synsets = _timm_data("imagenet_synsets.txt").split()
    return [_lemmas()[synset] for synset in synsets]


def other_nouns() -> list[str]:
    """Nouns that name none of the 1,000 classes: what the text tower learns not to know."""
    known = set(_timm_data("imagenet_synsets.txt").split())
    return [name for synset, names in _lemmas().items() if synset not in known for name in names]


def common_words(least: int) -> list[str]:
    """The words that stand at least `least` times in WordNet's definitions of nouns."""
    definitions = _timm_data("imagenet_synset_to_definition.txt").lower()
    counts = Counter(re.findall(r"[a-z]{2,}", re.sub(r"n\d{8}", "", definitions)))
    return sorted(word for word, count in counts.items() if count >= least)


def kinds() -> dict[str, list[int]]:
    """Each word of kinds.toml with the class numbers below it."""
    table = _kinds_table()
    listed = {**table["species"], **table["kinds"]}
    return {word.strip(): numbers(value) for words, value in listed.items() for word in words.split(",")}


def species() -> dict[str, list[int]]:
    """The nine species: the first word of each line, with its class numbers."""
    return {words.split(",")[0]: numbers(value) for words, value in _kinds_table()["species"].items()}


def coats() -> dict[str, tuple[list[str], list[int]]]:
    """Each coat: the words for it, and the class numbers of the breeds that wear it."""
    table = _kinds_table()
    return {name: (table["coat_words"][name], numbers(value)) for name, value in table["coats"].items()}


def numbers(ranges: str) -> list[int]:
    """`"1-3, 7"` as `[1, 2, 3, 7]`."""
    found: list[int] = []
    for part in ranges.split(","):
        first, _, last = part.strip().partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


@cache
def _kinds_table() -> dict[str, dict]:
    return tomllib.loads((HERE / "kinds.toml").read_text())


@cache
def _lemmas() -> dict[str, list[str]]:
    lines = _timm_data("imagenet_synset_to_lemma.txt").splitlines()
    return {synset: names.split(", ") for synset, names in (line.split("\t") for line in lines)}


def _timm_data(name: str) -> str:
    """A data file of timm's wheel, read without importing timm (which wants torchvision)."""
    return next(path for path in files("timm") or [] if path.name == name).read_text()
