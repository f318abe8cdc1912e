"""Source runners: each runs one source with its worker."""

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pawtag.folder.scanner import BuildScan
from pawtag.folder.source import FolderSource
from pawtag.pipeline.progress import report_backlog
from pawtag.pipeline.worker import Worker


class SourceRunner(Protocol):
    """One source and its worker."""

    @property
    def worker(self) -> Worker:
        """What tags the photos of the source."""

    @property
    def pending(self) -> int:
        """How many photos are known to be pending."""

    def owns(self, uri: str) -> bool:
        """Whether the photo is one of the source."""

    def rescan(self) -> None:
        """Find photos whose record has become stale."""

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then finish what is in flight."""


@dataclass(frozen=True, slots=True)
class FolderRunner:
    """Runs the source of a folder. `build_scan`: makes a scan, which finds the photos that need a record."""

    root: Path
    source: FolderSource
    worker: Worker
    build_scan: BuildScan

    @property
    def pending(self) -> int:
        """How many photos are known to be pending."""
        return self.source.pending

    def owns(self, uri: str) -> bool:
        """Whether the photo is below the folder."""
        return uri.startswith(f"{self.root}{os.sep}") or self.root == Path(os.sep)

    def rescan(self) -> None:
        """Find photos whose record has become stale."""
        self.source.rescan()

    async def run(self, stop: asyncio.Event) -> None:
        """Watch, scan and tag until `stop` is set."""
        progress = report_backlog(lambda: self.pending, self.worker.counts)
        async with self.source.watch(), run_in_background(progress, "progress"):
            await self.worker.run(stop)


@asynccontextmanager
async def run_in_background(coroutine: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Run a coroutine while the context lasts, then cancel it."""
    task = asyncio.create_task(coroutine, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
