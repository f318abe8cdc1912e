"""Words that the embedded model does not know. It was taught to put them where no photo lies."""

from pawtag.domain.labels import NONE
from pawtag.inference.checkpoint import EMBEDDED_FOLDER
from pawtag.inference.loaded_model import LoadedModel

# A word that it knows has less than 0.1 in the dimension that is empty for photos, any other 0.98 and more
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
