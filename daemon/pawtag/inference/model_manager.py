"""Which model serves first, and which one takes over from it."""

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from pawtag.config import Settings
from pawtag.domain.errors import ModelError, PawtagError
from pawtag.domain.labels import Labels
from pawtag.domain.ports import DownloadProgress
from pawtag.inference.checkpoint import find, wanted_revision
from pawtag.inference.hub.api import is_offline
from pawtag.inference.hub.pull import Pull
from pawtag.inference.model_loader import Loaded, load_model, open_checkpoint
from pawtag.metrics import Metrics

log = logging.getLogger(__name__)
Result = TypeVar("Result")

TRIES = 5


class Succession:
    """The models of one daemon: first what this machine holds, then the wanted one, once it has been downloaded."""

    def __init__(self, settings: Settings, labels: Labels, metrics: Metrics, stop: asyncio.Event) -> None:
        """Nothing is loaded yet."""
        self._settings, self._labels, self._metrics, self._stop = settings, labels, metrics, stop
        self._pull: Pull | None = None
        self._end: str | None = None

    @property
    def progress(self) -> DownloadProgress | None:
        """How far the download of the wanted model is; None where there is none."""
        if self._pull is None:
            return None
        return replace(self._pull.progress, reason=self._end) if self._end else self._pull.progress

    async def first(self) -> Loaded | None:
        """The model that serves first; None where `stop` is set before it is there. Raises ModelError, ConfigError."""
        if self._settings.model.fallback == "none" and self.may_ask:
            return await self._wanted_at_once()
        return await unless(self._stop, partial(load_model, self._settings, self._labels, self._metrics))

    async def _wanted_at_once(self) -> Loaded | None:
        try:
            return await unless(self._stop, self._open)
        except ModelError as error:
            here = find(self._settings.model)
            if here is not None and not here.is_from_hub:
                raise
            log.warning("%s It is downloaded first.", error)
        if not await self._download(TRIES):
            return None
        self._pull = None
        return await unless(self._stop, self._open)

    async def heir(self, serving: Loaded) -> Loaded | None:
        """The wanted model, downloaded and verified, while its fallback is serving; None where it cannot be had."""
        if not serving.checkpoint.name.fallback or not self.may_ask:
            return None
        try:
            await self._download(None)
            heir = await unless(self._stop, self._open)
        except Exception as error:  # whatever is wrong with the new model, the old one goes on
            self._end = str(error)
            trace = None if isinstance(error, PawtagError) else error
            log.error("%s The embedded model goes on serving.", error, exc_info=trace)  # noqa: TRY400
            return None
        if heir is not None:
            name = heir.checkpoint.name
            log.info(
                "model %s (%s) takes over; what the embedded one tagged is tagged again", name.id, heir.model.engine
            )
        self._pull = None
        return heir

    @property
    def may_ask(self) -> bool:
        """Whether the hub may be asked."""
        return self._settings.model.hub and not is_offline()

    async def _download(self, tries: int | None) -> bool:
        """Whether the model is here now; False where `stop` came first."""
        model = self._settings.model
        self._pull = pull = Pull(model.id, wanted_revision(model), tries=tries)
        try:
            return await unless(self._stop, pull.run) is not None
        finally:
            pull.cancel()

    def _open(self) -> Loaded:
        checkpoint = find(self._settings.model)
        if checkpoint is None:
            raise ModelError(f"The model {self._settings.model.id} is not on this machine.")
        return open_checkpoint(self._settings, self._labels, checkpoint, self._metrics)


async def unless(stop: asyncio.Event, work: Callable[[], Result]) -> Result | None:
    """What `work` returns from a thread; None where `stop` is set first. Nobody waits for the thread then."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Result] = loop.create_future()

    def deliver(settle: Callable[[], None]) -> None:
        if not answer.done():
            settle()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:
            loop.call_soon_threadsafe(deliver, partial(answer.set_exception, error))
        else:
            loop.call_soon_threadsafe(deliver, partial(answer.set_result, result))

    threading.Thread(target=run, name="load", daemon=True).start()
    stopping = asyncio.create_task(stop.wait(), name="stop-while-loading")
    waited: set[asyncio.Future[Any]] = {answer, stopping}
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    return None if not answer.done() else answer.result()
