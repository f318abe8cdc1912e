"""The text cache: each prompt set is embedded once."""

import numpy as np

from pawtag.inference import text_cache
from support.doubles import ColourEngine


def test_text_embeddings_are_computed_once(tmp_path):
    """The second time they come from the disk; a broken file is thrown away and made again."""
    calls = []

    class Counting(ColourEngine):
        def embed_text(self, prompts):
            calls.append(list(prompts))
            return super().embed_text(prompts)

    prompts = ["a red", "a green"]
    first = text_cache.embed_prompts(Counting(), prompts, tmp_path)
    assert np.array_equal(text_cache.embed_prompts(Counting(), prompts, tmp_path), first)
    assert len(calls) == 1
    kept = next((tmp_path / "text").iterdir())
    kept.write_bytes(kept.read_bytes()[:-1] + b"x")
    assert np.array_equal(text_cache.embed_prompts(Counting(), prompts, tmp_path), first)
    assert len(calls) == 2


def test_P04_a_text_cache_that_cannot_be_written_is_no_error(tmp_path, caplog):
    """It is said once, with the setting that mends it."""
    (tmp_path / "file").write_text("")
    text_cache.embed_prompts(ColourEngine(), ["a red"], tmp_path / "file")
    assert "model.cache_dir" in caplog.text
