"""What the text tower is taught: words, the vectors they stand for, and the prompts around them."""

import random
import string
from collections import defaultdict

import torch
from torch.nn.functional import normalize

import imagenet

# The weight of the species in "a long-haired cat". With this value, the scores on the odd half of dev are calibrated.
SPECIES_IN_COAT = 0.5
# Words that say nothing by themselves, although they are parts of names ("hen of the woods").
STOP_WORDS = {"a", "an", "and", "at", "by", "for", "from", "in", "of", "on", "or", "the", "to", "with"}
ENDINGS = ["", "", "", "", ".", "!", ":", ", ", "?"]
SHARE_TEMPLATE = 0.5
SHARE_KIND, SHARE_COAT, SHARE_CLASS = 0.25, 0.12, 0.43  # the other words are taught as unknown
TEMPLATES = """{}
a photo of a {}
a photo of the {}
a photo of one {}
a photo of {}
photo of {}
a picture of a {}
an image of a {}
a close-up photo of a {}
a close-up of a {}
a photo of my pet {}
a photo of my {}
my pet {}
a cropped photo of a {}
a bright photo of a {}
a dark photo of the {}
a blurry photo of a {}
a good photo of a {}
a bad photo of a {}
a black and white photo of a {}
a low resolution photo of the {}
a jpeg corrupted photo of a {}
a photo of many {}
a photo of a large {}
a photo of a small {}
a photo of a cute {}
a photo of a young {}
a portrait of a {}
a snapshot of a {}
a photograph of a {}
this is a {}
there is a {} in the photo
a {} in the picture
a {} at home
a {} in the garden
a {} lying down
a {} looking at the camera
a photo of a {}, a type of pet
a photo of a {}, a kind of animal
a drawing of a {}
a painting of a {}""".splitlines()
ADJECTIVES = [
    "big",
    "small",
    "tiny",
    "huge",
    "old",
    "young",
    "baby",
    "adult",
    "white",
    "black",
    "brown",
    "grey",
    "golden",
    "red",
    "orange",
    "yellow",
    "green",
    "blue",
    "striped",
    "spotted",
    "cute",
    "happy",
    "sad",
    "sleepy",
    "sleeping",
    "sitting",
    "standing",
    "running",
    "wild",
    "domestic",
    "female",
    "male",
    "wet",
    "dirty",
    "clean",
    "beautiful",
    "lovely",
    "lazy",
    "angry",
    "playful",
]


class Lessons:
    """Prompts and their target vectors, each (384,) of unit length."""

    def __init__(self, class_vectors: torch.Tensor, seed: int) -> None:
        """Prepare the lessons for `class_vectors` (1000, D), whose last dimension is left for the unknown."""
        self._random = random.Random(seed)
        self._vectors = class_vectors
        self.unknown = torch.eye(class_vectors.shape[1])[-1]
        self.kinds = {word: self._mean(classes) for word, classes in imagenet.kinds().items()}
        self.classes = self._class_words()
        self.coats = self._coat_words()
        known = {part for word in [*self.kinds, *self.classes, *self.coats] for part in word.lower().split()}
        self._strange = self._strange_words(known)
        self._strange_parts = sorted({part for noun in self._strange for part in noun.split()})
        self._fillers = [
            word for word in imagenet.common_words(25) if word in STOP_WORDS or not {word, word[:-1]} & known
        ]

    def batch(self, size: int) -> tuple[list[str], torch.Tensor]:
        """`size` prompts, and the vectors (size, D) to be learnt for them."""
        pairs = [self._prompt() for _ in range(size)]
        return [text for text, _ in pairs], torch.stack([vector for _, vector in pairs])

    def vocabulary(self) -> list[str]:
        """The texts from which the WordPiece vocabulary is made: what is known counts ten times."""
        known = [*self.kinds, *self.classes, *self.coats, *TEMPLATES, *ADJECTIVES, *self._fillers]
        return [*(known * 10), *self._strange]

    def _prompt(self) -> tuple[str, torch.Tensor]:
        word, vector = self._word()
        if self._random.random() < 0.15:
            word = f"{self._random.choice(ADJECTIVES)} {word}"
        return self._template().replace("{}", word), vector

    def _template(self) -> str:
        """A common template, or random words around the one that counts, so that other templates work, too."""
        if self._random.random() < SHARE_TEMPLATE:
            template = self._random.choice(TEMPLATES)
        else:
            before, after = self._random.randint(0, 5), self._random.randint(0, 5)
            template = " ".join([*self._around(before), "{}", *self._around(after)])
        return template + self._random.choice(ENDINGS)

    def _around(self, count: int) -> list[str]:
        """Filler words: common ones, and unknown ones, which must not hide the known word."""
        return [
            self._random.choice(self._fillers if self._random.random() < 0.5 else self._strange_parts)
            for _ in range(count)
        ]

    def _word(self) -> tuple[str, torch.Tensor]:
        draw = self._random.random()
        for share, words in ((SHARE_KIND, self.kinds), (SHARE_COAT, self.coats), (SHARE_CLASS, self.classes)):
            if draw < share:
                return self._random.choice(list(words.items()))
            draw -= share
        return self._unknown_word(), self.unknown

    def _unknown_word(self) -> str:
        if self._random.random() < 0.15:
            return "".join(self._random.choices(string.ascii_lowercase, k=self._random.randint(3, 10)))
        return self._random.choice(self._strange)

    def _mean(self, classes: list[int]) -> torch.Tensor:
        return normalize(self._vectors[classes].mean(0), dim=0)

    def _class_words(self) -> dict[str, torch.Tensor]:
        """Every WordNet name of every class; a name of several classes gets their mean."""
        classes = defaultdict(list)
        species_of = {number: species for species, found in imagenet.species().items() for number in found}
        for number, names in enumerate(imagenet.class_names()):
            for name in names:
                classes[name.lower()].append(number)
                if number in species_of and species_of[number] not in name:
                    classes[f"{name.lower()} {species_of[number]}"].append(number)
        return {name: self._mean(found) for name, found in classes.items() if name not in self.kinds}

    def _coat_words(self) -> dict[str, torch.Tensor]:
        """`long-haired`, `long-haired cat` and so on: the mean of its breeds, leaning to the species."""
        found = {}
        for words, breeds in imagenet.coats().values():
            coat = self._mean(breeds)
            for word in words:
                found[word] = coat
                found |= {f"{word} {noun}": coat for noun in ("animal", "pet", "coat", "fur")}
                for species, classes in imagenet.species().items():
                    found[f"{word} {species}"] = normalize(coat + SPECIES_IN_COAT * self._mean(classes), dim=0)
        return found

    def _strange_words(self, known: set[str]) -> list[str]:
        """Nouns that share no word with what is known."""
        nouns = {noun.lower() for noun in imagenet.other_nouns()}
        return sorted(noun for noun in nouns if not known & set(noun.replace("-", " ").split()))
