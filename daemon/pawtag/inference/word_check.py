"""Finds words that the embedded model does not know. It was trained to give them a vector that matches no photo."""

from pawtag.domain.labels import NONE
from pawtag.inference.checkpoint import EMBEDDED_FOLDER
from pawtag.inference.loaded_model import LoadedModel

# In the dimension that is empty for photos, a known word has less than 0.1, and an unknown word at least 0.98
# (35 words tried; see "What it is" in embedded/README.md).
UNKNOWN_FROM = 0.5


def find_unknown_words(model: LoadedModel) -> list[str]:
    """The words of labels other than `none` that get no score; always empty for another model than the embedded one."""
    if model.checkpoint.folder != EMBEDDED_FOLDER:
        return []
    unknown: dict[str, None] = {}
    for (group, _), vectors in model.vocabulary.vectors.items():
        labels = model.vocabulary.labels.groups[group].labels
        words = [(label, word) for label, words in labels.items() for word in words]
        found = zip(words, abs(vectors[:, -1]) > UNKNOWN_FROM, strict=True)
        unknown |= dict.fromkeys(word for (label, word), is_unknown in found if is_unknown and label != NONE)
    return list(unknown)
