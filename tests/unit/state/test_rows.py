"""What the state holds: resume points, dead letters, recent results, what is owed."""

import asyncio
from contextlib import closing

import pytest

from pawtag.clock import utc_timestamp
from pawtag.domain.errors import TemporaryError
from pawtag.domain.outcomes import PhotoFailed, PhotoSkipped, PhotoTagged
from pawtag.domain.records import Failure, PhotoRef, SourceInfo
from pawtag.state import dead_letters, results, resume_point
from pawtag.state.database import StateDatabase
from pawtag.state.dead_letters import DeadLetters
from pawtag.state.owed import OwedPhotos, find_owed
from pawtag.state.results import RecentResults
from pawtag.state.resume_point import ResumePoint
from support.records import record_for


@pytest.fixture
def database(tmp_path):
    with closing(StateDatabase(tmp_path)) as found:
        yield found


def test_a_resume_point_moves_once_everything_before_it_is_done(database):
    """Pieces end in any order."""
    point = ResumePoint(database, "scan", "b", save_interval_s=0)
    first, second = point.begin("k1", 2), point.begin("k2", 1)
    point.finish(second)
    assert ResumePoint(database, "scan", "b").position == ""
    point.finish(first)
    point.finish(first)
    assert ResumePoint(database, "scan", "b").position == "k2"
    assert ResumePoint(database, "scan", "another").position == ""


def test_a_forgotten_resume_point_begins_at_the_beginning(database):
    """As after a complete scan."""
    point = ResumePoint(database, "scan")
    point.position = "k"
    point.save()
    assert ResumePoint(database, "scan").saved_at
    point.forget()
    assert ResumePoint(database, "scan").position == ""


def test_the_oldest_dead_letters_go(database, monkeypatch):
    """They must not fill the disk."""
    monkeypatch.setattr(dead_letters, "MAX_LETTERS", 3)
    letters = DeadLetters(database)
    for number in range(5):
        letters.add("queue", "no JSON", f"body {number}", receives=5)
    assert [letter["body"] for letter in letters.list_letters()] == ["body 2", "body 3", "body 4"]


def outcome(uri: str, status: str = "tagged"):
    ref = PhotoRef(uri, 1, 1)
    error = Failure(code="truncated", message="cut") if status == "failed" else None
    kind = PhotoFailed if error else PhotoTagged
    return kind(ref, record_for(ref, status=status, error=error), 0.1)


async def test_the_newest_record_of_each_photo_is_kept(database):
    """Newest first; by status where one is asked for; what is gone goes."""
    found = RecentResults(database)
    for each in (outcome("/p/a", "failed"), outcome("/p/b", "unsure"), outcome("/p/c"), outcome("/p/a")):
        found(each)
    async with found.keep():
        pass
    assert [row.uri for row in found.list_newest()] == ["/p/a", "/p/c", "/p/b"]
    assert found.list_newest("failed") == []
    assert found.list_newest("unsure")[0].record.status == "unsure"
    found(PhotoSkipped("gone", ref=PhotoRef("/p/b")))
    await found.write()
    assert found.list_newest("unsure") == []


async def test_requests_are_not_kept(database):
    """Whoever posts a photo has its answer, and did not ask for it to be kept."""
    found, ref = RecentResults(database), PhotoRef("")
    found(PhotoTagged(ref, record_for(ref, source=SourceInfo(kind="request")), 0.1))
    await found.write()
    assert found.list_newest() == []


async def test_failed_and_unsure_photos_outlast_the_others(database, monkeypatch):
    """The last tagged ones are kept, and all failed ones."""
    monkeypatch.setattr(results, "MAX_SETTLED", 10)
    found = RecentResults(database)
    for number in range(50):
        found(outcome(f"/p/{number}", "failed" if number % 10 == 0 else "tagged"))
    await found.write()
    assert len(found.list_newest("failed")) == 5
    assert [row.uri for row in found.list_newest("tagged", 2)] == ["/p/49", "/p/48"]
    assert len(found.list_newest("tagged")) == 10


async def test_results_are_found_by_id_and_by_number(database):
    """Page by page, and what came after a number; each is told at once."""
    told = []
    found = RecentResults(database, told.append)
    for number in range(5):
        found(outcome(f"/p/{number}"))
    await found.write()
    first = found.list_newest(max_results=2)
    assert [row.uri for row in found.list_newest(max_results=2, before=first[-1].number)] == ["/p/2", "/p/1"]
    assert [row.uri for row in found.list_after(first[-1].number, 10)] == ["/p/4"]
    assert await found.find(told[3].photo_id) == told[3]
    assert await found.find("0" * 32) is None
    found(outcome("/p/new"))
    assert (await found.find(told[-1].photo_id)).uri == "/p/new"


async def test_numbers_go_on_where_they_were_whatever_the_clock_says(database, monkeypatch):
    """A board without a clock begins in 1970, and readers of the live feed go by the number."""
    first = RecentResults(database)
    first(outcome("/p/a"))
    await first.write()
    monkeypatch.setattr(results.time, "time_ns", lambda: 0)
    second = RecentResults(database)
    second(outcome("/p/b"))
    await second.write()
    assert [row.uri for row in second.list_newest()] == ["/p/b", "/p/a"]


async def test_results_that_cannot_be_written_are_kept(database, monkeypatch):
    """They are written once the disk has room."""
    found = RecentResults(database)
    found(outcome("/p/a", "failed"))

    def refuse(*_):
        raise TemporaryError("full")

    with monkeypatch.context() as full:
        full.setattr(database.quick, "commit", refuse)
        with pytest.raises(TemporaryError):
            await found.write()
    await found.write()
    assert [row.uri for row in found.list_newest()] == ["/p/a"]


async def test_records_of_an_earlier_start_are_found_and_noted_once(database):
    """Failed and unsure ones always, others where they are new to the state; what has changed takes the place of the old."""
    told = []
    found = RecentResults(database, told.append)
    record = outcome("/p/a", "unsure").record
    assert found.wants("/p/a", record)
    for _ in range(2):
        found.note_found("/p/a", record)
        await found.write()
    assert not found.wants("/p/a", record), "each rescan asks again"
    changed = record.model_copy(update={"corrected": {"species": ["dog"]}})
    assert found.wants("/p/a", changed)
    found.note_found("/p/a", changed)
    assert [result.record for result in told] == [record, changed]
    later = RecentResults(database)
    unwritten = changed.model_copy(update={"status": "tagged", "tagged_at": utc_timestamp()})
    assert later.wants("/p/c", unwritten), "the process before ended within the second"
    assert not later.wants("/p/b", outcome("/p/b", "tagged").record)
    assert later.wants("/p/b", outcome("/p/b", "failed").record)


async def test_whoever_writes_waits_for_what_is_being_written(database):
    """A photo that the live feed has told of is found at once."""
    found = RecentResults(database)
    found(outcome("/p/a"))
    first = asyncio.create_task(found.write())
    await asyncio.sleep(0)
    await found.write()
    assert [row.uri for row in found.list_newest()] == ["/p/a"]
    await first


def test_the_results_of_an_earlier_version_begin_again_and_the_rest_stays(tmp_path):
    """They are only a view."""
    with closing(StateDatabase(tmp_path)) as database:
        ResumePoint(database, "scan").save()
        for table in ("results", "outbox"):
            database.durable.execute(f"DROP TABLE {table}")
        database.durable.execute(
            "CREATE TABLE results (uri TEXT PRIMARY KEY, number INTEGER, status TEXT, record TEXT)"
        )
        database.durable.execute("PRAGMA user_version = 1")
    with closing(StateDatabase(tmp_path)) as database:
        assert RecentResults(database).list_newest() == []
        assert ResumePoint(database, "scan").saved_at
    assert not list(tmp_path.glob("*.broken-*"))


async def test_a_photo_that_the_fallback_tags_stays_owed(database):
    """Until the wanted model has tagged it."""
    owed = OwedPhotos(database, "b")
    await owed.add(["s3://b/a.jpg"], "pushed")
    await owed.add(["s3://b/a.jpg"], "retag")
    assert {reason for reason, _ in find_owed(database, "s3://b/a.jpg")} == {"pushed", "retag"}
    await owed.remove("s3://b/a.jpg", keep_retag=True)
    assert (owed.list_uris("pushed", 9), owed.list_uris("retag", 9)) == ([], ["s3://b/a.jpg"])
    await owed.remove("s3://b/a.jpg", keep_retag=False)
    assert find_owed(database, "s3://b/a.jpg") == []


def test_a_resume_point_that_nobody_used_for_a_month_goes(database, monkeypatch):
    """Another model, or other labels, made it another job."""
    old = ResumePoint(database, "scan", "old")
    old.position = "k"
    with monkeypatch.context() as past:
        past.setattr(resume_point, "utc_timestamp", lambda offset_s=0: "2020-01-01T00:00:00Z")
        old.save()
    ResumePoint(database, "scan", "new").save()
    assert ResumePoint(database, "scan", "old").position == ""
