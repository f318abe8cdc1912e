"""The API for Python programs."""

from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import get_type_hints

import pytest

from pawtag.api import ConfigError, PawtagError, PhotoTagger, Settings, TagRecord, open_tagger
from support.process import shared_cache

EMBEDDED = Settings(model={"id": "embedded", "cache_dir": shared_cache() / "pawtag"})


def test_a_program_tags_bytes(chelsea):
    """A cat is a cat; a bad photo is a record that says why."""
    with open_tagger(EMBEDDED) as tagger:
        record = tagger.tag(chelsea.read_bytes(), name="chelsea.png")
        broken = tagger.tag(b"no picture")
    with pytest.raises(PawtagError, match="closed"):
        tagger.tag(b"")
    assert (record.status, record.tags[0].label, record.photo.name) == ("tagged", "cat", "chelsea.png")
    assert (broken.status, broken.error.code) == ("failed", "not-an-image")


def test_threads_may_share_a_tagger(chelsea):
    """Their photos are computed together."""
    with open_tagger(EMBEDDED) as tagger, ThreadPoolExecutor(4) as threads:
        records = list(threads.map(tagger.tag, [chelsea.read_bytes()] * 8))
    assert {record.tags[0].label for record in records} == {"cat"}


def test_settings_that_cannot_be_used_are_an_error_at_once(tmp_path):
    """As for the command line."""
    with pytest.raises(ConfigError), open_tagger(Settings(labels={"file": tmp_path / "none.toml"})):
        pass


def test_the_api_is_typed():
    """A type checker of the caller reads the package's annotations, and each public function has them."""
    assert files("pawtag").joinpath("py.typed").is_file()
    assert get_type_hints(PhotoTagger.tag) == {"data": bytes, "name": str | None, "return": TagRecord}
    assert get_type_hints(open_tagger)["settings"] == Settings | None
