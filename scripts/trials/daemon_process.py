"""A daemon as a process, in a folder of its own, and photos for it. Linux: what it holds is read from /proc."""

import asyncio
import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import numpy as np
from PIL import Image

START_TIMEOUT_S, STALL_TIMEOUT_S = 60, 120
SIDES = (96, 128, 160)


@dataclass(frozen=True)
class Usage:
    """What a process holds: resident MiB and the most of them since `reset_peak`, threads, open files."""

    resident_mib: float
    peak_mib: float
    threads: int
    files: int


class Daemon:
    """A daemon that watches `home/photos`, started as often as it takes."""

    def __init__(self, home: Path, **settings: str) -> None:
        """Not started yet."""
        self.home, self.photos = home, home / "photos"
        self.photos.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._settings = {
            "PAWTAG_MODEL__ID": "embedded",
            "PAWTAG_STATE__DIR": str(home / "state"),
            "PAWTAG_MODEL__CACHE_DIR": str(home / "cache"),
            "PAWTAG_FOLDER__STABLE_S": "0.5",
            "PAWTAG_LOG__LEVEL": "warning",
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; returns at once."""
        with (self.home / "log").open("ab") as log:
            command = [sys.executable, "-m", "pawtag", "run", "--watch", str(self.photos), "--port", str(self.port)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | self._settings)

    def kill(self) -> None:
        """End it as `kill -9` does."""
        assert self._process
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """End it as a service manager does; its exit code."""
        assert self._process
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(30)

    def read_usage(self) -> Usage:
        """What it holds now."""
        assert self._process
        folder = Path(f"/proc/{self._process.pid}")
        fields = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        resident_mib, peak_mib = (int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
        return Usage(resident_mib, peak_mib, int(fields["Threads"]), len(list((folder / "fd").iterdir())))

    def reset_peak(self) -> None:
        """Measure the peak of memory from now on. `clear_refs` in proc(5)."""
        assert self._process
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    async def wait_until_ready(self) -> None:
        """Return once /readyz is 200."""
        async with asyncio.timeout(START_TIMEOUT_S), aiohttp.ClientSession(self.address) as session:
            while True:
                try:
                    async with session.get("/readyz") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.1)

    def count_records(self) -> int:
        """How many sidecars there are."""
        return sum(path.suffix == ".json" for path in self.photos.iterdir())


@asynccontextmanager
async def running(daemon: Daemon) -> AsyncIterator[Daemon]:
    """A daemon that is ready, and stopped at the end."""
    daemon.start()
    try:
        await daemon.wait_until_ready()
        yield daemon
    finally:
        daemon.stop()


async def wait_for_records(daemon: Daemon, count: int) -> None:
    """Return once there are so many; a daemon that tags nothing for two minutes is an error."""
    found, since_s = -1, time.monotonic()
    while found < count:
        now = daemon.count_records()
        if now != found:
            found, since_s = now, time.monotonic()
        if time.monotonic() - since_s > STALL_TIMEOUT_S:
            raise SystemExit(
                f"only {found} of {count} photos have a record:\n{(daemon.home / 'log').read_text()[-2000:]}"
            )
        await asyncio.sleep(0.2)


def make_photo(number: int) -> bytes:
    """A small JPEG that no other number has."""
    chance = np.random.default_rng(number)
    side = SIDES[number % len(SIDES)]
    blocks = chance.integers(0, 255, (8, 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(blocks).resize((side, side)).save(file, "JPEG", quality=85)
    return file.getvalue()
