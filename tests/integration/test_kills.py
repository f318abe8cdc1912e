"""A kill at each step of one photo's way ends in the same state as none."""

import json
import os
import subprocess
import sys
from contextlib import closing

import pytest

from pawtag.state.database import StateDatabase
from support.buckets import count_messages, put, sidecar, tags
from support.killed_worker import STEPS
from support.paths import ROOT
from support.pictures import plain

KILLED = -9


def run(step: str, *arguments: str) -> int:
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'daemon'}:{ROOT / 'tests'}"}
    command = [sys.executable, "-m", "support.killed_worker", step, *arguments]
    return subprocess.run(command, env=environment, timeout=60, check=False).returncode


@pytest.fixture
def home(tmp_path):
    for name in ("photos", "outputs"):
        (tmp_path / name).mkdir()
    return tmp_path


def read_state(home, record: dict) -> dict:
    """What is there in the end, but for times."""
    with closing(StateDatabase(home / "state")) as database:
        rows = {table: database.quick.execute(f"SELECT uri FROM {table}") for table in ("in_flight", "owed")}
    record = {name: value for name, value in record.items() if name != "tagged_at"}
    record["source"] = {name: value for name, value in record["source"].items() if name != "mtime_ns"}
    files = {path.name: path.read_text() for path in (home / "outputs").iterdir()}
    return {"record": record, "files": files, **rows}


EXPECTED_TAGS = [{"label": "red", "group": "species", "score": 1.0}]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.timeout(120)
def test_P02_a_kill_at_any_step_leaves_a_file_as_no_kill_does(home, step):
    """One record, one output, no row that is left over."""
    (home / "photos" / "a.png").write_bytes(plain())
    assert run(step, "file", str(home)) == KILLED
    assert run("none", "file", str(home)) == 0
    state = read_state(home, json.loads((home / "photos" / "a.png.json").read_text()))
    assert state["record"]["tags"] == EXPECTED_TAGS
    assert state["record"]["outputs"] == {"keywords": {"file": "a.png.keywords"}}
    assert (state["files"], state["owed"], state["in_flight"]) == ({"a.png.keywords": "red"}, [], [])
    assert sorted(path.name for path in (home / "photos").iterdir()) == ["a.png", "a.png.json"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.timeout(120)
def test_P02_a_kill_at_any_step_leaves_an_object_as_no_kill_does(store, home, step):
    """Its message is gone, its tags and its record are there."""
    put(store, "a.png", plain(), album="summer")
    assert run(step, "object", str(home), store.address, store.url) == KILLED
    assert run("none", "object", str(home), store.address, store.url) == 0
    state = read_state(home, sidecar(store, "a.png"))
    assert state["record"]["tags"] == EXPECTED_TAGS
    assert (state["files"], state["owed"], state["in_flight"]) == ({"a.png.keywords": "red"}, [], [])
    found = tags(store, "a.png")
    assert (found["album"], found["pawtag:species"]) == ("summer", "red")
    assert count_messages(store) == 0
