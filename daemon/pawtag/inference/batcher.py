"""Many awaiting callers, few model calls; whoever asked in person comes first."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pawtag.domain.errors import TemporaryError
from pawtag.domain.records import Floats
from pawtag.metrics import Metrics


@dataclass(frozen=True, slots=True)
class _Waiting:
    pixels: Floats
    answer: asyncio.Future[Floats]


class Batcher:
    """Collects inputs into batches for `embed`, which runs in one thread of its own.

    Every caller gets an answer or an error: a batch that fails is halved until the one input that
    spoils it is alone.
    """

    def __init__(
        self, embed: Callable[[Sequence[Floats]], Floats], size: int, wait_s: float, metrics: Metrics | None = None
    ) -> None:
        """Take up to `size` inputs at once; one that comes alone waits `wait_s` for company."""
        self._embed, self._size, self._wait_s = embed, size, wait_s
        self._metrics = metrics or Metrics()
        self._urgent: deque[_Waiting] = deque()
        self._patient: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")

    async def embed(self, pixels: Floats, *, urgent: bool = False) -> Floats:
        """The embedding (D,) of one input (3, H, W); an urgent one is in the very next batch."""
        waiting = _Waiting(pixels, asyncio.get_running_loop().create_future())
        (self._urgent if urgent else self._patient).append(waiting)
        self._arrived.set()
        return await waiting.answer

    async def run(self) -> None:
        """Answer until cancelled; whoever still waits then is told so."""
        try:
            while True:
                await self._arrived.wait()
                if len(self._urgent) + len(self._patient) < self._size:
                    await asyncio.sleep(self._wait_s)
                await self._answer(self._take())
        finally:
            for waiting in (*self._urgent, *self._patient):
                waiting.answer.cancel()
            self._thread.shutdown(wait=False)

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        while len(batch) < self._size and (self._urgent or self._patient):
            waiting = (self._urgent or self._patient).popleft()
            if not waiting.answer.done():  # its caller may have gone away
                batch.append(waiting)
        if not (self._urgent or self._patient):
            self._arrived.clear()
        return batch

    async def _answer(self, batch: list[_Waiting]) -> None:
        if not batch:
            return
        try:
            embeddings = await self._call([waiting.pixels for waiting in batch])
        except asyncio.CancelledError:
            for waiting in batch:
                waiting.answer.cancel()
            raise
        except Exception as error:
            await self._halve(batch, error)
        else:
            for waiting, embedding in zip(batch, embeddings, strict=True):
                if not waiting.answer.done():
                    waiting.answer.set_result(embedding)

    async def _halve(self, batch: list[_Waiting], error: Exception) -> None:
        if len(batch) > 1:
            await self._answer(batch[: len(batch) // 2])
            await self._answer(batch[len(batch) // 2 :])
        elif not batch[0].answer.done():
            batch[0].answer.set_exception(TemporaryError(f"The model failed: {error}.", delay_s=5))

    async def _call(self, batch: list[Floats]) -> Floats:
        self._metrics.batch(len(batch))
        with self._metrics.stage("model"):
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._embed, batch)
