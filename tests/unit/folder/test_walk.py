"""The walk: which entries are photos, and reading them safely."""

import os
import socket
import time

import pytest

from pawtag.config import FolderSettings
from pawtag.domain.errors import GoneError, PermanentError
from pawtag.domain.records import PhotoRef
from pawtag.folder.tuning import FolderTuning
from pawtag.folder.walk import FoundPhoto, Walk, find_photo, is_within, read_photo
from support.pictures import plain

SETTINGS = FolderSettings()


def found(root, **settings) -> set[str]:
    walk = Walk(root, FolderSettings(**settings))
    return {os.path.relpath(seen.ref.uri, root) for seen in walk}


def test_F15_photos_are_found_in_all_folders_whatever_their_case(tmp_path):
    """Suffixes in any case, in subfolders too; sidecars and other files are none."""
    (tmp_path / "a/b").mkdir(parents=True)
    for name in ("x.jpg", "a/Y.JPEG", "a/b/z.HeIc", "x.jpg.json", "notes.txt", "noextension"):
        (tmp_path / name).write_bytes(b"x")
    assert found(tmp_path) == {"x.jpg", "a/Y.JPEG", "a/b/z.HeIc"}
    assert found(tmp_path, recursive=False) == {"x.jpg"}


def test_hidden_and_service_folders_are_ignored(tmp_path):
    """Dot names, temporary names of rsync and the folders of NAS systems."""
    for folder in (".hidden", "@eaDir", "#recycle", "lost+found", "$RECYCLE.BIN", "__MACOSX"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.jpg").write_bytes(b"x")
    (tmp_path / ".x.jpg.AbCdEf").write_bytes(b"x")
    (tmp_path / ".x.jpg").write_bytes(b"x")
    assert found(tmp_path) == set()
    assert not is_within(str(tmp_path / "@eaDir/x.jpg"), tmp_path, SETTINGS)
    assert not is_within(str(tmp_path / "x.jpg.part"), tmp_path, SETTINGS)
    assert not is_within(str(tmp_path.parent / "x.jpg"), tmp_path, SETTINGS)
    assert is_within(str(tmp_path / "a/x.jpg"), tmp_path, SETTINGS)


def test_F16_F17_only_regular_files_are_photos(tmp_path, monkeypatch):
    """Links, pipes, sockets and folders with a photo's name are neither found nor read."""
    (tmp_path / "real.png").write_bytes(plain())
    os.symlink(tmp_path / "real.png", tmp_path / "link.png")
    os.symlink("/nowhere", tmp_path / "dangling.png")
    os.symlink(tmp_path, tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(tmp_path)  # a socket's path may be short only
        listening.bind("s.png")
        assert found(tmp_path) == {"real.png"}
        for name in ("link.png", "dangling.png", "pipe.png", "folder.png", "absent.png"):
            with pytest.raises(GoneError):
                read_photo(str(tmp_path / name), 1000)


def test_I03_a_file_over_the_limit_is_not_read(tmp_path):
    """Its size is looked at first."""
    (tmp_path / "a.jpg").write_bytes(bytes(1001))
    with pytest.raises(PermanentError) as error:
        read_photo(str(tmp_path / "a.jpg"), 1000)
    assert error.value.code == "too-many-bytes"


def test_F12_bytes_and_version_belong_together(tmp_path):
    """The version is the one that the bytes are."""
    (tmp_path / "a.jpg").write_bytes(b"abc")
    payload = read_photo(str(tmp_path / "a.jpg"), 1000)
    assert payload.data == b"abc"
    assert payload.ref == find_photo(str(tmp_path / "a.jpg")).ref


def test_F14_the_age_of_a_file_counts_from_the_later_of_its_times(tmp_path):
    """A copy keeps an old mtime, but its ctime is now; a time in the future makes a negative age."""
    path = tmp_path / "a.jpg"
    path.write_bytes(b"abc")
    os.utime(path, (1, 1))
    assert find_photo(str(path)).age_s < 60
    os.utime(path, (time.time() + 9999, time.time() + 9999))
    assert find_photo(str(path)).age_s < 0


@pytest.mark.parametrize(("age_s", "is_stable"), [(59, False), (61, True), (-5, False)])
def test_F14_a_file_older_than_a_minute_is_finished_at_once(age_s, is_stable):
    """A fresh one is not, nor one from the future."""
    found_photo = FoundPhoto(PhotoRef("/p/a.jpg", 1, 0), age_s)
    assert found_photo.is_stable(FolderTuning().stable_age_s) is is_stable


def test_W03_old_temporary_files_of_ours_are_removed_and_no_others(tmp_path):
    """What a killed process left, once it is old; a fresh one may be in use."""
    old, fresh, other = tmp_path / ".pawtag-0123456789ab.tmp", tmp_path / ".pawtag-ba9876543210.tmp", tmp_path / "a.tmp"
    for path in (old, fresh, other):
        path.write_bytes(b"x")
    os.utime(old, (1, 1))
    os.utime(other, (1, 1))
    assert found(tmp_path) == set()
    assert set(os.listdir(tmp_path)) == {fresh.name, other.name}


def test_F07_a_root_that_is_gone_is_an_error(tmp_path):
    """It must not look like an empty folder."""
    with pytest.raises(FileNotFoundError):
        list(Walk(tmp_path / "gone", SETTINGS))
