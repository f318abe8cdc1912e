"""What runs a source: the source, its pipeline, and what belongs to both."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from pawtag.domain.records import PhotoRef
from pawtag.folder.source import FolderSource
from pawtag.pipeline.progress import report_backlog
from pawtag.pipeline.worker import Worker


class SourceRunner(Protocol):
    """One source and its pipeline."""

    @property
    def worker(self) -> Worker:
        """What brings its photos up to date."""

    @property
    def pending(self) -> int:
        """How many photos are known to wait."""

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then finish what is in hand."""


@dataclass(frozen=True, slots=True)
class FolderRunner:
    """A folder's source and the pipeline that works it off."""

    source: FolderSource
    worker: Worker
    needs: Callable[[PhotoRef], bool]

    @property
    def pending(self) -> int:
        """How many photos are known to wait."""
        return self.source.pending

    async def run(self, stop: asyncio.Event) -> None:
        """Watch, scan and tag."""
        async with (
            self.source.watch(),
            run_in_background(report_backlog(lambda: self.pending, self.worker.counts), "progress"),
        ):
            await self.worker.run(stop)


@asynccontextmanager
async def run_in_background(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Run a coroutine beside the context, and cancel it at the end."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
