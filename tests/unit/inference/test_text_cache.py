"""The text cache: each vocabulary is embedded once."""

import numpy as np

from pawtag.inference import text_cache
from support.doubles import COLOURS, ColourEngine


class Counting(ColourEngine):
    """Notes the prompts that it embeds."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def embed_text(self, prompts):
        self.calls.append(list(prompts))
        return super().embed_text(prompts)


def vectors(vocabulary):
    return np.concatenate(list(vocabulary.vectors.values()))


def test_a_vocabulary_is_embedded_once(tmp_path):
    """The second time it comes from the disk; a broken file is not used, and made again."""
    engine = Counting()
    first = text_cache.embed_vocabulary(engine, COLOURS, tmp_path)
    assert np.array_equal(vectors(text_cache.embed_vocabulary(engine, COLOURS, tmp_path)), vectors(first))
    assert len(engine.calls) == 1
    kept = next((tmp_path / "text").iterdir())
    kept.write_bytes(kept.read_bytes()[:-1] + b"x")
    assert np.array_equal(vectors(text_cache.embed_vocabulary(engine, COLOURS, tmp_path)), vectors(first))
    assert len(engine.calls) == 2


def test_another_prompt_is_another_vocabulary(tmp_path):
    """A template that changes is not answered from the disk."""
    engine = Counting()
    text_cache.embed_vocabulary(engine, COLOURS, tmp_path)
    other = COLOURS.model_copy(update={"templates": ("a picture of {}",)})
    text_cache.embed_vocabulary(engine, other, tmp_path)
    assert len(engine.calls) == 2


def test_P04_a_text_cache_that_cannot_be_written_is_no_error(tmp_path, caplog):
    """It is said once, with the setting that mends it."""
    (tmp_path / "file").write_text("")
    text_cache.embed_vocabulary(ColourEngine(), COLOURS, tmp_path / "file")
    assert "model.cache_dir" in caplog.text
