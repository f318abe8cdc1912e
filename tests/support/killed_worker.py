"""A process that tags the photos of a folder or a queue, and kills itself after one step of a photo.

python -m support.killed_worker STEP KIND HOME [STORE_ADDRESS QUEUE_URL]; with the step `none` it runs to its end.
"""

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

from pawtag.app.pipeline_parts import PipelineParts
from pawtag.app.wiring import build_folder_runner
from pawtag.config import Settings
from pawtag.state.database import StateDatabase
from pawtag.state.in_flight import InFlightPhotos
from support.buckets import wire
from support.doubles import MemoryOutput, colour_tagger

STEPS = ("looked", "read", "tagged", "output-written", "record-written", "acknowledged")
IDLE_S = 0.6


def kill_at(step: str, wanted: str) -> None:
    """End as `kill -9` does."""
    if step == wanted:
        os.kill(os.getpid(), signal.SIGKILL)


class KilledPhoto:
    """An open photo whose process dies after a step."""

    def __init__(self, photo, wanted: str) -> None:
        self._photo, self._wanted = photo, wanted

    @property
    def version(self):
        return self._photo.version

    async def look(self):
        found = await self._photo.look()
        kill_at("looked", self._wanted)
        return found

    async def read(self):
        found = await self._photo.read()
        kill_at("read", self._wanted)
        return found

    async def write(self, record, seen):
        await self._photo.write(record, seen)
        kill_at("record-written", self._wanted)


class FileOutput(MemoryOutput):
    """An output that writes the tags into a file of its own."""

    def __init__(self, folder: Path, wanted: str) -> None:
        super().__init__()
        self._folder, self._wanted = folder, wanted

    async def write(self, photo, record, before):
        name = photo.uri.rpartition("/")[2] + ".keywords"
        (self._folder / name).write_text(" ".join(tag.label for tag in record.tags))
        kill_at("output-written", self._wanted)
        return {"file": name}


def patch(source, tagger, wanted: str) -> None:
    """Let the process die at the step."""
    opened, ack, tag = source.open, source.ack, tagger.tag

    @asynccontextmanager
    async def open_photo(ref):
        async with opened(ref) as photo:
            yield KilledPhoto(photo, wanted)

    async def ack_event(event):
        await ack(event)
        kill_at("acknowledged", wanted)

    async def tag_photo(*arguments, **options):
        found = await tag(*arguments, **options)
        kill_at("tagged", wanted)
        return found

    source.open, source.ack, tagger.tag = open_photo, ack_event, tag_photo


async def work(wanted: str, kind: str, home: Path, address: str = "", queue_url: str = "") -> None:
    """Tag everything there is, then end; or die before."""
    database, stop = StateDatabase(home / "state"), asyncio.Event()
    InFlightPhotos(database).take_abandoned()
    async with colour_tagger().run() as tagger:
        outputs = {"keywords": FileOutput(home / "outputs", wanted)}
        parts = PipelineParts(tagger, database, outputs=outputs)
        if kind == "file":
            folder = {"settle_s": 0.05, "stable_s": 0.1}
            settings = Settings(folder=folder, model={"cache_dir": home / "cache"}, state={"dir": home / "state"})
            runner = build_folder_runner(settings, home / "photos", parts)
        else:
            store = SimpleNamespace(address=address, url=queue_url, bucket="pets")
            wiring = wire(store, state=home / "state", queue_url=queue_url, output="both", visibility_timeout_s=10)
            (runner,) = wiring.build_queue_runners(parts)
        patch(runner.source, tagger, wanted)
        running = asyncio.create_task(runner.run(stop))
        while not await asyncio.to_thread(is_done, kind, home, runner):
            await asyncio.sleep(0.05)
        await asyncio.sleep(IDLE_S)
        stop.set()
        await running
    database.close()


def is_done(kind: str, home: Path, runner) -> bool:
    """Whether nothing is left to do."""
    if kind == "file":
        return (home / "photos" / "a.png.json").exists() and runner.source.is_drained
    return runner.source._queue.read_status()[0] == 0


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], sys.argv[2], Path(sys.argv[3]), *sys.argv[4:]))
    os._exit(0)  # a thread may still wait for the queue
