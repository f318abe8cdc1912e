"""The other commands, as a user types them."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pawtag import __version__
from process import command, environment

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(180)


def test_tag_prints_what_it_found(tmp_path, chelsea):
    """A line a file, in the order given; exit 1 when one of them failed."""
    (tmp_path / "broken.jpg").write_bytes(b"broken")
    found = command("tag", "broken.jpg", chelsea, home=tmp_path)
    lines = found.stdout.decode().splitlines()
    assert found.returncode == 1
    assert lines[0].startswith("broken.jpg: failed, not-an-image")
    assert ": cat " in lines[1]


def test_tag_json_prints_a_record_a_line(tmp_path, chelsea):
    """The record of the contract; - reads standard input and has no name."""
    found = command("tag", "--json", chelsea, "-", home=tmp_path, stdin=chelsea.read_bytes())
    first, second = (json.loads(line) for line in found.stdout.decode().splitlines())
    assert found.returncode == 0
    assert (first["photo"]["name"], second["photo"]["name"]) == ("chelsea.png", None)
    assert first["scores"] == second["scores"]
    assert first["source"] == {"kind": "request"}


def test_tag_of_a_file_that_is_not_there(tmp_path):
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
    assert "2 photos would be tagged" in preview.stdout.decode()
    assert len(list(folder.iterdir())) == 2
    first = command("scan", folder, home=tmp_path, PAWTAG_FOLDER__QUIET_S="0.2")
    assert (first.returncode, first.stdout.decode()) == (0, "1 tagged, 0 without a pet, 1 failed\n")
    second = command("scan", folder, home=tmp_path)
    assert second.stdout.decode() == "0 tagged, 0 without a pet, 0 failed\n"
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


def test_version():
    """From one place."""
    assert command("--version", home=ROOT).stdout.decode() == f"pawtag {__version__}\n"


def test_help_names_every_command():
    """And does not load torch on the way."""
    said = command("--help", home=ROOT, PYTHONPROFILEIMPORTTIME="1")
    for name in ("run", "tag", "scan", "config", "model"):
        assert name in said.stdout.decode()
    assert "pawtag.commands.run" in said.stderr.decode()
    assert " torch" not in said.stderr.decode()


def test_tag_whose_reader_has_gone_ends_quietly(tmp_path, chelsea):
    """`pawtag tag ... | head -1` is no traceback."""
    line = f"{sys.executable} -m pawtag tag {chelsea} {chelsea} {chelsea} | head -1"
    found = subprocess.run(["sh", "-c", line], capture_output=True, cwd=tmp_path, env=environment(tmp_path), timeout=60)
    assert b"cat" in found.stdout
    assert b"Traceback" not in found.stderr


def test_a_scan_of_a_folder_that_cannot_be_written_ends(tmp_path, chelsea):
    """Exit 1, with the setting that helps."""
    folder = tmp_path / "pets"
    folder.mkdir()
    shutil.copy(chelsea, folder)
    (tmp_path / "blocked").write_text("a file")
    settings = {"PAWTAG_SIDECAR__DIR": str(tmp_path / "blocked"), "PAWTAG_FOLDER__QUIET_S": "0.1"}
    found = command("scan", folder, home=tmp_path, **settings)
    assert found.returncode == 1
    assert b"1 photos could not be finished" in found.stderr


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
        "models/embedded/model.safetensors",
        "models/embedded/tokenizer.json",
        "defaults/labels.toml",
        "models/known_answer.png",
    ):
        assert f"pawtag/{name}" in names
