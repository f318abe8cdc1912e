"""The API for Python programs: open a tagger, tag bytes, close it.

    from pawtag.api import ModelSettings, Settings, open_tagger

    with open_tagger(Settings(model=ModelSettings(id="embedded"))) as tagger:
        record = tagger.tag(photo_bytes, name="mimi.jpg")
        print(record.status, [tag.label for tag in record.tags])

Names that are not in `__all__` may change.
"""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress

from pawtag.config import FolderSettings, LabelSettings, LimitSettings, ModelSettings, Settings, load_settings
from pawtag.config.labels_file import load_labels
from pawtag.domain.errors import ConfigError, ModelError, PawtagError, PermanentError, TemporaryError
from pawtag.domain.records import SourceInfo, Tag, TagRecord, describe_bytes
from pawtag.inference.model_loader import load_model
from pawtag.inference.tagger import Tagger
from pawtag.pipeline.recording import build_failed_record, build_record

__all__ = [
    "ConfigError",
    "FolderSettings",
    "LabelSettings",
    "LimitSettings",
    "ModelError",
    "ModelSettings",
    "PawtagError",
    "PhotoTagger",
    "Settings",
    "Tag",
    "TagRecord",
    "TemporaryError",
    "load_settings",
    "open_tagger",
]

SOURCE = SourceInfo(kind="request")


class PhotoTagger:
    """Tags photos with one model. Any thread may call it; photos of several threads are computed together."""

    def __init__(self, tagger: Tagger, loop: asyncio.AbstractEventLoop) -> None:
        """See `open_tagger`."""
        self._tagger, self._loop = tagger, loop
        self.is_closed = False

    def tag(self, data: bytes, *, name: str | None = None) -> TagRecord:
        """The record of one photo; `name` is the base name of its file. A photo that cannot be tagged is `failed`.

        Raises TemporaryError for a fault that may pass, PawtagError after the end of the context.
        """
        if self.is_closed:
            raise PawtagError("The tagger is closed.")
        return asyncio.run_coroutine_threadsafe(self._tag(data, name), self._loop).result()

    async def _tag(self, data: bytes, name: str | None) -> TagRecord:
        photo = await asyncio.to_thread(describe_bytes, data, name)
        try:
            return build_record(await self._tagger.tag(data, photo=photo), name, SOURCE)
        except PermanentError as error:
            return build_failed_record(error, photo, self._tagger.identity, SOURCE)


@contextmanager
def open_tagger(settings: Settings | None = None) -> Iterator[PhotoTagger]:
    """Open a tagger, and close it at the end of the context. This takes seconds.

    The first start with a model takes longer, because it fills the cache. Without `settings`, the environment and the
    settings file apply, as on the command line. Raises ConfigError and ModelError.
    """
    settings = settings or load_settings()
    tagger = Tagger(load_model(settings, load_labels(settings.labels.file)), settings.limits)
    opened: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    thread = threading.Thread(target=lambda: asyncio.run(_run(tagger, opened)), name="pawtag", daemon=True)
    thread.start()
    loop, closing = opened.result()
    photo_tagger = PhotoTagger(tagger, loop)
    try:
        yield photo_tagger
    finally:
        photo_tagger.is_closed = True
        with suppress(RuntimeError):  # the loop has ended by itself
            loop.call_soon_threadsafe(closing.set)
        thread.join()


async def _run(tagger: Tagger, opened: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
    closing = asyncio.Event()
    try:
        async with tagger.run():
            opened.set_result((asyncio.get_running_loop(), closing))
            await closing.wait()
    except BaseException as error:
        if opened.done():
            raise
        opened.set_exception(error)
