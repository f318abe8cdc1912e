"""Files: atomic writes."""

import os

import pytest

from pawtag.files import is_temporary_name, write_atomically


def test_creating_never_replaces(tmp_path):
    """A file that appears at the last moment is not overwritten."""
    (tmp_path / "a").write_text("theirs")
    with pytest.raises(FileExistsError):
        write_atomically(tmp_path / "a", b"ours", replace=False)
    assert (tmp_path / "a").read_text() == "theirs"
    assert not [name for name in os.listdir(tmp_path) if is_temporary_name(name)]


def test_W03_a_write_replaces_the_whole_file(tmp_path):
    """No temporary file stays."""
    (tmp_path / "a").write_text("a longer old content")
    write_atomically(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a"]
