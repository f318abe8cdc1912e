"""A model that serves: its batches, and who is using it."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from pawtag.config import LimitSettings
from pawtag.domain.pictures import Floats, Pixels
from pawtag.inference.batcher import Batcher
from pawtag.inference.interactive_gate import InteractiveGate
from pawtag.inference.loaded_model import LoadedModel
from pawtag.metrics import Metrics

log = logging.getLogger(__name__)


class ServingModel:
    """One loaded model with its batcher. It is closed once nobody uses it. Lives on the event loop."""

    def __init__(self, model: LoadedModel, limits: LimitSettings, gate: InteractiveGate, metrics: Metrics) -> None:
        """Answers after `start`; requests wait until then."""
        self.model = model
        most = model.engine.max_batch
        size = min(limits.batch_size or most, most)
        if size < (limits.batch_size or size):
            log.warning("limits.batch_size %d has no effect: this model takes %d", limits.batch_size, size)
        self._batcher = Batcher(model.engine.embed, size, limits.batch_wait_s, gate=gate, metrics=metrics)
        self._batching: asyncio.Task[None] | None = None
        self._users = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def failure(self) -> str | None:
        """Why it does not answer any more; None while it does."""
        return self._batcher.failure

    def start(self) -> None:
        """Answer from now on."""
        self._batching = asyncio.create_task(self._batcher.run(), name="batcher")

    @contextmanager
    def lease(self) -> Iterator["ServingModel"]:
        """Use the model while the context lasts."""
        self._users += 1
        self._idle.clear()
        try:
            yield self
        finally:
            self._users -= 1
            if not self._users:
                self._idle.set()

    async def embed(self, pixels: Pixels, *, interactive: bool) -> Floats:
        """See `Batcher.embed`."""
        return await self._batcher.embed(pixels, interactive=interactive)

    async def wait_until_idle(self) -> None:
        """Return once nobody uses it."""
        await self._idle.wait()

    async def close(self) -> None:
        """End its batches; requests that wait are cancelled."""
        if self._batching:
            self._batching.cancel()
            await asyncio.gather(self._batching, return_exceptions=True)
