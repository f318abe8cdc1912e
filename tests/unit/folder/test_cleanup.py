"""Cleanup: files that pawtag wrote are recognised and removed, and no others."""

import json
import os

import pytest

from pawtag.config import FolderSettings
from pawtag.domain.records import Written
from pawtag.folder.cleanup import find_written_files, remove_file
from pawtag.folder.sidecars import Sidecars
from support.records import photo, record_for

SETTINGS = FolderSettings()
OURS = {"schema": "pawtag.record/1"}


def found(sidecars) -> dict[str, tuple[bool, bool]]:
    """Each written's path below the root, with whether it is an orphan and whether it holds a person's words."""
    return {
        os.path.relpath(written.path, sidecars.base_dir): (written.is_orphan, written.has_user_content)
        for written in find_written_files(sidecars, SETTINGS)
    }


def tagged(folder, name="mimi.jpg", sidecars=None):
    """A photo with its sidecar."""
    folder.mkdir(parents=True, exist_ok=True)
    ref = photo(folder, name)
    (sidecars or Sidecars(folder)).write(ref, record_for(ref), Written())
    return folder / name


def test_our_sidecars_are_found_in_all_folders(tmp_path):
    """Also under their second name, and the left-over temporary file of a killed process."""
    tagged(tmp_path)
    (tmp_path / "b").mkdir()
    (tmp_path / "b/x.jpg.json").write_text('{"title": "x.jpg"}')
    tagged(tmp_path / "b", "x.jpg")
    (tmp_path / ".pawtag-0123456789ab.tmp").write_text("half")
    assert found(Sidecars(tmp_path)) == {
        "mimi.jpg.json": (False, False),
        "b/x.jpg.pawtag.json": (False, False),
        ".pawtag-0123456789ab.tmp": (True, False),
    }


def test_every_other_file_belongs_to_someone_else(tmp_path):
    """Photos, other programs' JSON, a record that somebody saved elsewhere, links, hidden folders."""
    tagged(tmp_path)
    record = (tmp_path / "mimi.jpg.json").read_text()
    (tmp_path / "mimi.jpg.json").unlink()
    (tmp_path / "results.json").write_text(record)
    (tmp_path / "notes.json").write_text("[1, 2]")
    (tmp_path / "takeout.jpg.json").write_text('{"title": "takeout.jpg"}')
    (tmp_path / "link.jpg.json").symlink_to(tmp_path / "results.json")
    (tmp_path / ".trash").mkdir()
    (tmp_path / ".trash/old.jpg.json").write_text(record)
    assert found(Sidecars(tmp_path)) == {}


def test_a_sidecar_whose_photo_is_gone_is_an_orphan(tmp_path):
    """Renamed photos leave one behind; a shortened name is found again by its digest."""
    tagged(tmp_path, "a.jpg").rename(tmp_path / "b.jpg")
    long = tagged(tmp_path, "l" * 250 + ".jpg")
    assert sorted(found(Sidecars(tmp_path)).values()) == [(False, False), (True, False)]
    long.unlink()
    assert sorted(found(Sidecars(tmp_path)).values()) == [(True, False), (True, False)]


@pytest.mark.parametrize("more", [{"corrected": {"species": ["dog"]}}, {"corrected": "dog?"}, {"album": "summer"}])
def test_values_that_others_wrote_into_a_sidecar_are_reported(tmp_path, more):
    """Such a sidecar is not only ours."""
    path = tagged(tmp_path).with_name("mimi.jpg.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | more))
    assert found(Sidecars(tmp_path)) == {"mimi.jpg.json": (False, True)}


def test_a_broken_sidecar_of_ours_is_ours(tmp_path):
    """Cut short by a full disk of old."""
    path = tagged(tmp_path).with_name("mimi.jpg.json")
    path.write_text(path.read_text()[:100])
    assert found(Sidecars(tmp_path)) == {"mimi.jpg.json": (False, False)}


def test_in_a_mirror_tree_the_photos_are_looked_for_in_their_folder(tmp_path):
    """And folders of the tree that are empty afterwards go too; the tree's own root stays."""
    sidecars = Sidecars(tmp_path / "photos", tmp_path / "mirror")
    tagged(tmp_path / "photos/a/b", "x.jpg", sidecars)
    tagged(tmp_path / "photos/a", "y.jpg", sidecars).unlink()
    assert found(sidecars) == {"a/b/x.jpg.json": (False, False), "a/y.jpg.json": (True, False)}
    for written in find_written_files(sidecars, SETTINGS):
        assert remove_file(written, sidecars)
    assert list((tmp_path / "mirror").iterdir()) == []
    assert (tmp_path / "photos/a/b/x.jpg").exists()


def test_F07_a_root_that_is_absent_has_no_orphans(tmp_path):
    """An unmounted disk is an error, never a reason to remove anything."""
    sidecars = Sidecars(tmp_path / "photos", tmp_path / "mirror")
    tagged(tmp_path / "photos", "x.jpg", sidecars)
    (tmp_path / "photos").rename(tmp_path / "away")
    with pytest.raises(FileNotFoundError):
        list(find_written_files(sidecars, SETTINGS))


def test_a_sidecar_that_cannot_be_removed_is_reported(tmp_path):
    """Gone already: no error, and not counted."""
    tagged(tmp_path)
    sidecars = Sidecars(tmp_path)
    written = next(find_written_files(sidecars, SETTINGS))
    assert remove_file(written, sidecars)
    assert not remove_file(written, sidecars)
