"""The worker: every photo gets its record, once, whatever fails."""

import asyncio
from contextlib import asynccontextmanager

from pawtag.domain.errors import GoneError, TemporaryError
from pawtag.domain.freshness import FreshnessPolicy
from pawtag.domain.records import Event, ModelInfo
from pawtag.pipeline.worker import Worker
from support.doubles import ColourEngine, MemorySink, MemorySource, colour_tagger
from support.pictures import BLUE, GREEN, RED, plain

START = "2026-11-23T12:00:00Z"


@asynccontextmanager
async def run_worker(source, sink, **tagger_options):
    """A worker over doubles."""
    async with colour_tagger(**tagger_options).run() as tagger:
        worker = Worker(source, sink, tagger, policy=FreshnessPolicy(tagger.identity, START), concurrency=4)
        stop = asyncio.Event()
        task = asyncio.create_task(worker.run(stop))
        yield worker
        stop.set()
        await asyncio.wait_for(task, 5)


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def run_to_end(
    photos: dict[str, bytes], sink: MemorySink | None = None, **options
) -> tuple[MemorySource, MemorySink]:
    source, sink = MemorySource(photos), sink or MemorySink()
    async with run_worker(source, sink, **options):
        await until(lambda: len(source.finished) >= len(photos))
    return source, sink


async def test_every_photo_gets_its_record():
    """Tagged, without pet and failed: each a record of its own."""
    _, sink = await run_to_end({"a.png": plain(RED), "b.png": plain(BLUE), "c.png": b"broken"})
    assert {uri: record.status for uri, record in sink.records.items()} == {
        "a.png": "tagged",
        "b.png": "no-pet",
        "c.png": "failed",
    }
    assert [tag.label for tag in sink.records["a.png"].tags] == ["red"]
    assert sink.records["c.png"].error.code == "not-an-image"
    assert sink.records["c.png"].photo.bytes == 6


async def test_a_current_photo_is_not_tagged_again():
    """The stamp decides: a second event costs nothing."""
    source, sink = await run_to_end({"a.png": plain()})
    await run_to_end(source.photos, sink)
    assert sink.writes == 1


async def test_another_version_of_the_model_tags_again():
    """A record by another fingerprint, from before our start, is stale."""
    source, sink = await run_to_end({"a.png": plain()})
    sink.records["a.png"] = sink.records["a.png"].model_copy(update={"tagged_at": "2020-01-01T00:00:00Z"})
    await run_to_end(source.photos, sink, fingerprint="newer")
    assert sink.records["a.png"].fingerprint == "newer"


async def test_F20_a_touched_photo_is_refreshed_without_the_model():
    """Same content, another time: the record describes the new version, and the model is called once."""
    engine = ColourEngine()
    source, sink = await run_to_end({"a.png": plain()}, model=engine)
    sink.versions["a.png"] = sink.versions["a.png"].__class__("a.png", 1, 1)
    await run_to_end(source.photos, sink, model=engine)
    assert sink.writes == 2
    assert engine.batches == [1]
    assert sink.versions["a.png"] == source.ref("a.png")


async def test_a_temporary_fault_is_retried_with_growing_delays():
    """A sink that fails twice gets the record at the third try; the waits grow."""
    source, sink = MemorySource({"a.png": plain()}), MemorySink()
    sink.faults = [TemporaryError("full", delay_s=1), TemporaryError("full", delay_s=1)]
    async with run_worker(source, sink):
        await until(lambda: source.finished)
    assert [uri for uri, _ in source.retried] == ["a.png", "a.png"]
    assert source.retried[0][1] < 1.3 < 1.4 < source.retried[1][1]
    assert sink.writes == 1


async def test_an_unexpected_error_of_one_photo_does_not_end_the_others(caplog):
    """An unexpected exception is logged, its photo retried, its neighbours are tagged."""
    source, sink = MemorySource({"a.png": plain(), "b.png": plain(GREEN)}), MemorySink()
    sink.faults = [ZeroDivisionError("surprise")]
    async with run_worker(source, sink):
        await until(lambda: len(source.finished) == 2)
    assert len(sink.records) == 2
    assert "surprise" in caplog.text


async def test_F11_a_photo_that_is_gone_gets_no_record():
    """Deleted while it waits, or while it was tagged: no record, no retry."""
    source, sink = MemorySource({"a.png": plain()}), MemorySink()
    source.pending.put_nowait(Event(source.ref("gone.png")))
    sink.faults = [GoneError("gone")]
    async with run_worker(source, sink):
        await until(lambda: len(source.finished) == 2)
    assert sink.records == {}
    assert source.retried == []


async def test_F10_an_unreadable_photo_is_recorded_once_and_tagged_when_readable():
    """It looks the same after chmod: so it is tried again, and the same failure is not written twice."""
    source, sink = await run_to_end({"a.png": b"locked"})
    assert sink.records["a.png"].error.code == "unreadable"
    await run_to_end(source.photos, sink)
    assert sink.writes == 1
    await run_to_end({"a.png": plain()}, sink)
    assert sink.records["a.png"].status == "tagged"


async def test_F23_another_daemon_is_reported_once(caplog):
    """Records that another daemon wrote since our start are left."""
    source, sink = await run_to_end({"a.png": plain(), "b.png": plain()})
    for uri in source.photos:
        sink.records[uri] = sink.records[uri].model_copy(
            update={"fingerprint": "theirs", "tagged_at": "2026-11-23T13:00:00Z"}
        )
    await run_to_end(source.photos, sink)
    assert sink.writes == 2
    assert caplog.text.count("another daemon") == 1


async def test_a_fallback_says_so_in_the_record():
    """The record names the model that was used and the one that was wanted."""
    _, sink = await run_to_end({"a.png": plain()}, name=ModelInfo(id="embedded", fallback=True, wanted="org/model"))
    assert sink.records["a.png"].model.wanted == "org/model"


async def test_W01_a_temporary_error_shows_in_the_state_until_it_passes():
    """While writing fails the source is degraded, with the reason; then it is not."""
    source, sink = MemorySource({"a.png": plain()}), MemorySink()
    sink.faults = [TemporaryError("the disk is full", delay_s=0.01)] * 3
    seen = []
    async with run_worker(source, sink) as pipeline:
        while not source.finished:
            seen.append(pipeline.state)
            await asyncio.sleep(0)
        assert pipeline.state.state == "running"
    assert ("degraded", "the disk is full") in {(state.state, state.reason) for state in seen}
