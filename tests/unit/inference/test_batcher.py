"""The batcher: few calls for many callers, interactive ones first, an answer for everyone."""

import asyncio
import threading

import numpy as np
import pytest

from pawtag.domain.errors import PermanentError, TemporaryError
from pawtag.inference.batcher import Batcher
from pawtag.inference.interactive_gate import InteractiveGate

SPOILT = 255


def number(value: float) -> np.ndarray:
    return np.full((2, 2, 3), value, np.uint8)


class Model:
    """Answers with the input's value; waits at the gate; fails for the values of `spoilt`."""

    def __init__(self) -> None:
        self.batches: list[list[float]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.spoilt = {SPOILT}

    def embed(self, batch):
        self.gate.wait(5)
        values = [float(pixels[0, 0, 0]) for pixels in batch]
        self.batches.append(values)
        if self.spoilt & set(values):
            raise RuntimeError("spoilt")
        return np.array([[value] for value in values], np.float32)


@pytest.fixture
async def running():
    """A batcher of four at work, and its model."""
    model = Model()
    batcher = Batcher(model.embed, 4, 0.01)
    task = asyncio.create_task(batcher.run())
    yield batcher, model
    model.gate.set()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_photos_that_come_together_share_a_batch(running):
    """Six callers, four places: two calls, each caller its own answer."""
    batcher, model = running
    answers = await asyncio.gather(*(batcher.embed(number(value)) for value in range(6)))
    assert [float(answer[0]) for answer in answers] == [0, 1, 2, 3, 4, 5]
    assert [len(batch) for batch in model.batches] == [4, 2]


async def test_an_interactive_photo_is_in_the_next_batch(running):
    """However many wait, a person's photo comes before them."""
    batcher, model = running
    model.gate.clear()
    backlog = [asyncio.create_task(batcher.embed(number(value))) for value in range(12)]
    await asyncio.sleep(0.05)
    interactive = asyncio.create_task(batcher.embed(number(99), interactive=True))
    await asyncio.sleep(0)
    model.gate.set()
    await asyncio.gather(*backlog, interactive)
    assert 99 in model.batches[1]


async def test_M07_M08_one_bad_photo_fails_alone(running):
    """A batch that fails is halved until the culprit is alone."""
    batcher, _ = running
    answers = await asyncio.gather(
        *(batcher.embed(number(value)) for value in (1, SPOILT, 2, 3)), return_exceptions=True
    )
    assert [float(answer[0]) for answer in answers if not isinstance(answer, Exception)] == [1, 2, 3]
    assert isinstance(answers[1], PermanentError)
    assert answers[1].code == "bad-score"


async def test_M07_a_model_that_fails_on_everything_is_a_fault_that_may_pass(running):
    """The photo is not to blame where a black picture fails too."""
    batcher, model = running
    model.spoilt = {0, 1}
    with pytest.raises(TemporaryError):
        await batcher.embed(number(1))


async def test_M08_a_batch_that_is_too_large_for_the_memory_is_halved(running):
    """A GPU without memory for all of them has it for half; every photo gets its answer."""
    batcher, model = running
    small = model.embed

    def embed(batch):
        if len(batch) > 1:
            raise MemoryError("out of memory")
        return small(batch)

    batcher._embed = embed
    answers = await asyncio.gather(*(batcher.embed(number(value)) for value in range(4)))
    assert [float(answer[0]) for answer in answers] == [0, 1, 2, 3]
    assert batcher._size == 1, "the next batches fit from the beginning"


async def test_a_lone_photo_does_not_wait_for_others():
    """An interactive request that finds the model idle is computed at once, whatever the waiting time is."""
    model = Model()
    batcher = Batcher(model.embed, 4, 30.0)
    task = asyncio.create_task(batcher.run())
    await asyncio.wait_for(batcher.embed(number(1), interactive=True), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_backlog_waits_while_an_interactive_photo_is_decoded(running):
    """Its batch begins when the request has its answer."""
    batcher, model = running
    with batcher._gate.track_request():
        backlog = asyncio.create_task(batcher.embed(number(1)))
        await asyncio.sleep(0.1)
        assert not model.batches
        await batcher.embed(number(2), interactive=True)
    await backlog
    assert model.batches == [[2], [1]]


async def test_the_backlog_goes_on_however_many_requests_there_are():
    """A batch in a second passes the gate, also where the next request is always waiting."""
    model, gate = Model(), InteractiveGate(max_wait_s=0.05)
    batcher = Batcher(model.embed, 1, 0.0, gate=gate)
    task, done = asyncio.create_task(batcher.run()), asyncio.Event()

    async def post_until_done():
        while not done.is_set():
            with gate.track_request():
                await batcher.embed(number(2), interactive=True)

    posting = [asyncio.create_task(post_until_done()) for _ in range(4)]
    await asyncio.wait_for(batcher.embed(number(1)), 5)
    done.set()
    await asyncio.gather(*posting)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_batcher_that_dies_tells_its_callers():
    """Those who wait and those who come later get an error, and its failure says what to do."""
    batcher = Batcher(lambda batch: np.zeros((0, 1), np.float32), 1, 0.0)
    task = asyncio.create_task(batcher.run())
    for _ in range(2):
        with pytest.raises(TemporaryError):
            await asyncio.wait_for(batcher.embed(number(1)), 5)
    assert "restart pawtag" in batcher.failure
    await task


async def test_H04_a_photo_of_a_caller_who_left_is_not_computed(running):
    """A cancelled request's photo does not reach the model."""
    batcher, model = running
    model.gate.clear()
    first = asyncio.create_task(batcher.embed(number(1)))
    await asyncio.sleep(0.05)
    left = asyncio.create_task(batcher.embed(number(2)))
    await asyncio.sleep(0)
    left.cancel()
    model.gate.set()
    await first
    await batcher.embed(number(3))
    assert [2.0] not in model.batches
    assert all(2.0 not in batch for batch in model.batches)


async def test_close_ends_every_wait():
    """Whoever still waits at the end is cancelled."""
    model = Model()
    batcher = Batcher(model.embed, 1, 0.0)
    task = asyncio.create_task(batcher.run())
    model.gate.clear()
    pending = [asyncio.create_task(batcher.embed(number(value))) for value in range(3)]
    await asyncio.sleep(0.05)
    task.cancel()
    model.gate.set()
    answers = await asyncio.wait_for(asyncio.gather(*pending, return_exceptions=True), 5)
    assert all(isinstance(answer, asyncio.CancelledError) for answer in answers)
    await asyncio.gather(task, return_exceptions=True)
