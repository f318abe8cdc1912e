"""Batches for the model: few calls for many callers, and interactive requests come first."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pawtag.domain.errors import TemporaryError
from pawtag.domain.records import Floats
from pawtag.metrics import Metrics


@dataclass(frozen=True, slots=True)
class _Request:
    pixels: Floats
    result: asyncio.Future[Floats]


class Batcher:
    """Collects inputs into batches for `embed`, which runs in one thread of its own.

    Every caller gets a result or an error: a batch that fails is halved until the input that breaks it is alone.
    """

    def __init__(
        self, embed: Callable[[Sequence[Floats]], Floats], size: int, wait_s: float, metrics: Metrics | None = None
    ) -> None:
        """Take up to `size` inputs at once. A smaller batch waits `wait_s` for more."""
        self._embed, self._size, self._wait_s = embed, size, wait_s
        self._metrics = metrics or Metrics()
        self._interactive: deque[_Request] = deque()
        self._normal: deque[_Request] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")

    async def embed(self, pixels: Floats, *, interactive: bool = False) -> Floats:
        """The embedding (D,) of one input (3, H, W); an interactive one is in the next batch."""
        request = _Request(pixels, asyncio.get_running_loop().create_future())
        (self._interactive if interactive else self._normal).append(request)
        self._arrived.set()
        return await request.result

    async def run(self) -> None:
        """Answer until cancelled. Requests that are pending then are cancelled, too."""
        try:
            while True:
                await self._arrived.wait()
                if len(self._interactive) + len(self._normal) < self._size:
                    await asyncio.sleep(self._wait_s)
                await self._embed_batch(self._take_batch())
        finally:
            for request in (*self._interactive, *self._normal):
                request.result.cancel()
            self._thread.shutdown(wait=False)

    def _take_batch(self) -> list[_Request]:
        batch: list[_Request] = []
        while len(batch) < self._size and (self._interactive or self._normal):
            request = (self._interactive or self._normal).popleft()
            if not request.result.done():  # its caller may have gone away
                batch.append(request)
        if not (self._interactive or self._normal):
            self._arrived.clear()
        return batch

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
            await self._embed_halves(batch, error)
        else:
            for request, embedding in zip(batch, embeddings, strict=True):
                if not request.result.done():
                    request.result.set_result(embedding)

    async def _embed_halves(self, batch: list[_Request], error: Exception) -> None:
        if len(batch) > 1:
            await self._embed_batch(batch[: len(batch) // 2])
            await self._embed_batch(batch[len(batch) // 2 :])
        elif not batch[0].result.done():
            batch[0].result.set_exception(TemporaryError(f"The model failed: {error}.", delay_s=5))

    async def _call_engine(self, batch: list[Floats]) -> Floats:
        self._metrics.observe_batch(len(batch))
        with self._metrics.time_stage("model"):
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._embed, batch)
