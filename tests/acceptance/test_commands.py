"""The other commands, as a user types them."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

from pawtag import __version__
from support.paths import ROOT
from support.process import command, environment

pytestmark = pytest.mark.timeout(180)


def test_tag_prints_what_it_found(tmp_path, chelsea):
    """A line a file, in the order given; exit 1 when one of them failed."""
    (tmp_path / "broken.jpg").write_bytes(b"broken")
    found = command("tag", "broken.jpg", chelsea, home=tmp_path)
    lines = found.stdout.decode().splitlines()
    assert found.returncode == 1
    assert lines[0].startswith("broken.jpg: failed, not-an-image")
    assert ": cat " in lines[1]


def test_tag_json_prints_one_record_a_line(tmp_path, chelsea):
    """The record of the contract; - reads standard input and has no name."""
    found = command("tag", "--json", chelsea, "-", home=tmp_path, stdin=chelsea.read_bytes())
    first, second = (json.loads(line) for line in found.stdout.decode().splitlines())
    assert found.returncode == 0
    assert (first["photo"]["name"], second["photo"]["name"]) == ("chelsea.png", None)
    assert first["scores"] == second["scores"]
    assert first["source"] == {"kind": "request"}


def test_tag_of_a_missing_file_fails_with_one_sentence(tmp_path):
    """A failed record, exit 1."""
    found = command("tag", "--json", "absent.jpg", home=tmp_path)
    assert found.returncode == 1
    assert json.loads(found.stdout)["error"]["code"] == "unreadable"


def test_scan_brings_a_folder_up_to_date_once(tmp_path, chelsea):
    """--dry-run only says what; then it is done; then there is nothing to do. A broken photo is a result."""
    folder = tmp_path / "pets"
    folder.mkdir()
    shutil.copy2(chelsea, folder / "a.png")
    (folder / "b.jpg").write_bytes(b"broken")
    preview = command("scan", "--dry-run", folder, home=tmp_path)
    assert "photos to tag: 2" in preview.stdout.decode()
    assert len(list(folder.iterdir())) == 2
    first = command("scan", folder, home=tmp_path, PAWTAG_FOLDER__STABLE_S="0.2")
    assert (first.returncode, first.stdout.decode().splitlines()[0]) == (0, "1 tagged, 0 without a pet, 1 failed")
    assert f"  {folder / 'b.jpg'}: not-an-image: " in first.stdout.decode()
    second = command("scan", "--strict", folder, home=tmp_path)
    lines = second.stdout.decode().splitlines()
    assert (second.returncode, lines[0]) == (1, "0 tagged, 0 without a pet, 0 failed")
    assert lines[1].startswith("1 failed, unchanged since 20")
    assert "b.jpg: not-an-image" in lines[2]
    assert lines[3] == "skipped: 2 current"
    assert json.loads((folder / "a.png.json").read_text())["tags"][0]["label"] == "cat"


def test_config_shows_checks_and_describes(tmp_path):
    """show prints TOML, check says all is right, schema is a JSON Schema."""
    shown = command("config", "show", home=tmp_path, PAWTAG_SERVER__API_KEY="hunter2")
    assert 'id = "openai/clip-vit-base-patch32"' in shown.stdout.decode()
    assert "hunter2" not in shown.stdout.decode()
    assert b"are right" in command("config", "check", home=tmp_path).stdout
    assert json.loads(command("config", "schema", home=tmp_path).stdout)["properties"]["folder"]


def test_model_show_says_which_model_tags(tmp_path):
    """Its name, engine, digest, whether it is calibrated."""
    shown = json.loads(command("model", "show", "--json", "--model", "embedded", home=tmp_path).stdout)
    assert (shown["id"], shown["calibrated"], len(shown["digest"])) == ("embedded", True, 64)


def test_the_version_is_printed():
    """From one place."""
    assert command("--version", home=ROOT).stdout.decode() == f"pawtag {__version__}\n"


def test_help_names_every_command():
    """And does not load torch on the way."""
    said = command("--help", home=ROOT, PYTHONPROFILEIMPORTTIME="1")
    for name in ("run", "tag", "scan", "config", "model"):
        assert name in said.stdout.decode()
    assert "pawtag.cli.clean" in said.stderr.decode(), "what is imported is not shown"
    assert " torch" not in said.stderr.decode()


def test_P06_tag_ends_quietly_when_its_reader_is_gone(tmp_path, chelsea):
    """`pawtag tag ... | head -1` is no traceback."""
    line = f"{sys.executable} -m pawtag tag {chelsea} {chelsea} {chelsea} | head -1"
    found = subprocess.run(["sh", "-c", line], capture_output=True, cwd=tmp_path, env=environment(tmp_path), timeout=60)
    assert b"cat" in found.stdout
    assert b"Traceback" not in found.stderr


def test_W02_a_scan_of_a_folder_that_cannot_be_written_ends(tmp_path, chelsea):
    """Exit 1, with the setting that helps."""
    folder = tmp_path / "pets"
    folder.mkdir()
    shutil.copy(chelsea, folder)
    (tmp_path / "blocked").write_text("a file")
    settings = {"PAWTAG_SIDECAR__DIR": str(tmp_path / "blocked"), "PAWTAG_FOLDER__STABLE_S": "0.1"}
    settings["PAWTAG_FOLDER__PATH"] = str(tmp_path / "pets")
    found = command("scan", folder, home=tmp_path, **settings)
    assert found.returncode == 1
    assert f"{tmp_path / 'blocked'} cannot be read: Not a directory".encode() in found.stderr


def test_the_wheel_carries_the_model(tmp_path):
    """`pip install` of the built wheel needs no other download to tag."""
    sources = tmp_path / "sources"
    shutil.copytree(ROOT / "daemon", sources / "daemon", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, sources)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, sources],
        check=True,
        timeout=110,
        capture_output=True,
    )
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    for name in (
        "inference/embedded/model.safetensors",
        "inference/embedded/tokenizer.json",
        "defaults/labels.toml",
        "inference/self_test.png",
    ):
        assert f"pawtag/{name}" in names


def tagged_folder(home: Path, chelsea: Path, **settings: str) -> Path:
    """A folder of two photos with their sidecars."""
    folder = home / "pets"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        shutil.copy2(chelsea, folder / name)
    assert command("scan", folder, home=home, PAWTAG_FOLDER__STABLE_S="0.2", **settings).returncode == 0
    return folder


def test_clean_removes_exactly_what_pawtag_wrote(tmp_path, chelsea):
    """Photos, other files and corrections stay; --dry-run only names; --corrected takes those back too."""
    folder = tagged_folder(tmp_path, chelsea)
    (folder / "c.jpg.json").write_text('{"title": "c.jpg"}')
    mine = folder / "b.png.json"
    mine.write_text(json.dumps(json.loads(mine.read_text()) | {"corrected": {"species": ["dog"]}}))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    preview = command("clean", "--dry-run", folder, home=tmp_path)
    assert (preview.returncode, preview.stdout.decode().splitlines()[0]) == (0, str(folder / "a.png.json"))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    found = command("clean", folder, home=tmp_path)
    assert found.stdout.decode().splitlines()[0] == "files removed: 1"
    assert "sidecars kept, with corrections or keys of other programs: 1" in found.stdout.decode()
    assert {path.name for path in folder.iterdir()} == {"a.png", "b.png", "b.png.json", "c.jpg.json"}
    command("clean", "--corrected", folder, home=tmp_path)
    assert {path.name for path in folder.iterdir()} == {"a.png", "b.png", "c.jpg.json"}


def test_prune_removes_the_sidecars_of_photos_that_are_gone(tmp_path, chelsea):
    """Not those with a correction; and none at all where no photo is there: a disk that is not mounted."""
    folder = tagged_folder(tmp_path, chelsea)
    (folder / "a.png").rename(folder / "c.png")
    found = command("scan", "--prune", folder, home=tmp_path, PAWTAG_FOLDER__STABLE_S="0.2")
    lines = found.stdout.decode().splitlines()
    assert (lines[0], lines[-1]) == ("1 tagged, 0 without a pet, 0 failed", "files removed: 1")
    assert {path.name for path in folder.iterdir()} == {"b.png", "b.png.json", "c.png", "c.png.json"}
    for photo in folder.glob("*.png"):
        photo.unlink()
    refused = command("scan", "--prune", folder, home=tmp_path)
    assert refused.returncode == 1
    assert "is it mounted" in refused.stderr.decode()
    assert {path.name for path in folder.iterdir()} == {"b.png.json", "c.png.json"}


def test_F13_another_content_of_the_same_size_and_time_is_found_by_verify(tmp_path, chelsea):
    """A restored backup; without --verify it is not noticed, and what is as it was is not written again."""
    folder = tagged_folder(tmp_path, chelsea)
    photo, times = folder / "a.png", (folder / "a.png").stat()
    photo.write_bytes(photo.read_bytes()[:-1] + b"x")
    os.utime(photo, ns=(times.st_atime_ns, times.st_mtime_ns))
    untouched = (folder / "b.png.json").stat().st_mtime_ns
    assert "photos to tag: 0" in command("scan", "--dry-run", folder, home=tmp_path).stdout.decode()
    assert "photos to tag: 1" in command("scan", "--dry-run", "--verify", folder, home=tmp_path).stdout.decode()
    found = command("scan", "--verify", folder, home=tmp_path, PAWTAG_FOLDER__STABLE_S="0.2")
    assert found.stdout.decode().startswith("1 tagged, 0 without a pet, 0 failed\n")
    assert (folder / "b.png.json").stat().st_mtime_ns == untouched
    again = command("scan", "--verify", folder, home=tmp_path)
    assert again.stdout.decode().startswith("0 tagged, 0 without a pet, 0 failed\n")


def test_clean_of_a_subfolder_cleans_that_part_of_the_mirror_tree(tmp_path, chelsea):
    """With sidecar.dir, a part of the watched folder has its sidecars in the same part of the tree."""
    mirrored = {
        "PAWTAG_SIDECAR__DIR": str(tmp_path / "mirror"),
        "PAWTAG_FOLDER__PATH": str(tmp_path),
    }
    folder = tagged_folder(tmp_path, chelsea, **mirrored)
    assert (tmp_path / "mirror/pets/a.png.json").is_file()
    assert {path.name for path in folder.iterdir()} == {"a.png", "b.png"}
    found = command("clean", folder, home=tmp_path, **mirrored)
    assert found.stdout.decode() == "files removed: 2\n"
    assert not (tmp_path / "mirror/pets/a.png.json").exists()


@pytest.mark.parametrize("arguments", [("clean",), ("scan", "--prune"), ("scan",)])
def test_F29_the_mirror_tree_of_another_folder_is_left_alone(tmp_path, chelsea, arguments):
    """Where it is unknown which records of the tree belong to a folder, nothing is written or removed."""
    mirrored = {"PAWTAG_SIDECAR__DIR": str(tmp_path / "mirror"), "PAWTAG_FOLDER__PATH": str(tmp_path / "pets")}
    tagged_folder(tmp_path, chelsea, **mirrored)
    before = sorted(path.name for path in (tmp_path / "mirror").iterdir())
    (tmp_path / "other").mkdir()
    for folder, settings in (
        (tmp_path / "other", mirrored),
        (tmp_path / "pets", {**mirrored, "PAWTAG_FOLDER__PATH": ""}),
    ):
        found = command(*arguments, folder, home=tmp_path, **settings)
        assert found.returncode == 2
        assert b"set folder.path to the folder that" in found.stderr
    assert sorted(path.name for path in (tmp_path / "mirror").iterdir()) == before


def test_F24_a_scan_ends_while_one_photo_changes_all_the_time(tmp_path, chelsea):
    """A webcam overwrites latest.png: it is tagged from a snapshot, or named."""
    folder = tmp_path / "pets"
    folder.mkdir()
    shutil.copy(chelsea, folder / "old.png")
    os.utime(folder / "old.png", (1, 1))
    stop = threading.Event()

    def overwrite() -> None:
        while not stop.wait(0.4):
            shutil.copy(chelsea, folder / "latest.png")

    webcam = threading.Thread(target=overwrite)
    webcam.start()
    try:
        time.sleep(0.5)
        command("scan", folder, home=tmp_path)  # it ends within the time that `command` allows
    finally:
        stop.set()
        webcam.join()
    assert (folder / "old.png.json").exists()


def test_status_says_what_pawtag_does_with_each_path(tmp_path, chelsea):
    """A line each, in the order given; with --json an object each."""
    folder = tagged_folder(tmp_path, chelsea)
    (folder / "notes.txt").write_text("x")
    found = command("status", folder / "a.png", folder / "notes.txt", home=tmp_path)
    lines = found.stdout.decode().splitlines()
    assert found.returncode == 0
    assert lines[0].startswith(f"{folder / 'a.png'}: current, since 20")
    assert "skipped: Its name matches none of folder.patterns" in lines[1]
    described = command("status", "--json", folder / "a.png", home=tmp_path)
    assert json.loads(described.stdout)["state"] == "current"
    assert command("status", home=tmp_path, PAWTAG_SERVER__PORT="1").returncode == 1, "no daemon is running"


def test_correct_with_other_labels_says_so(tmp_path, chelsea):
    """Whoever forgets --labels would wonder why labels of the daemon are gone from the record."""
    folder = tagged_folder(tmp_path, chelsea)
    (tmp_path / "mine.toml").write_text(
        'templates = ["a {}"]\n[groups.species]\nlabels.cat = ["cat"]\nlabels.dog = ["dog"]\n'
    )
    first, second = (
        command("correct", folder / "a.png", "--species", "dog", "--labels", "mine.toml", home=tmp_path)
        for _ in range(2)
    )
    assert b"a.png was tagged with another model or other labels" in first.stderr
    assert b"other labels" not in second.stderr


def test_correct_writes_what_a_person_knows_better(tmp_path, chelsea):
    """From the command line and from a table; a slip is refused before anything is written."""
    folder = tagged_folder(tmp_path, chelsea)
    found = command("correct", folder / "a.png", "--species", "dog", "--coat", "none", home=tmp_path)
    assert found.stdout.decode() == f"{folder / 'a.png'}: dog 1.00\n"
    assert json.loads((folder / "a.png.json").read_text())["corrected"] == {"species": ["dog"], "coat": []}
    slip = command("correct", folder / "a.png", "--species", "dgo", home=tmp_path)
    assert slip.returncode == 2
    assert b"known are cat, dog" in slip.stderr
    (folder / "table.csv").write_text("file,species,coat\nb.png,cat/dog,\ngone.png,cat,\n")
    table = command("correct", "--from", folder / "table.csv", home=tmp_path)
    assert table.returncode == 1
    assert b"gone.png: No such file" in table.stderr
    for line, what in (
        ("b.png,cat,,", b"more cells"),
        ("b.png,,", b"at least one label"),
        ("b.png,dgo,", b"known are cat"),
    ):
        (folder / "table.csv").write_text(f"file,species,coat\n{line}\n")
        refused = command("correct", "--from", folder / "table.csv", home=tmp_path)
        assert (refused.returncode, what in refused.stderr, b"line 2" in refused.stderr) == (2, True, True)
    assert [tag["label"] for tag in json.loads((folder / "b.png.json").read_text())["tags"][:2]] == ["cat", "dog"]
    (folder / "table.csv").write_text("file,species\nb.png,cat\n")
    assert command("correct", "--from", folder / "table.csv", "--undo", home=tmp_path).returncode == 0
    assert json.loads((folder / "b.png.json").read_text())["corrected"] is None
    command("correct", folder / "a.png", "--undo", home=tmp_path)
    assert json.loads((folder / "a.png.json").read_text())["corrected"] is None


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (("tag", "."), b"'pawtag scan'"),
        (("tag", "s3://pets/a.png"), b"'pawtag s3 scan'"),
        (("scan", "s3://pets"), b"'pawtag s3 scan"),
        (("correct", "a.png"), b"--species dog"),
        (("correct", "--species", "cat"), b"Name the photos"),
    ],
)
def test_whoever_takes_the_wrong_command_is_told_the_right_one(tmp_path, arguments, advice):
    """Exit 2, before a model is loaded."""
    found = command(*arguments, home=tmp_path)
    assert found.returncode == 2
    assert advice in found.stderr


def test_the_fallback_says_on_stderr_that_it_works(tmp_path, chelsea):
    """Whoever reads only the tags would not know."""
    found = command("tag", chelsea, home=tmp_path, PAWTAG_MODEL__ID="org/absent", PAWTAG_MODEL__DOWNLOAD="false")
    assert b"org/absent is not on this machine, and the embedded model tags instead" in found.stderr


def test_config_names_the_file_and_checks_the_labels(tmp_path):
    """Which file is in use; what a label needs to be found."""
    (tmp_path / "my.toml").write_text('[labels]\nfile = "labels.toml"\n[model]\nid = "embedded"\n')
    (tmp_path / "labels.toml").write_text(
        'templates = ["a photo of a {}"]\n[groups.species]\nlabels.cat = ["cat"]\nlabels.quokka = ["quokka"]\n'
        '[groups.place]\nlabels.cat = ["sofa"]\n'
    )
    shown = command("--config", "my.toml", "config", "show", home=tmp_path)
    assert shown.stdout.decode().startswith("# settings from my.toml\n")
    found = command("--config", "my.toml", "config", "check", home=tmp_path).stdout.decode()
    assert "  species: cat, quokka" in found
    assert "cat is a label of species and place" in found
    assert "gives them no score: quokka" in found
