"""What runs a source: the source, its pipeline, and what belongs to both."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from pawtag.domain.records import PhotoRef
from pawtag.folder.source import FolderSource
from pawtag.pipeline.progress import report_backlog
from pawtag.pipeline.worker import Pipeline


class Work(Protocol):
    """One source and its pipeline."""

    @property
    def pipeline(self) -> Pipeline:
        """What brings its photos up to date."""

    @property
    def waiting(self) -> int:
        """How many photos are known to wait."""

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish what is in hand."""


@dataclass(frozen=True, slots=True)
class FolderWork:
    """A folder's source and the pipeline that works it off."""

    source: FolderSource
    pipeline: Pipeline
    needs: Callable[[PhotoRef], bool]

    @property
    def waiting(self) -> int:
        """How many photos are known to wait."""
        return self.source.waiting

    async def run(self, stop: asyncio.Event) -> None:
        """Watch, scan and tag."""
        async with (
            self.source.watching(),
            background(report_backlog(lambda: self.waiting, self.pipeline.counts), "progress"),
        ):
            await self.pipeline.run(stop)


@asynccontextmanager
async def background(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Run a coroutine beside the context, and cancel it at the end."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
