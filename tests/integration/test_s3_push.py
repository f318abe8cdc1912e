"""A bucket without a queue: what the store pushes, and what resyncs find."""

import asyncio
import json
import time
from contextlib import asynccontextmanager, closing
from types import SimpleNamespace

import pytest

from pawtag.domain.errors import TemporaryError
from pawtag.domain.outcomes import PhotoSkipped
from pawtag.domain.records import PhotoRef
from pawtag.s3 import push_inbox
from pawtag.s3.object_source import ObjectSource
from pawtag.s3.resync import Resync
from pawtag.s3.tuning import S3Tuning
from pawtag.state.database import StateDatabase
from pawtag.state.dead_letters import DeadLetters
from pawtag.state.resume_point import ResumePoint
from support.buckets import BUCKET, behind, event, put, run_push_worker, tags, until, wire
from support.doubles import colour_tagger
from support.fault_proxy import FaultProxy, deny
from support.pictures import RED, plain
from support.pipeline import open_parts


def body(*keys: str) -> bytes:
    return json.dumps({"Records": [event(key) for key in keys]}).encode()


async def test_pushed_events_are_tagged(store, tmp_path):
    """Another bucket's are passed over, and counted: no event steers the daemon elsewhere."""
    async with run_push_worker(store, tmp_path, rescan_s=600) as at_work:
        put(store, "a.png", plain(RED))
        skipped = []
        at_work.parts.observers.add(lambda outcome: skipped.append(outcome) if isinstance(outcome, PhotoSkipped) else 0)
        other = json.dumps({"Records": [event("b.png", "other"), event("notes.txt")]}).encode()
        assert await at_work.inbox.accept(other) == 0
        assert {each.reason for each in skipped} == {"other-bucket", "not-a-photo"}
        assert await at_work.inbox.accept(body("a.png")) == 1
        await until(lambda: "pawtag:fingerprint" in tags(store, "a.png"))


@asynccontextmanager
async def open_inbox(store, state):
    """The inbox of a daemon that tags nothing."""
    async with open_parts(colour_tagger(), state) as parts:
        work = wire(store, state=state, bucket=BUCKET).build_owed_runner(parts)
        async with work.inbox.open() as inbox:
            yield inbox


async def test_an_accepted_event_survives_a_kill(store, tmp_path):
    """What is owed is taken up again at the start; done is done."""
    async with open_inbox(store, tmp_path) as inbox:
        await inbox.accept(body("a.png"))
    async with open_inbox(store, tmp_path) as inbox:
        (ref,) = await inbox.take()
        assert ref.uri == "s3://pets/a.png"
        await inbox.mark_finished(ref)
    async with open_inbox(store, tmp_path) as inbox:
        assert len(inbox) == 0


async def test_a_daemon_of_another_bucket_leaves_what_is_owed(store, tmp_path):
    """It could not read those photos."""
    async with open_inbox(store, tmp_path) as inbox:
        await inbox.accept(body("a.png"))
    other = SimpleNamespace(**vars(store) | {"bucket": "pets-of-others"})
    async with open_parts(colour_tagger(), tmp_path) as parts:
        work = wire(other, state=tmp_path, bucket="pets-of-others").build_owed_runner(parts)
        async with work.inbox.open() as inbox:
            assert len(inbox) == 0
    async with open_inbox(store, tmp_path) as inbox:
        assert len(inbox) == 1


async def test_what_a_living_daemon_owes_is_not_taken_over(store, tmp_path):
    """Two daemons may share the folder of the state."""
    async with open_inbox(store, tmp_path) as inbox:
        await inbox.accept(body("a.png"))
        async with open_inbox(store, tmp_path) as another:
            assert len(another) == 0


async def test_no_event_is_accepted_while_the_inbox_is_closed(store, tmp_path):
    """The store is to post it again."""
    async with run_push_worker(store, tmp_path) as at_work:
        pass
    with pytest.raises(TemporaryError):
        await at_work.inbox.accept(body("a.png"))


async def test_pushed_garbage_becomes_a_dead_letter(store, tmp_path):
    """A store would post it for ever."""
    async with run_push_worker(store, tmp_path) as at_work:
        assert await at_work.inbox.accept(b"garbage") == 0
        (letter,) = DeadLetters(at_work.parts.database).list_letters()
    assert (letter["body"], letter["queue"]) == ("garbage", "POST /notifications/s3")


async def test_S15_a_resync_finds_objects_without_an_event(store, tmp_path):
    """At the start; the next one lists, and reads no object that was not modified since."""
    put(store, "a.png", plain(RED))
    put(store, "notes.txt", b"no photo")
    async with run_push_worker(store, tmp_path):
        await until(lambda: "pawtag:fingerprint" in tags(store, "a.png"))
    assert tags(store, "notes.txt") == {}
    with FaultProxy(store.address) as proxy:
        at = behind(store, proxy)
        with closing(StateDatabase(tmp_path)) as database:
            resume_point = ResumePoint(database, "resync", BUCKET, "", at.address)
            resume_point.position = str(time.time_ns() + 120 * 10**9)
            resume_point.save()
        async with run_push_worker(at, tmp_path):
            await until(lambda: any("list-type" in one.query for one in proxy.asked))
        assert proxy.count("GET", ends="a.png") == 0
    assert proxy.count("GET", ends="a.png", tagging=True) == 1, "it is within the margin of the first resync"


async def test_S15_S21_a_long_multipart_upload_is_found_by_the_resync(store, tmp_path):
    """Its LastModified is when it began, before the last resync. What the margin offers again costs one look alone."""
    put(store, "slow.png", plain(RED))
    put(store, "done.png", plain(RED))
    later_s = time.time() + 3600
    with closing(StateDatabase(tmp_path)) as database:
        listing = wire(store, state=tmp_path, bucket=BUCKET).build_listing((BUCKET, ""), ())
        resume_point = ResumePoint(database, "test")
        resume_point.position = str(int(later_s * 1e9))
        offered = []

        class Inbox:
            async def offer(self, refs):
                offered.append(sorted(ref.uri for ref in refs))

        resync = Resync(listing, Inbox(), resume_point, 60, on_skipped=lambda _: None)
        for _ in range(2):
            await resync.run_once()
        await asyncio.sleep(1.1)
        put(store, "done.png", plain(RED))  # the same bytes: its tags are gone
        await resync.run_once()
    assert offered == [["s3://pets/done.png", "s3://pets/slow.png"], [], ["s3://pets/done.png"]]


async def test_an_unreadable_photo_does_not_stop_the_resync(store, tmp_path):
    """Nor is it forgotten: it is tagged once it may be."""
    put(store, "sealed.png", plain(RED))
    with FaultProxy(store.address, deny("sealed.png")) as proxy:
        at = behind(store, proxy)
        async with run_push_worker(at, tmp_path) as at_work:
            await until(lambda: "denied" in (at_work.runner.worker.last_error or ""))
            put(store, "a.png", plain(RED))
            await at_work.runner.resync.run_once()
            await until(lambda: "pawtag:fingerprint" in tags(store, "a.png"))
    async with run_push_worker(store, tmp_path):
        await until(lambda: "pawtag:fingerprint" in tags(store, "sealed.png"))


async def test_S08_ten_thousand_records_in_one_post_are_accepted(store, tmp_path):
    """On the disk before they are answered."""
    async with open_inbox(store, tmp_path) as inbox:
        assert await inbox.accept(body(*(f"{number}.png" for number in range(10_000)))) == 10_000
    async with open_inbox(store, tmp_path) as inbox:
        assert len(inbox) == 10_000


async def test_an_unexpected_error_of_a_resync_is_logged_and_retried(store, tmp_path, monkeypatch):
    """A full disk, say: the next resync comes all the same."""
    put(store, "a.png", plain(RED))
    async with run_push_worker(store, tmp_path, S3Tuning(rescan_s=0.5)) as at_work:
        with monkeypatch.context() as full_disk:
            full_disk.setattr(ResumePoint, "save", lambda _: (tmp_path / "no" / "such").write_text(""))
            await until(lambda: at_work.runner.worker.state.state == "degraded")
        await until(lambda: at_work.runner.worker.state.state == "running")


async def test_a_second_event_for_a_photo_in_flight_stays_owed(store, tmp_path):
    """Also where it is finished while the disk is written."""
    async with open_inbox(store, tmp_path) as inbox:
        await inbox.accept(body("a.png"))
        (ref,) = await inbox.take()
        again = asyncio.create_task(inbox.accept(body("a.png")))
        await asyncio.sleep(0)
        await inbox.mark_finished(ref)
        await again
    async with open_inbox(store, tmp_path) as inbox:
        assert len(inbox) == 1


async def test_S12_a_missing_bucket_is_named_and_waited_for(store, tmp_path):
    """In the state that /readyz shows."""
    absent = SimpleNamespace(**vars(store) | {"bucket": "absent"})
    async with run_push_worker(absent, tmp_path, S3Tuning(rescan_s=0.5)) as at_work:
        await until(lambda: "no such bucket" in (at_work.runner.worker.state.reason or ""))
        store.s3.create_bucket(Bucket="absent")
        put(absent, "a.png", plain(RED))
        await until(lambda: at_work.runner.worker.state.state == "running")
        await until(lambda: "pawtag:fingerprint" in tags(absent, "a.png"))


class Closed:
    """Objects that nobody opens."""

    threads = None  # asyncio's own

    def probe(self) -> None:
        pass


class ListFeed:
    """Photos by their URIs, each once."""

    def __init__(self, uris) -> None:
        self.uris = list(uris)

    async def take(self):
        taken, self.uris = self.uris[:100], self.uris[100:]
        return [PhotoRef(uri) for uri in taken] or None

    async def mark_finished(self, ref) -> None:
        pass

    def rescan(self) -> None:
        pass


async def test_the_stop_does_not_wait_for_retries():
    """It is owed."""
    source, stop = (
        ObjectSource("photos", ListFeed(f"s3://pets/{number}.png" for number in range(50)), Closed()),
        asyncio.Event(),
    )
    seen = 0
    async for each in source.events(stop):
        seen += 1
        await source.retry(each, 0)
        if seen == 60:
            stop.set()
    assert seen == 60


async def test_a_job_with_an_attempt_limit_ends_where_every_photo_fails():
    """A person waits for a scan: a permission that is missing is named soon, not after each photo's fifth try."""
    feed = ListFeed(f"s3://pets/{number}.png" for number in range(5000))
    source, seen = ObjectSource("photos", feed, Closed(), max_attempts=5), 0
    async for each in source.events(asyncio.Event()):
        seen += 1
        await source.retry(each, 60)
    assert seen == len(source.given_up) < 200


async def test_all_that_is_owed_is_taken_after_a_restart(store, tmp_path, monkeypatch):
    """Also more than the memory of the inbox holds at the start."""
    async with open_inbox(store, tmp_path) as inbox:
        await inbox.accept(body(*(f"{number}.png" for number in range(250))))
    monkeypatch.setattr(push_inbox, "MAX_PENDING", 10)
    seen = set()
    async with open_inbox(store, tmp_path) as inbox, asyncio.timeout(20):
        while len(seen) < 250:
            taken = await inbox.take()
            seen |= {ref.uri for ref in taken}
            for ref in taken:
                await inbox.mark_finished(ref)
        assert inbox._pushed_after is not None or len(inbox) == 0


async def test_a_fault_of_the_state_does_not_end_the_daemon(store, tmp_path, monkeypatch, caplog):
    """It is shown, and the state is read again."""
    async with open_parts(colour_tagger(), tmp_path) as parts:
        work, stop = wire(store, state=tmp_path, bucket=BUCKET).build_owed_runner(parts), asyncio.Event()
        adopt, faults = work.inbox._owed.adopt, [1, 2]

        def fail_twice() -> None:
            if faults:
                faults.pop()
                raise TemporaryError("The state is locked.", 0.2)
            adopt()

        monkeypatch.setattr(work.inbox._owed, "adopt", fail_twice)
        running = asyncio.create_task(work.run(stop))
        await until(lambda: not faults)
        assert "The state is locked." in caplog.text
        put(store, "a.png", plain(RED))
        await work.inbox.accept(body("a.png"))
        await until(lambda: "pawtag:fingerprint" in tags(store, "a.png"))
        stop.set()
        await running
