"""The batcher: few calls for many callers, interactive ones first, an answer for everyone."""

import asyncio
import threading

import numpy as np
import pytest

from pawtag.domain.errors import TemporaryError
from pawtag.inference.batcher import Batcher


def number(value: float) -> np.ndarray:
    return np.full((3, 2, 2), value, np.float32)


class Model:
    """Answers with the input's value; waits at the gate; fails for negative inputs."""

    def __init__(self) -> None:
        self.batches: list[list[float]] = []
        self.gate = threading.Event()
        self.gate.set()

    def embed(self, batch):
        self.gate.wait(5)
        values = [float(pixels[0, 0, 0]) for pixels in batch]
        self.batches.append(values)
        if min(values) < 0:
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
    answers = await asyncio.gather(*(batcher.embed(number(value)) for value in (1, -1, 2, 3)), return_exceptions=True)
    assert [float(answer[0]) for answer in answers if not isinstance(answer, Exception)] == [1, 2, 3]
    assert isinstance(answers[1], TemporaryError)


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
