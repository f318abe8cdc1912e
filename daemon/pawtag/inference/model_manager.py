"""The models of the daemon: which one serves first, and which one replaces it."""

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pawtag.config import Settings
from pawtag.domain.errors import ModelError, PawtagError
from pawtag.domain.labels import Labels
from pawtag.domain.ports import DownloadProgress
from pawtag.inference.checkpoint import find_checkpoint, find_wanted_revision, is_offline
from pawtag.inference.loaded_model import LoadedModel
from pawtag.inference.model_loader import load_checkpoint, load_model

if TYPE_CHECKING:
    from pawtag.inference.hub.pull import Pull

log = logging.getLogger(__name__)
Result = TypeVar("Result")

MAX_DOWNLOAD_ATTEMPTS = 5


class ModelManager:
    """Loads the model that serves first, and its replacement: the configured model, once it is downloaded."""

    def __init__(self, settings: Settings, labels: Labels, stop: asyncio.Event) -> None:
        """Nothing is loaded yet."""
        self._settings, self._labels, self._stop = settings, labels, stop
        self._pull: Pull | None = None
        self._failure: str | None = None
        self.step: str | None = None
        """The current step in loading a model; None while no model is loading."""

    @property
    def progress(self) -> DownloadProgress | None:
        """The progress of the download; None if there is none."""
        if self._pull is None:
            return None
        return replace(self._pull.progress, reason=self._failure) if self._failure else self._pull.progress

    async def load_initial(self) -> LoadedModel | None:
        """The model that serves first; None if `stop` is set before it is loaded. Raises ModelError, ConfigError."""
        if self._settings.model.fallback == "none" and self.may_download:
            return await self._load_wanted()
        return await run_unless_stopped(self._stop, self._load_initial)

    def _load_initial(self) -> LoadedModel:
        try:
            return load_model(self._settings, self._labels, self._note_step)
        finally:
            self.step = None

    async def _load_wanted(self) -> LoadedModel | None:
        try:
            return await run_unless_stopped(self._stop, self._open)
        except ModelError as error:
            local = find_checkpoint(self._settings.model)
            if local is not None and not local.is_from_hub:
                raise
            log.warning("%s Downloading it.", error)
        if not await self._download(MAX_DOWNLOAD_ATTEMPTS):
            return None
        self._pull = None
        return await run_unless_stopped(self._stop, self._open)

    async def load_replacement(self, serving: LoadedModel) -> LoadedModel | None:
        """Download and verify the configured model while the fallback serves. None if that fails."""
        if not serving.checkpoint.model.fallback or not self.may_download:
            return None
        try:
            if not await self._download(None):
                return None
            replacement = await run_unless_stopped(self._stop, self._open)
        except Exception as error:  # no fault of the new model may stop the old one
            self._failure = str(error)
            trace = None if isinstance(error, PawtagError) else error
            log.error("%s The embedded model continues to serve.", error, exc_info=trace)  # noqa: TRY400
            return None
        if replacement is not None:
            log.info(
                "model %s (%s) replaces the embedded model; photos that the embedded model tagged are tagged again",
                replacement.checkpoint.model.id,
                replacement.engine.description,
            )
        self._pull = None
        return replacement

    @property
    def may_download(self) -> bool:
        """Whether the settings and the environment allow a download."""
        return self._settings.model.download and not is_offline()

    async def _download(self, max_attempts: int | None) -> bool:
        """Whether the model is downloaded; False if `stop` was set first."""
        from pawtag.inference.hub.pull import Pull  # the hub client takes a tenth of a second

        model = self._settings.model
        self._pull = pull = Pull(model.id, find_wanted_revision(model), max_attempts=max_attempts)
        try:
            return await run_unless_stopped(self._stop, pull.run) is not None
        finally:
            pull.cancel()

    def _open(self) -> LoadedModel:
        checkpoint = find_checkpoint(self._settings.model)
        if checkpoint is None:
            raise ModelError(f"The model {self._settings.model.id} is not on this machine.")
        try:
            return load_checkpoint(self._settings, self._labels, checkpoint, self._note_step)
        finally:
            self.step = None

    def _note_step(self, step: str) -> None:
        self.step = step
        log.info("preparing the model: %s", step)


async def run_unless_stopped(stop: asyncio.Event, function: Callable[[], Result]) -> Result | None:
    """The result of `function`, from a thread; None if `stop` is set first. Then the thread is abandoned."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Result] = loop.create_future()

    def deliver(settle: Callable[[], None]) -> None:
        if not answer.done():
            settle()

    def run() -> None:
        try:
            result = function()
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
