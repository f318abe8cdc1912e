"""Batches for the model: few calls for many callers, and interactive requests come first."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from pawtag.domain.errors import PermanentError, TemporaryError
from pawtag.domain.pictures import Floats, Pixels
from pawtag.inference.interactive_gate import InteractiveGate
from pawtag.metrics import Metrics

log = logging.getLogger(__name__)

RETRY_DELAY_S = 5.0
OUT_OF_MEMORY = "out of memory"  # torch.OutOfMemoryError, and what other libraries say


@dataclass(frozen=True, slots=True)
class _Request:
    pixels: Pixels
    result: asyncio.Future[Floats]


class Batcher:
    """Collects inputs into batches for `embed`, which runs in one thread of its own.

    Every caller gets a result or an error: a batch that fails is halved until the input that breaks it is alone.
    """

    def __init__(
        self,
        embed: Callable[[Sequence[Pixels]], Floats],
        size: int,
        wait_s: float,
        *,
        gate: InteractiveGate | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """Take up to `size` inputs at once. A smaller batch of the backlog waits `wait_s` for more.

        Batches of the backlog pass the `gate`.
        """
        self._embed, self._size, self._wait_s = embed, size, wait_s
        self._gate, self._metrics = gate or InteractiveGate(), metrics or Metrics()
        self._interactive: deque[_Request] = deque()
        self._normal: deque[_Request] = deque()
        self._batch: list[_Request] = []
        self._backlog_since_s = 0.0
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self.failure: str | None = None
        """Why it does not answer any more."""

    async def embed(self, pixels: Pixels, *, interactive: bool = False) -> Floats:
        """The embedding (D,) of one input (H, W, 3). An interactive input goes into the next batch.

        Raises PermanentError if the model fails on this input only, TemporaryError if it fails on any input.
        """
        if self.failure:
            raise TemporaryError(self.failure, RETRY_DELAY_S)
        request = _Request(pixels, asyncio.get_running_loop().create_future())
        if not self._normal:
            self._backlog_since_s = self._now_s()
        (self._interactive if interactive else self._normal).append(request)
        self._arrived.set()
        self._gate.wake()
        return await request.result

    async def run(self) -> None:
        """Answer until cancelled. Requests that are pending then are cancelled, too."""
        try:
            while True:
                await self._arrived.wait()
                self._batch = await self._take_batch()
                await self._embed_batch(self._batch)
        except Exception as error:  # callers must not wait for ever, and readiness must fail
            self.failure = f"The model has stopped after an unexpected error ({error}); restart pawtag."
            log.exception("the batches of the model have ended")
            for request in (*self._batch, *self._interactive, *self._normal):
                _fail(request, TemporaryError(self.failure, RETRY_DELAY_S))
        finally:
            for request in (*self._interactive, *self._normal):
                request.result.cancel()
            self._thread.shutdown(wait=False)

    async def _take_batch(self) -> list[_Request]:
        """The interactive requests that wait now; without any, a part of the backlog, when the gate lets it pass."""
        if not self._interactive:
            if len(self._normal) < self._size:
                await asyncio.sleep(self._wait_s)
            await self._gate.wait(self._backlog_due_s, lambda: bool(self._interactive))
        is_backlog_due = self._normal and self._now_s() >= self._backlog_due_s
        queue = self._normal if is_backlog_due or not self._interactive else self._interactive
        if queue is self._normal:
            self._backlog_since_s = self._now_s()
        batch: list[_Request] = []
        while len(batch) < self._size and queue:
            request = queue.popleft()
            if not request.result.done():  # its caller may have gone away
                batch.append(request)
        if not (self._interactive or self._normal):
            self._arrived.clear()
        return batch

    @property
    def _backlog_due_s(self) -> float:
        """The time from which a batch of the backlog goes before interactive requests."""
        return self._backlog_since_s + self._gate.max_wait_s

    @staticmethod
    def _now_s() -> float:
        return asyncio.get_running_loop().time()

    async def _embed_batch(self, batch: list[_Request]) -> None:
        if not batch:
            return
        try:
            embeddings = await self._call_engine([request.pixels for request in batch])
        except asyncio.CancelledError:
            for request in batch:
                request.result.cancel()
            raise
        except Exception as error:
            failure = error.with_traceback(None)  # the traceback holds the batch's memory
        else:
            for request, embedding in zip(batch, embeddings, strict=True):
                if not request.result.done():
                    request.result.set_result(embedding)
            return
        await self._embed_halves(batch, failure)

    async def _embed_halves(self, batch: list[_Request], error: Exception) -> None:
        """Try each half: a half may fit into the GPU's memory, and a bad input then affects only its own half."""
        if len(batch) > 1:
            if OUT_OF_MEMORY in str(error).lower():
                self._size = len(batch) // 2  # the following batches would not fit either
                log.warning("the model is out of memory with %d photos; batches have %d now", len(batch), self._size)
            await self._embed_batch(batch[: len(batch) // 2])
            await self._embed_batch(batch[len(batch) // 2 :])
        elif await self._answers(np.zeros_like(batch[0].pixels)):
            _fail(batch[0], PermanentError("bad-score", f"The model fails on this photo: {error}."))
        else:
            _fail(batch[0], TemporaryError(f"The model failed: {error}.", RETRY_DELAY_S))

    async def _answers(self, pixels: Pixels) -> bool:
        """Whether the model still works: on a black picture."""
        try:
            await self._call_engine([pixels])
        except Exception:
            return False
        return True

    async def _call_engine(self, batch: list[Pixels]) -> Floats:
        self._metrics.observe_batch(len(batch))
        with self._metrics.time_stage("model"):
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._embed, batch)


def _fail(request: _Request, error: Exception) -> None:
    if not request.result.done():
        request.result.set_exception(error)
