"""Sidecars: the record next to the photo, and no file of others touched."""

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pawtag.domain.errors import ChangedError, GoneError, TemporaryError
from pawtag.domain.records import SourceInfo, Written
from pawtag.folder.sidecars import Sidecars
from support.records import photo, record_for


def read(path) -> dict:
    return json.loads(path.read_text("utf-8"))


def test_a_written_record_is_the_stamp(tmp_path):
    """After writing, the photo's stamp describes that version of it."""
    ref, sink = photo(tmp_path), Sidecars(tmp_path)
    assert sink.look(ref).stamp is None
    sink.write(ref, record_for(ref), sink.look(ref))
    assert sink.look(ref).stamp.describes(ref)
    assert sink.look(ref).stamp.fingerprint == "b"
    assert set(os.listdir(tmp_path)) == {"mimi.jpg", "mimi.jpg.json"}


def test_F22_a_file_of_another_program_is_left_unchanged(tmp_path):
    """Google Takeout uses the same name: it stays as it is, and ours gets another."""
    ref, sink = photo(tmp_path), Sidecars(tmp_path)
    (tmp_path / "mimi.jpg.json").write_text('{"title": "mimi.jpg"}')
    sink.write(ref, record_for(ref), sink.look(ref))
    assert read(tmp_path / "mimi.jpg.json") == {"title": "mimi.jpg"}
    assert read(tmp_path / "mimi.jpg.pawtag.json")["schema"] == "pawtag.record/1"
    assert sink.look(ref).stamp.describes(ref)


def test_F22_a_file_of_another_program_that_comes_later_is_left_unchanged(tmp_path):
    """It may replace ours; then the photo needs a record under the other name."""
    ref, sink = photo(tmp_path), Sidecars(tmp_path)
    sink.write(ref, record_for(ref), sink.look(ref))
    (tmp_path / "mimi.jpg.json").write_text("[]")
    assert sink.look(ref).stamp is None
    sink.write(ref, record_for(ref), sink.look(ref))
    assert read(tmp_path / "mimi.jpg.json") == []
    assert sink.look(ref).stamp.describes(ref)


@pytest.mark.parametrize(
    "broken", ['{"schema": "pawtag.record/1", "status": "tag', '{\n "schema": "pawtag.record/1",\n "sta\x00']
)
def test_F21_a_broken_sidecar_of_ours_is_replaced(tmp_path, broken):
    """A truncated record is written again, under the same name."""
    ref, sink = photo(tmp_path), Sidecars(tmp_path)
    (tmp_path / "mimi.jpg.json").write_text(broken)
    assert sink.look(ref).stamp is None
    sink.write(ref, record_for(ref), sink.look(ref))
    assert sink.look(ref).stamp.describes(ref)
    assert not (tmp_path / "mimi.jpg.pawtag.json").exists()


def test_F21_corrections_and_unknown_fields_stay(tmp_path):
    """Writing again keeps what a person wrote and what pawtag does not own."""
    ref, sink = photo(tmp_path), Sidecars(tmp_path)
    sink.write(ref, record_for(ref), Written())
    path = tmp_path / "mimi.jpg.json"
    path.write_text(json.dumps(read(path) | {"corrected": {"species": ["dog"]}, "album": "summer"}))
    seen = sink.look(ref)
    assert seen.corrections == {"species": ["dog"]}
    sink.write(ref, record_for(ref, fingerprint="newer", corrected={"species": ["dog"]}), seen)
    assert (read(path)["album"], read(path)["fingerprint"]) == ("summer", "newer")
    assert read(path)["corrected"] == {"species": ["dog"]}
    assert sink.look(ref).stamp.describes(ref)


def test_F21_a_correction_that_comes_between_look_and_write_is_not_lost(tmp_path):
    """The writer is told to look again."""
    ref, sink = photo(tmp_path), Sidecars(tmp_path)
    sink.write(ref, record_for(ref), Written())
    seen, path = sink.look(ref), tmp_path / "mimi.jpg.json"
    path.write_text(json.dumps(read(path) | {"corrected": {"species": ["dog"]}}))
    with pytest.raises(ChangedError):
        sink.write(ref, record_for(ref), seen)
    assert read(path)["corrected"] == {"species": ["dog"]}


def test_F15_a_photo_with_the_longest_name_gets_its_record(tmp_path):
    """The file system takes the shortened name, and the stamp is found again."""
    ref, sink = photo(tmp_path, "x" * 251 + ".jpg"), Sidecars(tmp_path)
    sink.write(ref, record_for(ref), sink.look(ref))
    assert sink.look(ref).stamp.describes(ref)


def test_F15_a_photo_whose_name_is_not_utf8_gets_its_record(tmp_path):
    """Bytes that are no UTF-8 are a name like any other."""
    ref, sink = photo(tmp_path, os.fsdecode(b"\xff\xfe.jpg")), Sidecars(tmp_path)
    sink.write(ref, record_for(ref), sink.look(ref))
    assert sink.look(ref).stamp.describes(ref)


def test_W04_a_sidecar_has_the_mode_of_the_umask(tmp_path):
    """Not 0600, as temporary files have."""
    ref, before = photo(tmp_path), os.umask(0o027)
    try:
        Sidecars(tmp_path).write(ref, record_for(ref), Written())
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "mimi.jpg.json").stat().st_mode) == 0o640


def test_W02_sidecars_go_into_a_mirror_tree(tmp_path):
    """With sidecar.dir nothing is written among the photos."""
    (tmp_path / "photos/deep").mkdir(parents=True)
    ref, sink = photo(tmp_path / "photos/deep"), Sidecars(tmp_path / "photos", tmp_path / "mirror")
    sink.write(ref, record_for(ref), sink.look(ref))
    assert (tmp_path / "mirror/deep/mimi.jpg.json").exists()
    assert os.listdir(tmp_path / "photos/deep") == ["mimi.jpg"]
    assert sink.look(ref).stamp.describes(ref)


def test_F11_a_photo_that_is_gone_gets_no_sidecar(tmp_path):
    """A photo deleted while it was tagged leaves nothing behind."""
    ref = photo(tmp_path)
    os.unlink(ref.uri)
    with pytest.raises(GoneError):
        Sidecars(tmp_path).write(ref, record_for(ref), Written())
    assert os.listdir(tmp_path) == []


def test_W02_a_folder_that_cannot_be_written_is_named(tmp_path):
    """The fault may pass, and the message says what is wrong."""
    ref = photo(tmp_path)
    (tmp_path / "mirror").write_text("a file where the folder should be")
    with pytest.raises(TemporaryError, match="cannot be read or written"):
        Sidecars(tmp_path, tmp_path / "mirror").write(ref, record_for(ref), Written())


def test_W01_a_failed_write_leaves_no_file(tmp_path, monkeypatch):
    """Where the disk gives out before the rename, neither half a file nor a temporary one stays."""

    def no_space(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    ref = photo(tmp_path)
    with pytest.raises(TemporaryError, match="No space is left"):
        Sidecars(tmp_path).write(ref, record_for(ref), Written())
    assert os.listdir(tmp_path) == ["mimi.jpg"]


def test_F22_our_sidecar_keeps_its_name_when_the_other_file_goes(tmp_path):
    """A Takeout file removed later neither strands the record next to it nor loses its correction."""
    ref, sink = photo(tmp_path), Sidecars(tmp_path)
    (tmp_path / "mimi.jpg.json").write_text("{}")
    sink.write(ref, record_for(ref), sink.look(ref))
    path = tmp_path / "mimi.jpg.pawtag.json"
    path.write_text(json.dumps(read(path) | {"corrected": {"species": "dog"}}))
    (tmp_path / "mimi.jpg.json").unlink()
    sink.write(ref, record_for(ref), sink.look(ref))
    assert read(path)["corrected"] == {"species": "dog"}
    assert not (tmp_path / "mimi.jpg.json").exists()


def test_F23_two_daemons_at_once_leave_one_record(tmp_path):
    """The one that comes second replaces the first's record; it writes no second file."""
    ref, sink = photo(tmp_path), Sidecars(tmp_path)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: sink.write(ref, record_for(ref), Written()), range(50)))
    assert set(os.listdir(tmp_path)) == {"mimi.jpg", "mimi.jpg.json"}


@pytest.mark.parametrize("slip", [{"species": 5}, "dog", ["dog"]])
def test_F21_a_correction_of_another_form_is_kept_as_it_stands(tmp_path, slip):
    """Whether it is understood is the pipeline's to say; what is not is the user's to mend."""
    ref, sink = photo(tmp_path), Sidecars(tmp_path)
    sink.write(ref, record_for(ref), sink.look(ref))
    path = tmp_path / "mimi.jpg.json"
    path.write_text(json.dumps(read(path) | {"corrected": slip}))
    assert sink.look(ref).stamp.describes(ref)
    sink.write(ref, record_for(ref), sink.look(ref))
    assert read(path)["corrected"] == slip


def test_F21_a_lone_surrogate_of_another_program_is_kept(tmp_path):
    """A foreign key that is no Unicode is kept, escaped."""
    ref, sink = photo(tmp_path), Sidecars(tmp_path)
    sink.write(ref, record_for(ref), sink.look(ref))
    path = tmp_path / "mimi.jpg.json"
    path.write_text(json.dumps(read(path) | {"title": "\ud83d"}))
    sink.write(ref, record_for(ref), sink.look(ref))
    assert read(path)["title"] == "\ud83d"


@pytest.mark.parametrize(
    ("written", "edited"),
    [
        ('"corrected": null', '"corrected": {"species": ["dog"],}'),
        ('"corrected": null', "\"corrected\": {'species': ['dog']}"),
        ('"corrected": null,', '"corrected": {"species": ["dog"]}, // it is a dog'),
        ('"outputs": {}', '"outputs": {}, "rating": 5,'),
    ],
)
def test_F21_W07_a_slip_in_an_edited_sidecar_loses_nothing(tmp_path, caplog, written, edited):
    """One comma too many: the file is kept under another name, and the log says where the slip is."""
    ref, sidecars = photo(tmp_path), Sidecars(tmp_path)
    sidecars.write(ref, record_for(ref), sidecars.look(ref))
    path = tmp_path / "mimi.jpg.json"
    text = path.read_text().replace(written, edited)
    for number in range(2):
        path.write_text(text)
        sidecars.write(ref, record_for(ref), sidecars.look(ref))
        kept = [each for each in tmp_path.iterdir() if each.name.endswith(".broken.json")]
        assert len(kept) == number + 1
        assert {each.read_text() for each in kept} == {text}
    assert read(path)["status"] == "tagged"
    assert "is no JSON (" in caplog.text
    assert "line " in caplog.text


def test_F15_the_length_of_names_is_that_of_the_file_system(tmp_path, monkeypatch):
    """143 bytes on eCryptfs. A folder of the mirror tree that is not there yet has the limit of the one above it."""
    monkeypatch.setattr(os, "pathconf", lambda folder, _: 143 if Path(folder).is_dir() else Path(folder).stat())
    (tmp_path / "photos").mkdir()
    name = f"{'x' * 138}.jpg"
    ref, sidecars = photo(tmp_path / "photos", name), Sidecars(tmp_path / "photos", tmp_path / "mirror")
    sidecars.write(ref, record_for(ref), sidecars.look(ref))
    [written] = (tmp_path / "mirror").iterdir()
    assert len(written.name) <= 143
    assert sidecars.look(ref).stamp.describes(ref)


def test_F32_a_record_of_an_object_does_not_vouch_for_a_file(tmp_path):
    """Synced from a bucket, it has an ETag; a file of the same size and time may have any content."""
    ref, sidecars = photo(tmp_path), Sidecars(tmp_path)
    synced = record_for(ref, source=SourceInfo(kind="s3", uri="s3://b/k", etag="e", mtime_ns=ref.mtime_ns))
    sidecars.write(ref, synced, sidecars.look(ref))
    assert not sidecars.look(ref).stamp.describes(ref)
