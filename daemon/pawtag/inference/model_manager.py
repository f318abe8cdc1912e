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
from pawtag.inference.checkpoint import find_checkpoint, wanted_revision
from pawtag.inference.hub.api import is_offline
from pawtag.inference.hub.pull import Pull
from pawtag.inference.model_loader import LoadedModel, load_checkpoint, load_model
from pawtag.metrics import Metrics

log = logging.getLogger(__name__)
Result = TypeVar("Result")

MAX_DOWNLOAD_ATTEMPTS = 5


class ModelManager:
    """The models of one daemon: first what this machine holds, then the wanted one, once it has been downloaded."""

    def __init__(self, settings: Settings, labels: Labels, metrics: Metrics, stop: asyncio.Event) -> None:
        """Nothing is loaded yet."""
        self._settings, self._labels, self._metrics, self._stop = settings, labels, metrics, stop
        self._pull: Pull | None = None
        self._failure: str | None = None

    @property
    def progress(self) -> DownloadProgress | None:
        """How far the download of the wanted model is; None where there is none."""
        if self._pull is None:
            return None
        return replace(self._pull.progress, reason=self._failure) if self._failure else self._pull.progress

    async def load_initial(self) -> LoadedModel | None:
        """The model that serves first; None where `stop` is set before it is there. Raises ModelError, ConfigError."""
        if self._settings.model.fallback == "none" and self.may_download:
            return await self._load_wanted()
        return await run_unless_stopped(self._stop, partial(load_model, self._settings, self._labels, self._metrics))

    async def _load_wanted(self) -> LoadedModel | None:
        try:
            return await run_unless_stopped(self._stop, self._open)
        except ModelError as error:
            here = find_checkpoint(self._settings.model)
            if here is not None and not here.is_from_hub:
                raise
            log.warning("%s It is downloaded first.", error)
        if not await self._download(MAX_DOWNLOAD_ATTEMPTS):
            return None
        self._pull = None
        return await run_unless_stopped(self._stop, self._open)

    async def load_replacement(self, serving: LoadedModel) -> LoadedModel | None:
        """The wanted model, downloaded and verified, while its fallback is serving; None where it cannot be had."""
        if not serving.checkpoint.name.fallback or not self.may_download:
            return None
        try:
            await self._download(None)
            replacement = await run_unless_stopped(self._stop, self._open)
        except Exception as error:  # whatever is wrong with the new model, the old one goes on
            self._failure = str(error)
            trace = None if isinstance(error, PawtagError) else error
            log.error("%s The embedded model goes on serving.", error, exc_info=trace)  # noqa: TRY400
            return None
        if replacement is not None:
            name = replacement.checkpoint.name
            log.info(
                "model %s (%s) takes over; what the embedded one tagged is tagged again",
                name.id,
                replacement.engine.description,
            )
        self._pull = None
        return replacement

    @property
    def may_download(self) -> bool:
        """Whether the hub may be asked."""
        return self._settings.model.download and not is_offline()

    async def _download(self, tries: int | None) -> bool:
        """Whether the model is here now; False where `stop` came first."""
        model = self._settings.model
        self._pull = pull = Pull(model.id, wanted_revision(model), max_attempts=tries)
        try:
            return await run_unless_stopped(self._stop, pull.run) is not None
        finally:
            pull.cancel()

    def _open(self) -> LoadedModel:
        checkpoint = find_checkpoint(self._settings.model)
        if checkpoint is None:
            raise ModelError(f"The model {self._settings.model.id} is not on this machine.")
        return load_checkpoint(self._settings, self._labels, checkpoint, self._metrics)


async def run_unless_stopped(stop: asyncio.Event, work: Callable[[], Result]) -> Result | None:
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
