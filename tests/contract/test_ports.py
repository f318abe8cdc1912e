"""One suite over every source, output and engine: what the ports promise."""

import asyncio
import json
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace

import numpy as np
import pytest

from pawtag.config import FolderSettings, Settings
from pawtag.domain.errors import GoneError
from pawtag.domain.records import ModelInfo, PhotoRef, Tag, describe_source
from pawtag.folder.sidecars import Sidecars
from pawtag.folder.source import FolderSource
from pawtag.inference.checkpoint import Checkpoint
from pawtag.inference.model_loader import load_model
from pawtag.s3.queue_source import QueueSource
from pawtag.state.resume_point import ResumePoint
from support.buckets import event, put, wire
from support.checkpoints import tiny_clip
from support.doubles import ColourEngine, MemoryOutput, MemorySource, colour_tagger
from support.pictures import BLUE, plain
from support.pipeline import open_parts
from support.records import record_for

QUICK = FolderSettings(settle_s=0.05, stable_s=0.1)


@pytest.fixture(params=["memory", "folder", "queue", "pushes", "listing"])
async def source(request, tmp_path):
    """A source that holds two photos, a.png and b.png."""
    photos = {"a.png": plain(), "b.png": plain(BLUE)}
    if request.param == "memory":
        yield MemorySource(photos)
        return
    async with AsyncExitStack() as stack:
        if request.param == "folder":
            for name, data in photos.items():
                (tmp_path / name).write_bytes(data)
            folder = FolderSource(tmp_path, QUICK, lambda walk: walk, sidecars=Sidecars(tmp_path), max_bytes=10**6)
            yield await stack.enter_async_context(folder.watch())
            return
        bucket = request.getfixturevalue("store")
        for name, data in photos.items():
            put(bucket, name, data)
        parts = await stack.enter_async_context(open_parts(colour_tagger()))
        if request.param == "queue":
            wiring = wire(bucket, state=tmp_path, queue_url=bucket.url)
            yield await stack.enter_async_context(wiring.build_queue_runners(parts)[0].source.serve())
        elif request.param == "pushes":
            runner = wire(bucket, state=tmp_path, bucket=bucket.bucket).build_owed_runner(parts)
            inbox = await stack.enter_async_context(runner.inbox.open())
            await inbox.accept(json.dumps({"Records": [event(name) for name in photos]}).encode())
            yield runner.source
        else:
            resume_point = ResumePoint(parts.database, "scan")
            wiring = wire(bucket, state=tmp_path)
            yield wiring.build_listing_runner(parts, (bucket.bucket, ""), (), resume_point).source


async def take(source, count, stop):
    events = []
    async with asyncio.timeout(10), aclosing(source.events(stop)) as stream:
        async for event in stream:
            events.append(event)
            if len(events) == count:
                return events
    return events


async def test_a_source_yields_each_photo_once_while_it_is_in_flight(source):
    """Two photos, two events, until they are done."""
    events = await take(source, 2, asyncio.Event())
    assert len({event.ref.uri for event in events}) == 2


async def test_a_source_ends_when_it_is_stopped(source):
    """Setting the stop event ends the iteration, also while nothing comes."""
    stop = asyncio.Event()
    taking = asyncio.create_task(take(source, 99, stop))
    await asyncio.sleep(0.2)
    stop.set()
    assert len(await asyncio.wait_for(taking, 5)) <= 2


async def test_a_source_reads_the_photo_of_its_event(source):
    """The bytes come with the version that they are; what is gone raises GoneError."""
    event = (await take(source, 1, asyncio.Event()))[0]
    async with source.open(event.ref) as photo:
        await photo.look()
        payload = await photo.read()
        assert payload.ref == photo.version
    assert payload.ref.size_bytes == len(payload.data)
    async with source.open(PhotoRef(event.ref.uri + "x")) as photo:
        with pytest.raises(GoneError):
            await photo.look()


async def test_a_photo_is_read_without_a_look(source):
    """Whoever only wants its bytes need not know what is written for it."""
    event = (await take(source, 1, asyncio.Event()))[0]
    async with source.open(event.ref) as photo:
        assert (await photo.read()).data


async def test_what_is_written_is_found_by_the_next_look(source):
    """Nothing before; a stamp of that version after, also after a second write; another version is not described."""
    event = (await take(source, 1, asyncio.Event()))[0]
    async with source.open(event.ref) as photo:
        seen = await photo.look()
        assert (seen.stamp, seen.corrections) == (None, None)
        await photo.read()
        for fingerprint in ("first", "second", "second"):
            record = record_for(photo.version, fingerprint=fingerprint, source=describe_source(photo.version))
            await photo.write(record, await photo.look())
    async with source.open(PhotoRef(event.ref.uri)) as photo:
        stamp = (await photo.look()).stamp
        assert stamp.fingerprint == "second"
        assert stamp.describes(photo.version)
        assert not stamp.describes(replace(photo.version, mtime_ns=1, etag="another"))


async def test_a_correction_is_found_and_survives_the_next_write(source):
    """As a sidecar and as tags."""
    event = (await take(source, 1, asyncio.Event()))[0]
    corrected = {"species": ["dog"]}
    async with source.open(event.ref) as photo:
        seen = await photo.look()
        await photo.read()
        made = record_for(photo.version, source=describe_source(photo.version))
        tags = (Tag(label="dog", group="species", score=1.0),)
        await photo.write(made.model_copy(update={"corrected": corrected, "tags": tags}), seen)
        if isinstance(source, MemorySource):
            source.store.corrections[event.ref.uri] = corrected
    async with source.open(PhotoRef(event.ref.uri)) as photo:
        assert (await photo.look()).corrections == corrected


async def test_a_retried_event_comes_again_with_its_attempt(source):
    """After the delay the same photo is handed out, its attempt counted."""
    async with asyncio.timeout(10), aclosing(source.events(asyncio.Event())) as events:
        event = await anext(events)
        await source.retry(event, 0.05)
        again = [await anext(events), await anext(events)]
    assert (event.ref.uri, 1) in {(each.ref.uri, each.attempt) for each in again}


async def test_a_postponed_event_comes_again_as_the_same_attempt(source):
    """It was not finished, and that is no fault. A queue counts each receive, whatever the reason."""
    async with asyncio.timeout(10), aclosing(source.events(asyncio.Event())) as events:
        event = await anext(events)
        await source.postpone(event, 0.05)
        again = [await anext(events), await anext(events)]
    attempts = {each.attempt for each in again if each.ref.uri == event.ref.uri}
    assert attempts == ({1} if isinstance(source, QueueSource) else {0})


async def test_a_rescan_may_be_asked_for_at_any_time(source):
    """Also of a source that cannot list photos."""
    source.rescan()
    assert len(await take(source, 2, asyncio.Event())) == 2


@pytest.fixture(params=["memory"])
def output(request):
    """An output."""
    return MemoryOutput()


async def test_an_output_is_told_what_it_returned(output):
    """So that it can take back what it wrote, and nothing else."""
    ref = PhotoRef("/p/a.png", 1, 1)
    first = await output.write(ref, record_for(ref), None)
    assert json.loads(json.dumps(first)) == first
    again = await output.write(ref, record_for(ref), first)
    assert again == first
    await output.remove(ref, again)


@pytest.fixture(params=["colours", "embedded", "tiny-clip", "openvino"])
def model(request, tmp_path_factory):
    """Each engine and double, loaded."""
    if request.param == "openvino":
        settings = Settings(model={"id": "embedded", "cache_dir": tmp_path_factory.mktemp("cache")})
        return load_model(settings, request.getfixturevalue("labels")).engine
    if request.param == "colours":
        return ColourEngine()
    if request.param == "embedded":
        return request.getfixturevalue("embedded")
    from pawtag.inference.engines.torch import TorchEngine

    folder = tiny_clip(tmp_path_factory.mktemp("tiny"))
    return TorchEngine(Checkpoint(folder, ModelInfo(id="tiny")), "cpu", 1)


def inputs(model, count: int) -> list[np.ndarray]:
    height, width = model.spec.crop
    generator = np.random.default_rng(5)
    return [generator.integers(0, 256, (height, width, 3), np.uint8) for _ in range(count)]


def test_a_model_gives_unit_vectors(model):
    """Pictures, and prompts where it has a text tower, as float32 unit vectors of one size."""
    found = [model.embed(inputs(model, 3))]
    found += [model.embed_text(["a red", "a green"])] if hasattr(model, "embed_text") else []
    assert {each.dtype for each in found} == {np.dtype(np.float32)}
    assert len(found[0]) == 3
    assert np.allclose(np.linalg.norm(np.concatenate(found), axis=1), 1, atol=1e-5)


def test_an_embedding_does_not_depend_on_its_batch(model):
    """Alone or in a batch: the same embedding."""
    batch = inputs(model, 4)
    together = model.embed(batch)
    assert np.allclose(together, np.concatenate([model.embed([each]) for each in batch]), atol=1e-4)
    if not hasattr(model, "embed_text"):
        return
    texts = ["a red", "a photo of something that is green"]
    assert np.allclose(model.embed_text(texts), np.concatenate([model.embed_text([text]) for text in texts]), atol=1e-4)


def test_a_model_describes_itself(model):
    """A digest of 64 hex digits, a scale, an engine, an input."""
    assert len(model.digest) == 64
    assert model.scale > 0
    assert model.description
    assert model.max_batch >= 1
    assert model.runs_on_gpu is False
    assert json.dumps(model.spec.mean)
