"""Words that the embedded model does not know."""

from pawtag.config import Settings
from pawtag.config.labels_file import load_labels
from pawtag.inference.model_loader import load_model
from pawtag.inference.word_check import find_unknown_words
from support.doubles import colour_model

LABELS = """
templates = ["a photo of a {}"]
[groups.species]
labels.cat = ["cat"]
labels.ferret = ["ferret", "labradoodle"]
labels.none = ["chair", "padlock"]
"""


def test_a_word_that_was_never_taught_is_found(tmp_path):
    """Of labels that a photo can get; what is unknown in `none` does no harm."""
    (tmp_path / "labels.toml").write_text(LABELS)
    settings = Settings(model={"id": "embedded", "cache_dir": tmp_path / "cache"})
    loaded = load_model(settings, load_labels(tmp_path / "labels.toml"))
    assert find_unknown_words(loaded) == ["labradoodle"]


def test_nothing_is_said_of_other_models():
    """Their words are not known in advance."""
    assert find_unknown_words(colour_model()) == []
