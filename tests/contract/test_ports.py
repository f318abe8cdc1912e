"""One suite over every source, sink and model: what the ports promise."""

import asyncio
import json
from contextlib import AsyncExitStack, aclosing

import numpy as np
import pytest

from pawtag.config import FolderSettings, Settings
from pawtag.domain.errors import GoneError
from pawtag.domain.records import ModelInfo, PhotoRef
from pawtag.folder.sidecars import Sidecars
from pawtag.folder.source import FolderSource
from pawtag.inference.checkpoint import Checkpoint
from pawtag.inference.model_loader import load_model
from pawtag.state import ResumePoint
from support.buckets import put, wire
from support.checkpoints import tiny_clip
from support.doubles import ColourEngine, MemorySink, MemorySource, colour_tagger
from support.pictures import BLUE, plain
from support.records import record_for

QUICK = FolderSettings(settle_s=0.05, stable_s=0.1)


@pytest.fixture(params=["memory", "folder", "queue", "listing"])
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
            folder = FolderSource(tmp_path, QUICK, lambda walk: walk, max_bytes=10**6)
            yield await stack.enter_async_context(folder.watch())
            return
        bucket = request.getfixturevalue("store")
        for name, data in photos.items():
            put(bucket, name, data)
        wiring, tagger = wire(bucket, state=tmp_path, queue_url=bucket.url), colour_tagger()
        if request.param == "queue":
            yield await stack.enter_async_context(wiring.build_queue_runners(tagger)[0].source.open())
        else:
            resume_point = ResumePoint(tmp_path, "scan")
            yield wiring.build_listing_runner(tagger, (bucket.bucket, ""), (), resume_point).source


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
    payload = await source.read(event)
    assert payload.ref.size_bytes == len(payload.data)
    gone = event.__class__(PhotoRef(event.ref.uri + "x", 1, 1))
    with pytest.raises(GoneError):
        await source.read(gone)


async def test_a_retried_event_comes_again_with_its_attempt(source):
    """After the delay the same photo is handed out, its attempt counted."""
    async with asyncio.timeout(10), aclosing(source.events(asyncio.Event())) as events:
        event = await anext(events)
        await source.retry(event, 0.05)
        again = [await anext(events), await anext(events)]
    assert (event.ref.uri, 1) in {(each.ref.uri, each.attempt) for each in again}


@pytest.fixture(params=["memory", "sidecars"])
def sink(request, tmp_path):
    """An empty sink for photos below tmp_path."""
    return MemorySink() if request.param == "memory" else Sidecars(tmp_path)


@pytest.fixture
def ref(tmp_path) -> PhotoRef:
    path = tmp_path / "a.png"
    path.write_bytes(plain())
    return PhotoRef(str(path), path.stat().st_size, path.stat().st_mtime_ns)


def test_a_sink_returns_the_record_that_was_written(sink, ref):
    """Nothing before, a stamp of that version after; another version is not described."""
    assert sink.read_stamp(ref) is None
    sink.write(ref, record_for(ref))
    stamp = sink.read_stamp(ref)
    assert stamp.describes(ref)
    assert not stamp.describes(PhotoRef(ref.uri, ref.size_bytes, ref.mtime_ns + 1))
    assert stamp.record.to_document() == record_for(ref).to_document()


def test_writing_a_record_twice_leaves_one(sink, ref):
    """The last record stands, whole."""
    sink.write(ref, record_for(ref, fingerprint="first"))
    sink.write(ref, record_for(ref, fingerprint="second"))
    sink.write(ref, record_for(ref, fingerprint="second"))
    assert sink.read_stamp(ref).fingerprint == "second"


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
