"""A watched folder: the folder's part of the daemon at work, with a tagger that sees colours."""

import asyncio
import json
import os
import time
from contextlib import asynccontextmanager
from pathlib import Path

from pawtag.app.pipeline_parts import PipelineParts
from pawtag.app.wiring import build_folder_runner
from pawtag.config import Settings
from pawtag.folder.tuning import FolderTuning
from support.doubles import ColourEngine, colour_tagger
from support.pipeline import open_parts

TIMEOUT_S = 10
OLD_S = 3600


@asynccontextmanager
async def watching(root: Path, model: ColourEngine | None = None, tuning: FolderTuning | None = None, **folder):
    """The folder's part of the daemon at work on `root`."""
    async with open_parts(colour_tagger(model)) as parts, watching_with(parts, root, tuning, **folder) as work:
        yield work


@asynccontextmanager
async def watching_with(parts: PipelineParts, root: Path, tuning: FolderTuning | None = None, **folder):
    """The same with these parts."""
    settings = Settings(folder={"settle_s": 0.2, "stable_s": 0.6, "rescan_s": 60, **folder})
    work, stop = build_folder_runner(settings, root, parts, tuning=tuning), asyncio.Event()
    async with work.source.watch():
        task = asyncio.create_task(work.worker.run(stop))
        await until(lambda: work.source._watcher._is_counted)  # the first scan has ended: the watch stands
        await asyncio.sleep(0.1)
        yield work
        stop.set()
        await asyncio.wait_for(task, 5)


def sidecar(photo: Path) -> dict | None:
    try:
        return json.loads((photo.parent / f"{photo.name}.json").read_text())
    except FileNotFoundError:
        return None


async def tagged(photo: Path, colour: str = "red") -> dict:
    """The photo's record, once it says `colour`."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            record = sidecar(photo)
            if record and colour in [tag["label"] for tag in record["tags"]]:
                return record
            await asyncio.sleep(0.02)


async def drained(work) -> None:
    await until(lambda: work.source.is_drained)


async def until(condition) -> None:
    """Return once it holds."""
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():
            await asyncio.sleep(0.02)


def old(path: Path, data: bytes) -> Path:
    """A file with an mtime one hour ago; only its ctime is new."""
    path.write_bytes(data)
    os.utime(path, (time.time() - OLD_S,) * 2)
    return path
