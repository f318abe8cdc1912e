"""The switch of the model under load: folder, bucket and HTTP at once."""

import asyncio
import gc
import weakref
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace

import aiohttp
import pytest

from pawtag.app.daemon import ModelSwitch
from pawtag.app.wiring import build_folder_runner
from pawtag.config import LimitSettings, Settings
from pawtag.domain.labels import Labels
from pawtag.domain.outcomes import PhotoTagged
from pawtag.domain.records import ModelInfo
from pawtag.inference.tagger import Tagger
from pawtag.server import ServerState, serve_http
from support.buckets import put, tags, until, wire
from support.doubles import COLOURS, ColourEngine, colour_model
from support.pictures import GREEN, RED, plain
from support.pipeline import open_parts

PHOTOS, CALLERS = 30, 4
OLD, NEW = "small", "large"
# The same colours by other names: a record tells which labels made its tags.
OTHER_LABELS = Labels.model_validate(
    {
        "templates": ["a photo of {}"],
        "groups": {"species": {"labels": {"rouge": ["red"], "vert": ["green"], "none": ["blue"]}}},
    }
)
NAMES = {OLD: {"red", "green"}, NEW: {"rouge", "vert"}}


class SizedEngine(ColourEngine):
    """Takes inputs of its own size alone, and some time for them."""

    def __init__(self, side_px: int) -> None:
        super().__init__()
        self.spec = replace(ColourEngine.spec, resize=side_px, crop=(side_px, side_px))

    def embed(self, batch):
        assert {each.shape[:2] for each in batch} == {self.spec.crop}
        return super().embed(batch)


def build_old_model():
    name = ModelInfo(id="small", fallback=True, wanted="large")
    return colour_model(SizedEngine(8), fingerprint=OLD, name=name)


def build_new_model():
    return colour_model(SizedEngine(12), fingerprint=NEW, name=ModelInfo(id="large"), labels=OTHER_LABELS)


class Load:
    """Callers that post photos until they are stopped."""

    def __init__(self, address: str) -> None:
        self._address, self._stop = address, False
        self.records: list[dict] = []
        self.statuses: Counter[int] = Counter()

    async def post(self) -> None:
        async with aiohttp.ClientSession(self._address) as session:
            while not self._stop:
                async with session.post("/tag?detail=record", data=plain(RED)) as response:
                    self.statuses[response.status] += 1
                    self.records.append(await response.json())

    def stop(self) -> None:
        self._stop = True


class Daemon:
    """Folder, queue and server around one tagger, as the daemon has them."""

    def __init__(self, parts, store, home) -> None:
        settings = Settings(folder={"settle_s": 0.1, "stable_s": 0.2}, server={"port": 0}, model={"cache_dir": home})
        self.state = ServerState(settings, COLOURS)
        self.replacement: asyncio.Future = asyncio.get_running_loop().create_future()
        self.outcomes: list[PhotoTagged] = []
        self.parts, self.stop = parts, asyncio.Event()
        self.root = home / "photos"
        self.root.mkdir()
        parts.observers.add(lambda outcome: self.outcomes.append(outcome) if isinstance(outcome, PhotoTagged) else None)
        wiring = wire(store, queue_url=store.url, state=home / "state")
        self.runners = [*wiring.build_queue_runners(parts), wiring.build_owed_runner(parts)]
        self.runners.append(build_folder_runner(settings, self.root, parts))

    @asynccontextmanager
    async def run(self):
        """Serve and tag; the address of the server."""
        async with serve_http(self.state) as server:
            self.state.activate(self.parts.tagger, *(runner.worker for runner in self.runners))
            tasks = [asyncio.create_task(runner.run(self.stop)) for runner in self.runners]
            manager = SimpleNamespace(load_replacement=lambda _serving: self.replacement)
            switch = ModelSwitch(manager, self.parts.tagger, self.state, self.runners)
            tasks.append(asyncio.create_task(switch.run()))
            yield server.address
            self.stop.set()
            await asyncio.gather(*tasks)

    def are_all_tagged(self, count: int) -> bool:
        """Whether the newest record of so many photos is the new model's."""
        newest = {each.ref.uri: each.record.fingerprint for each in list(self.outcomes)}
        return len(newest) == count and set(newest.values()) == {NEW}


async def upload(daemon, store) -> None:
    """Photos into folder and bucket. In the middle of it the new model is there."""
    for number in range(PHOTOS):
        data = plain(RED if number % 2 else GREEN)
        (daemon.root / f"{number}.png").write_bytes(data)
        await asyncio.to_thread(put, store, f"{number}.png", data)
        if number == PHOTOS // 2:
            await until(lambda: len(daemon.outcomes) > PHOTOS // 4)
            daemon.replacement.set_result(build_new_model())


@pytest.mark.timeout(120)
async def test_a_switch_under_load_loses_and_mixes_nothing(store, tmp_path):
    """No request lost, no record of one model with the other's tags, everything re-tagged, nothing twice without need."""
    old = build_old_model()
    engine = weakref.ref(old.engine)
    tagger = Tagger(old, LimitSettings())
    del old
    async with open_parts(tagger, tmp_path / "state") as parts:
        daemon = Daemon(parts, store, tmp_path)
        async with daemon.run() as address:
            load = Load(address)
            callers = [asyncio.create_task(load.post()) for _ in range(CALLERS)]
            await upload(daemon, store)
            await until(lambda: daemon.are_all_tagged(2 * PHOTOS))
            load.stop()
            await asyncio.gather(*callers)
            await until(lambda: not parts.database.quick.execute("SELECT * FROM owed"))
        keys = [f"{number}.png" for number in range(PHOTOS)]
        assert all(tags(store, key)["pawtag:fingerprint"].startswith(NEW) for key in keys)

    assert set(load.statuses) == {200}
    made = [(each.record.fingerprint, {tag.label for tag in each.record.tags}) for each in daemon.outcomes]
    made += [(each["fingerprint"], {tag["label"] for tag in each["tags"]}) for each in load.records]
    assert {fingerprint for fingerprint, _ in made} == {OLD, NEW}
    assert all(found <= NAMES[fingerprint] for fingerprint, found in made)
    written = Counter((each.ref.uri, each.record.fingerprint) for each in daemon.outcomes)
    assert max(written.values()) == 1
    gc.collect()
    assert engine() is None, "the old model's memory is free"
