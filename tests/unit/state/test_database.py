"""The state: what survives a process, a broken file, a full or read-only disk, a second daemon."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from pawtag.domain.errors import TemporaryError
from pawtag.state import database as module
from pawtag.state.database import SCHEMA_VERSION, StateDatabase
from pawtag.state.in_flight import InFlightPhotos
from pawtag.state.owed import OwedPhotos
from support.paths import ROOT

KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from pawtag.state.database import StateDatabase
from pawtag.state.in_flight import InFlightPhotos
from pawtag.state.owed import OwedPhotos

async def work():
    database = StateDatabase(Path(sys.argv[1]))
    await InFlightPhotos(database).begin("/p/a.jpg")
    await OwedPhotos(database, "b").add(["s3://b/a.jpg"], "pushed")
    await OwedPhotos(database, "b").add(["s3://b/b.jpg"], "retag")
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(work())
"""


@pytest.fixture
def database(tmp_path):
    with closing(StateDatabase(tmp_path)) as found:
        yield found


def kill_at_work(folder) -> None:
    """A process that writes rows, and is killed."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "daemon")}
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder)], env=environment, timeout=30, check=False)
    assert done.returncode == -9


def test_what_a_killed_process_wrote_is_there(tmp_path):
    """In flight, pushed and owed a new tag: the next process takes all of it over."""
    kill_at_work(tmp_path)
    with closing(StateDatabase(tmp_path)) as database:
        assert InFlightPhotos(database).take_abandoned() == ["/p/a.jpg"]
        assert InFlightPhotos(database).take_abandoned() == []
        owed = OwedPhotos(database, "b")
        owed.adopt()
        assert owed.list_uris("pushed", 10) == ["s3://b/a.jpg"]
        assert owed.list_uris("retag", 10) == ["s3://b/b.jpg"]


async def test_the_rows_of_a_living_process_are_nobody_elses(tmp_path, database):
    """Two daemons may share the folder."""
    await InFlightPhotos(database).begin("/p/a.jpg")
    await OwedPhotos(database, "b").add(["s3://b/a.jpg"], "pushed")
    with closing(StateDatabase(tmp_path)) as another:
        assert InFlightPhotos(another).take_abandoned() == []
        OwedPhotos(another, "b").adopt()
        assert OwedPhotos(another, "b").list_uris("pushed", 10) == []


async def test_a_process_that_ends_leaves_no_file_of_its_own(tmp_path):
    """But for the database."""
    with closing(StateDatabase(tmp_path)) as database:
        photos = InFlightPhotos(database)
        await photos.begin("/p/a.jpg")
        photos.end("/p/a.jpg")
        await photos.flush()
        assert database.quick.execute("SELECT * FROM in_flight") == []
    assert {path.name for path in tmp_path.iterdir()} <= {"state.db", "state.db-wal", "state.db-shm"}


@pytest.mark.parametrize("content", [b"no database" * 1000, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_file_that_cannot_be_read_is_set_aside(tmp_path, caplog, content):
    """And begun again, with a warning; the old one is kept."""
    (tmp_path / "state.db").write_bytes(content)
    with closing(StateDatabase(tmp_path)) as database:
        assert OwedPhotos(database, "b").list_uris("pushed", 10) == []
        assert database.lack is None
    (aside,) = tmp_path.glob("state.db.broken-*")
    assert aside.read_bytes() == content
    assert "a new one is made" in caplog.text


def test_a_file_that_another_process_works_with_is_not_set_aside(tmp_path, caplog):
    """It would lose what it writes from then on: the newcomer has its state in memory, and says so."""
    with closing(StateDatabase(tmp_path)) as first:
        first.quick.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        with closing(StateDatabase(tmp_path)) as second:
            assert "it has version" in second.lack
    assert not list(tmp_path.glob("state.db.broken-*"))
    assert "lost when the process ends" in caplog.text


async def test_damage_behind_a_sound_header_is_found_at_the_start(tmp_path, caplog):
    """Not by a daemon that ends at each start."""
    first = StateDatabase(tmp_path)
    await OwedPhotos(first, "b").add([f"s3://b/{number}.jpg" for number in range(500)], "pushed")
    first.close()
    content = (tmp_path / "state.db").read_bytes()
    (tmp_path / "state.db").write_bytes(content[:8192] + b"\xff" * (len(content) - 8192))
    with closing(StateDatabase(tmp_path)) as database:
        assert database.lack is None
        assert OwedPhotos(database, "b").list_uris("pushed", 10) == []
    assert list(tmp_path.glob("state.db.broken-*"))
    assert "a new one is made" in caplog.text


def test_two_processes_that_create_the_file_at_once_both_have_it(tmp_path):
    """SQLite does not wait for the journal mode of another."""
    for number in range(10):
        folder = tmp_path / str(number)
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(StateDatabase, [folder] * 4))
        assert [each.lack for each in found] == [None] * 4
        for each in found:
            each.close()


async def test_a_store_is_owed_by_its_own_daemon_alone(tmp_path):
    """A bucket of the same name may be in another store."""
    first = StateDatabase(tmp_path)
    await OwedPhotos(first, "minio pets").add(["s3://pets/a.jpg"], "pushed")
    first.close()
    with closing(StateDatabase(tmp_path)) as database:
        for source, owed in (("aws pets", []), ("minio pets", ["s3://pets/a.jpg"])):
            OwedPhotos(database, source).adopt()
            assert OwedPhotos(database, source).list_uris("pushed", 10) == owed


def test_a_file_of_a_later_version_is_set_aside(tmp_path, caplog):
    """After a downgrade: work in progress is lost, no record is."""
    StateDatabase(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "state.db")) as later:
        later.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    StateDatabase(tmp_path).close()
    assert list(tmp_path.glob("state.db.broken-*"))
    assert f"it has version {SCHEMA_VERSION + 1}" in caplog.text


@pytest.mark.parametrize("place", ["a file/state", "/proc/pawtag"])
async def test_without_a_folder_that_can_be_written_the_state_is_in_memory(tmp_path, caplog, place):
    """The daemon runs, and says what it lacks."""
    (tmp_path / "a file").write_text("")
    with closing(StateDatabase(tmp_path / place)) as database:
        assert "cannot be used" in database.lack
        owed = OwedPhotos(database, "b")
        await owed.add(["s3://b/a.jpg"], "pushed")
        await InFlightPhotos(database).begin("/p/a.jpg")
        assert owed.list_uris("pushed", 10) == ["s3://b/a.jpg"]
    assert "set state.dir" in caplog.text


def test_on_a_network_file_system_another_journal_is_taken(tmp_path, monkeypatch):
    """WAL needs memory that processes share."""
    monkeypatch.setattr(module, "is_on_network", lambda _: True)
    with closing(StateDatabase(tmp_path)) as database:
        assert database.quick.execute("PRAGMA journal_mode") == [("truncate",)]
        with closing(StateDatabase(tmp_path)) as another:
            assert OwedPhotos(another, "b").list_uris("pushed", 10) == []


def test_what_a_store_is_told_is_flushed_and_the_rest_is_not(database):
    """A power cut loses nothing that was acknowledged; a flush for each photo would cost more than the photo."""
    assert database.durable.execute("PRAGMA synchronous") == [(2,)]
    assert database.quick.execute("PRAGMA synchronous") == [(1,)]
    assert database.quick.execute("PRAGMA journal_mode") == [("wal",)]


async def test_callers_at_the_same_time_share_a_transaction(database, monkeypatch):
    """A thousand pushes wait for a few flushes."""
    runs = []
    run = database.durable.run
    monkeypatch.setattr(database.durable, "run", lambda work: (runs.append(1), run(work))[1])
    owed = OwedPhotos(database, "b")
    await asyncio.gather(*(owed.add([f"s3://b/{number}.jpg"], "pushed") for number in range(1000)))
    assert len(owed.list_uris("pushed", 2000)) == 1000
    assert len(runs) <= 5


async def test_a_fault_of_the_disk_is_told_to_each_caller(database):
    """As one that may pass."""
    database.durable.execute("DROP TABLE owed")
    owed = OwedPhotos(database, "b")
    found = await asyncio.gather(owed.add(["a"], "pushed"), owed.add(["b"], "pushed"), return_exceptions=True)
    assert [type(each) for each in found] == [TemporaryError, TemporaryError]


async def test_tagging_goes_on_where_a_photo_in_flight_cannot_be_noted(database):
    """A full disk must not stop it."""
    database.quick.execute("DROP TABLE in_flight")
    photos = InFlightPhotos(database)
    await photos.begin("/p/a.jpg")
    photos.end("/p/a.jpg")
    await photos.flush()


async def test_the_end_of_a_photo_is_written_soon(database):
    """Without a transaction of its own, and without another photo."""
    photos = InFlightPhotos(database)
    await photos.begin("/p/a.jpg")
    photos.end("/p/a.jpg")
    async with asyncio.timeout(5):
        while database.quick.execute("SELECT * FROM in_flight"):
            await asyncio.sleep(0.02)


async def test_a_photo_that_begins_again_at_once_stays_in_flight(database):
    """It was not finished, and is looked at again."""
    photos = InFlightPhotos(database)
    await photos.begin("/p/a.jpg")
    photos.end("/p/a.jpg")
    await photos.begin("/p/a.jpg")
    await photos.flush()
    assert len(database.quick.execute("SELECT * FROM in_flight")) == 1


async def test_F15_a_name_of_any_bytes_comes_back(tmp_path):
    """Text in SQLite is UTF-8; a file's name may be anything."""
    name = os.fsdecode(b"/p/\xff.jpg")
    first = StateDatabase(tmp_path)
    await InFlightPhotos(first).begin(name)
    first.owner.release()
    with closing(StateDatabase(tmp_path)) as database:
        assert InFlightPhotos(database).take_abandoned() == [name]
    first.close()


def test_a_command_beside_the_daemon_uses_the_same_file(tmp_path, database):
    """Each waits for the other's transaction."""
    with closing(StateDatabase(tmp_path)) as command:
        command.quick.execute("INSERT INTO resume_points VALUES ('scan', 'k', 'now')")
        assert database.quick.execute("SELECT position FROM resume_points") == [("k",)]
