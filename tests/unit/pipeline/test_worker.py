"""The worker: every photo gets its record, once, whatever fails."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from pawtag.domain.errors import ChangedError, GoneError, TemporaryError
from pawtag.domain.outcomes import PhotoFailed, PhotoRetrying, PhotoSkipped, PhotoTagged
from pawtag.domain.records import Event, ModelInfo
from pawtag.pipeline import reconciler, unwritten
from support.doubles import (
    ColourEngine,
    MemoryOutput,
    MemoryRecords,
    MemorySource,
    SlowEngine,
    colour_model,
    colour_tagger,
)
from support.pictures import BLUE, GREEN, RED, plain
from support.pipeline import open_parts


@asynccontextmanager
async def run_worker(source, outputs=None, started_at=None, **tagger_options):
    """A worker over doubles; `outcomes` holds what its observers heard."""
    async with open_parts(colour_tagger(**tagger_options), outputs=outputs) as parts:
        worker = parts.build_worker(source, concurrency=4)
        worker.outcomes, worker.parts = [], parts
        parts.observers.add(worker.outcomes.append)
        if started_at:
            worker._reconciler.started_at = lambda: started_at
        stop = asyncio.Event()
        task = asyncio.create_task(worker.run(stop))
        yield worker
        stop.set()
        await asyncio.wait_for(task, 5)
        worker.left = parts.database.quick.execute("SELECT uri FROM in_flight")


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def run_to_end(photos: dict[str, bytes], records=None, **options) -> tuple[MemorySource, MemoryRecords]:
    source = MemorySource(photos, records)
    async with run_worker(source, **options) as worker:
        await until(lambda: len(source.finished) >= len(photos))
    source.outcomes = worker.outcomes
    return source, source.store


async def test_every_photo_gets_its_record():
    """Tagged, without pet and failed: each a record of its own."""
    _, store = await run_to_end({"a.png": plain(RED), "b.png": plain(BLUE), "c.png": b"broken"})
    assert {uri: record.status for uri, record in store.records.items()} == {
        "a.png": "tagged",
        "b.png": "no-pet",
        "c.png": "failed",
    }
    assert [tag.label for tag in store.records["a.png"].tags] == ["red"]
    assert store.records["c.png"].error.code == "not-an-image"
    assert store.records["c.png"].photo.bytes == 6


async def test_a_current_photo_is_not_tagged_again():
    """The stamp decides: a second event costs nothing."""
    source, store = await run_to_end({"a.png": plain()})
    again, _ = await run_to_end(source.photos, store)
    assert store.writes == 1
    assert [(each.reason, each.ref.uri) for each in again.outcomes] == [("current", "a.png")]


async def test_another_version_of_the_model_tags_again():
    """A record by another fingerprint, from before our start, is stale."""
    source, store = await run_to_end({"a.png": plain()})
    store.records["a.png"] = store.records["a.png"].model_copy(update={"tagged_at": "2020-01-01T00:00:00Z"})
    await run_to_end(source.photos, store, fingerprint="newer")
    assert store.records["a.png"].fingerprint == "newer"


async def test_F20_a_touched_photo_is_refreshed_without_the_model():
    """Same content, another time: the record describes the new version, and the model is called once."""
    engine = ColourEngine()
    source, store = await run_to_end({"a.png": plain()}, model=engine)
    store.versions["a.png"] = store.versions["a.png"].__class__("a.png", 1, 1)
    await run_to_end(source.photos, store, model=engine)
    assert store.writes == 2
    assert engine.batches == [1]
    assert store.versions["a.png"] == source.ref("a.png")


async def test_a_temporary_fault_is_retried_with_growing_delays():
    """A place that fails twice gets the record at the third try; the waits grow."""
    source = MemorySource({"a.png": plain()})
    source.store.faults = [TemporaryError("full", delay_s=1), TemporaryError("full", delay_s=1)]
    async with run_worker(source) as worker:
        await until(lambda: source.finished)
    assert [uri for uri, _ in source.retried] == ["a.png", "a.png"]
    assert source.retried[0][1] < 1.3 < 1.4 < source.retried[1][1]
    assert source.store.writes == 1
    assert [type(each) for each in worker.outcomes] == [PhotoRetrying, PhotoRetrying, PhotoTagged]
    assert worker.outcomes[0].reason == "full"


async def test_W01_a_record_that_cannot_be_written_does_not_run_the_model_again():
    """It is kept with the photo until its write succeeds."""
    engine, source = ColourEngine(), MemorySource({"a.png": plain()})
    source.store.faults = [TemporaryError("full", delay_s=0.01)] * 3
    async with run_worker(source, model=engine):
        await until(lambda: source.finished)
    assert engine.batches == [1]
    assert source.store.records["a.png"].tags[0].label == "red"


async def test_W01_a_photo_that_changes_before_its_write_is_tagged_again():
    """The record that was kept describes another content."""
    engine, source = ColourEngine(), MemorySource({"a.png": plain(RED)})

    def change_photo() -> Exception:
        source.photos["a.png"] = plain(GREEN)
        return TemporaryError("full", delay_s=0.01)

    source.store.faults = [change_photo]
    async with run_worker(source, model=engine):
        await until(lambda: source.finished)
    assert source.store.records["a.png"].tags[0].label == "green"


async def test_W01_photos_wait_while_too_many_records_cannot_be_written(monkeypatch):
    """A full disk in a large backlog neither fills the memory nor wastes the model."""
    monkeypatch.setattr(unwritten, "FULL_DELAY_S", 0.01)
    engine, photos = ColourEngine(), {f"{number}.png": plain() for number in range(20)}
    source = MemorySource(photos)
    source.store.faults = [TemporaryError("full", delay_s=0.01)] * 60
    async with run_worker(source, model=engine) as worker:
        kept = worker._reconciler._unwritten = unwritten.UnwrittenRecords(max_records=5)
        most = 0
        async with asyncio.timeout(10):
            while len(source.finished) < 20:
                most = max(most, len(kept))
                await asyncio.sleep(0)
    assert 5 <= most <= 9  # those that were on their way at the limit are kept, too
    assert sum(engine.batches) == 20


async def test_F21_a_correction_that_comes_between_look_and_write_holds():
    """It is seen at the next look, at once and without the model."""
    engine, source = ColourEngine(), MemorySource({"a.png": plain()})
    source.store.faults = [ChangedError("corrected")]
    embed = engine.embed

    def correct_meanwhile(batch):
        source.store.corrections["a.png"] = {"species": ["green"]}
        return embed(batch)

    engine.embed = correct_meanwhile
    async with run_worker(source, model=engine):
        await until(lambda: source.finished)
    record = source.store.records["a.png"]
    assert ([tag.label for tag in record.tags], record.corrected) == (["green"], {"species": ["green"]})
    assert engine.batches == [1]
    assert source.retried == []


async def test_F21_a_correction_of_a_current_photo_is_applied(caplog):
    """A bare label is understood; the log tells the tags that hold."""
    source, store = await run_to_end({"a.png": plain()})
    store.corrections["a.png"] = "green"
    caplog.clear()
    with caplog.at_level("INFO", logger="pawtag"):
        await run_to_end(source.photos, store)
    assert store.records["a.png"].corrected == {"species": ["green"]}
    assert "a.png: green 1.00" in caplog.text


async def test_F21_a_correction_that_is_not_understood_is_named_once(caplog):
    """With the form that is; the photo is not tagged again for ever."""
    source, store = await run_to_end({"a.png": plain()})
    store.corrections["a.png"] = ["ferret"]
    again = MemorySource(source.photos, store)
    again.pending.put_nowait(Event(again.ref("a.png")))
    async with run_worker(again):
        await until(lambda: len(again.finished) == 2)
    assert store.writes == 1
    assert store.records["a.png"].corrected is None
    assert caplog.text.count("is not understood") == 1


async def test_an_unexpected_error_of_one_photo_does_not_end_the_others(caplog):
    """An unexpected exception is logged, its photo retried, its neighbours are tagged."""
    source = MemorySource({"a.png": plain(), "b.png": plain(GREEN)})
    source.store.faults = [ZeroDivisionError("surprise")]
    async with run_worker(source):
        await until(lambda: len(source.finished) == 2)
    assert len(source.store.records) == 2
    assert "surprise" in caplog.text


async def test_F11_a_photo_that_is_gone_gets_no_record():
    """Deleted while it waits, or while it was tagged: no record, no retry."""
    source = MemorySource({"a.png": plain()})
    source.pending.put_nowait(Event(source.ref("gone.png")))
    source.store.faults = [GoneError("gone")]
    async with run_worker(source) as worker:
        await until(lambda: len(source.finished) == 2)
    assert source.store.records == {}
    assert source.retried == []
    assert [each.reason for each in worker.outcomes if isinstance(each, PhotoSkipped)] == ["gone", "gone"]


async def test_F10_an_unreadable_photo_is_recorded_once_and_tagged_when_readable():
    """It looks the same after chmod: so it is tried again, and the same failure is not written twice."""
    source, store = await run_to_end({"a.png": b"locked"})
    assert store.records["a.png"].error.code == "unreadable"
    again, _ = await run_to_end(source.photos, store)
    assert store.writes == 1
    assert [(each.reason, each.failure.code) for each in again.outcomes] == [("current", "unreadable")]
    await run_to_end({"a.png": plain()}, store)
    assert store.records["a.png"].status == "tagged"


async def test_F23_another_daemon_is_reported_once(caplog):
    """Records that another daemon wrote since our start are left."""
    source, store = await run_to_end({"a.png": plain(), "b.png": plain()})
    for uri in source.photos:
        store.records[uri] = store.records[uri].model_copy(
            update={"fingerprint": "theirs", "tagged_at": "2026-11-23T13:00:00Z"}
        )
    again, _ = await run_to_end(source.photos, store, started_at="2026-11-23T12:00:00Z")
    assert store.writes == 2
    assert caplog.text.count("another daemon") == 1
    assert {each.reason for each in again.outcomes} == {"another-daemon"}


async def test_a_fallback_says_so_in_the_record():
    """The record names the model that was used and the one that was wanted."""
    _, store = await run_to_end({"a.png": plain()}, name=ModelInfo(id="embedded", fallback=True, wanted="org/model"))
    assert store.records["a.png"].model.wanted == "org/model"


async def test_W01_a_temporary_error_shows_in_the_state_until_it_passes():
    """While writing fails the source is degraded, with the reason; then it is not."""
    source = MemorySource({"a.png": plain()})
    source.store.faults = [TemporaryError("the disk is full", delay_s=0.01)] * 3
    seen = []
    async with run_worker(source) as worker:
        while not source.finished:
            seen.append(worker.state)
            await asyncio.sleep(0)
        assert worker.state.state == "running"
    assert ("degraded", "the disk is full") in {(state.state, state.reason) for state in seen}


async def test_an_output_is_written_before_the_record_which_keeps_what_it_returns():
    """From the corrected tags; the next write is told what the last one returned."""
    output, source = MemoryOutput(), MemorySource({"a.png": plain()})
    source.store.corrections["a.png"] = {"species": ["green"]}
    source, _ = await run_to_end(source.photos, source.store, outputs={"xmp": output})
    assert source.store.records["a.png"].outputs == {"xmp": {"keywords": ["green"]}}
    assert source.outcomes[-1].record == source.store.records["a.png"]
    source.store.corrections["a.png"] = {"species": ["red"]}
    await run_to_end(source.photos, source.store, outputs={"xmp": output})
    assert output.before == [None, {"keywords": ["green"]}]
    assert output.settled == ["a.png", "a.png"]


async def test_what_an_output_wrote_for_a_photo_that_went_meanwhile_is_taken_back():
    """No record will say it."""
    output, source = MemoryOutput(), MemorySource({"a.png": plain()})
    source.store.faults = [GoneError("a.png is gone.")]
    async with run_worker(source, outputs={"xmp": output}):
        await until(lambda: source.finished)
    assert output.before == [None]
    assert output.written == {}


async def test_an_output_that_is_switched_on_is_written_for_photos_whose_record_is_current():
    """From the record; the model is not run again."""
    _, store = await run_to_end({"a.png": plain()})
    engine, output = ColourEngine(), MemoryOutput()
    await run_to_end({"a.png": plain()}, store, outputs={"xmp": output}, model=engine)
    assert (output.written, engine.batches) == ({"a.png": ["red"]}, [])
    assert store.records["a.png"].outputs == {"xmp": {"keywords": ["red"]}}


async def test_an_output_that_fails_keeps_the_record_waiting():
    """The record commits, and so it comes last; the model is not run again."""
    engine, output, source = ColourEngine(), MemoryOutput(), MemorySource({"a.png": plain()})
    seen = []

    def fail() -> Exception:
        seen.append(dict(source.store.records))
        return TemporaryError("no space", delay_s=0.01)

    output.faults = [fail]
    async with run_worker(source, outputs={"xmp": output}, model=engine):
        await until(lambda: source.finished)
    assert seen == [{}]
    assert (engine.batches, source.store.writes) == ([1], 1)


async def test_what_an_output_wrote_is_kept_while_it_is_switched_off():
    """So that it can be taken back later."""
    _, store = await run_to_end({"a.png": plain()}, outputs={"xmp": MemoryOutput()})
    await run_to_end({"a.png": plain(GREEN)}, store)
    assert store.records["a.png"].outputs == {"xmp": {"keywords": ["red"]}}


async def test_a_model_that_is_replaced_meanwhile_leaves_no_record_of_the_old_one():
    """The photo that it had in hand is tagged again before its event is done."""
    source = MemorySource({"a.png": plain()})
    loop, taggers, engine = asyncio.get_running_loop(), [], ColourEngine()
    embed = engine.embed

    def replace_meanwhile(batch):
        loop.call_soon_threadsafe(taggers.pop().replace, colour_model(fingerprint="new"))
        return embed(batch)

    engine.embed = replace_meanwhile
    async with run_worker(source, model=engine, fingerprint="old") as worker:
        taggers.append(worker.parts.tagger)
        await until(lambda: source.finished)
    assert taggers == []
    assert source.store.records["a.png"].fingerprint == "new"
    assert source.store.writes == 1


async def test_failures_are_warnings_in_the_log(caplog):
    """Who looks for trouble finds them."""
    await run_to_end({"a.png": b"broken"})
    assert [line.levelname for line in caplog.records if "not-an-image" in line.getMessage()] == ["WARNING"]


async def test_a_changed_fault_is_told_when_it_changes(caplog, monkeypatch):
    """And the same one not for each photo."""
    monkeypatch.setattr("pawtag.pipeline.observers.WARNING_INTERVAL_S", 0)
    source = MemorySource({"a.png": plain()})
    source.store.faults = [TemporaryError(text, delay_s=0.01) for text in ("full", "full", "read-only")]
    async with run_worker(source):
        await until(lambda: source.finished)
    warned = [line.getMessage() for line in caplog.records if line.levelname == "WARNING"]
    assert warned == ["full Retrying (a.png).", "read-only Retrying (a.png)."]


async def test_what_changes_all_the_time_is_retried_with_back_off():
    """It is a fault that is seen, and does not go round at once."""
    source = MemorySource({"a.png": plain()})
    source.store.faults = [ChangedError("changed")] * reconciler.MAX_LOOKS
    async with run_worker(source) as worker:
        await until(lambda: source.finished)
    assert [uri for uri, _ in source.retried] == ["a.png"]
    assert "changes all the time" in worker.last_error


async def test_the_stop_does_not_wait_for_a_free_slot():
    """A backlog on a disk that does not answer: what had no turn comes again."""
    engine = SlowEngine(1.0)
    source = MemorySource({f"{number}.png": plain() for number in range(30)})
    async with open_parts(colour_tagger(engine, batch_size=1)) as parts:
        worker, stop = parts.build_worker(source, concurrency=2), asyncio.Event()
        task = asyncio.create_task(worker.run(stop))
        await until(lambda: worker.in_flight == 2)
        await asyncio.sleep(0.1)  # a third photo waits for a slot
        stop.set()
        await asyncio.wait_for(task, 5)
    assert len(source.finished) < 10
    assert source.postponed


@pytest.mark.parametrize("data", [plain(), b"broken"])
async def test_an_outcome_carries_its_record(data):
    """For whoever shows or sends it."""
    source, store = await run_to_end({"a.png": data})
    (outcome,) = source.outcomes
    assert isinstance(outcome, PhotoTagged | PhotoFailed)
    assert outcome.record == store.records["a.png"]
    assert outcome.duration_s > 0


async def test_I09_a_photo_whose_decoder_hangs_stays_in_flight_over_the_stop(monkeypatch):
    """The next start examines it; what ended in time is forgotten."""
    monkeypatch.setattr("pawtag.pipeline.worker.DRAIN_TIMEOUT_S", 0.1)
    source, engine = MemorySource({"hangs.png": plain()}), SlowEngine(2)
    async with run_worker(source, model=engine) as worker:
        await until(lambda: worker.in_flight == 1)
        await asyncio.sleep(0.2)
        rows = worker.parts.database.quick.execute
        assert rows("SELECT uri FROM in_flight") == [("hangs.png",)]
        stopped = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - stopped < 5
    assert worker.left == [("hangs.png",)]
