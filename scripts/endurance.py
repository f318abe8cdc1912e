"""Lets a daemon endure what years bring, in a temporary folder, and says whether it did. Linux (it reads /proc).

    .venv/bin/python scripts/endurance.py kills --photos 10000 --kills 20    # SIGKILL at random moments
    .venv/bin/python scripts/endurance.py flood --seconds 60                 # 64 callers, 1,000 silent connections
    .venv/bin/python scripts/endurance.py backlog --photos 5000              # a person posts while photos wait
    .venv/bin/python scripts/endurance.py soak --photos 50000                # the slope of memory, threads, open files

Each prints what it measured, and exits with 1 if a promise of docs/reliability.md was broken.
"""

import argparse
import asyncio
import hashlib
import io
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import numpy as np
from PIL import Image

START_TIMEOUT_S = 60
CALLERS, SILENT = 64, 1000
MIB = 1024 * 1024
SIDES = (96, 128, 160)
MAX_SLOPE_MIB = 1.0  # for 10,000 photos
WARM_UP_SHARE = 0.2
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Usage:
    """What a process holds: resident MiB, threads, open files."""

    resident_mib: float
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
        resident_kib = int(fields["VmRSS"].split()[0])
        return Usage(resident_kib / 1024, int(fields["Threads"]), len(list((folder / "fd").iterdir())))

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


def main() -> int:
    """Run one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trial", choices=("kills", "flood", "backlog", "soak"))
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    given = parser.parse_args()
    trial = {"kills": endure_kills, "flood": endure_flood, "backlog": endure_backlog, "soak": endure_soak}[given.trial]
    with tempfile.TemporaryDirectory() as home:
        broken = asyncio.run(trial(Path(home), given))
    for promise in broken:
        print(f"BROKEN: {promise}")
    return int(bool(broken))


async def endure_kills(home: Path, given: argparse.Namespace) -> list[str]:
    """Files keep coming while the daemon is killed; in the end each has one whole record."""
    daemon, chance = Daemon(home), random.Random(0)
    digests: dict[str, str] = {}
    for number in range(given.kills):
        daemon.start()
        for index in range(number * given.photos // given.kills, (number + 1) * given.photos // given.kills):
            name, data = f"{index:06}.jpg", make_photo(index)
            digests[name] = hashlib.sha256(data).hexdigest()
            (daemon.photos / name).write_bytes(data)
        await asyncio.sleep(chance.uniform(0.2, 6))
        daemon.kill()
    at_kills = daemon.count_records()
    for left in daemon.photos.glob(".pawtag-*.tmp"):
        os.utime(left, (1, 1))  # young ones may be another process's, and stay
    daemon.start()
    await wait_for_records(daemon, given.photos)
    code = daemon.stop()
    print(
        f"{given.photos} photos, {given.kills} kills: {at_kills} records before the last start, exit {code} at the end"
    )
    return list(check_records(daemon, digests))


def check_records(daemon: Daemon, digests: dict[str, str]) -> Iterator[str]:
    """What is wrong with the records, the photos and the folder."""
    statuses: Counter[str] = Counter()
    for name, digest in digests.items():
        record = json.loads((daemon.photos / f"{name}.json").read_text())
        statuses[record["status"]] += 1
        if record["photo"]["sha256"] != digest:
            yield f"{name}: its record is of other content"
        if hashlib.sha256((daemon.photos / name).read_bytes()).hexdigest() != digest:
            yield f"{name}: the photo was changed"
    print(f"records: {dict(statuses)}")
    if statuses["failed"]:
        yield f"{statuses['failed']} photos are failed"
    if left := [path.name for path in daemon.photos.iterdir() if not path.name.endswith((".jpg", ".jpg.json"))]:
        yield f"temporary files are left: {left[:3]}"


async def endure_flood(home: Path, given: argparse.Namespace) -> list[str]:
    """64 callers post as fast as they can, 1,000 connections are silent; /healthz answers within a second."""
    async with running(Daemon(home)) as daemon:
        silent = [await asyncio.open_connection("127.0.0.1", daemon.port) for _ in range(SILENT)]
        before = daemon.read_usage()
        answers, health_s, until_s = Counter[int](), list[float](), time.monotonic() + given.seconds
        photos = [make_photo(index) for index in range(50)]
        connector = aiohttp.TCPConnector(limit=CALLERS + 1)
        async with aiohttp.ClientSession(daemon.address, connector=connector) as session:
            callers = [post_until(session, photos, until_s, answers) for _ in range(CALLERS)]
            keeping = keep_silent(daemon.port, silent, until_s)
            await asyncio.gather(*callers, ask_health(session, until_s, health_s), keeping)
            async with session.post("/tag", data=photos[0]) as answer:
                after = answer.status
        for _, writer in silent:
            writer.close()
        usage = daemon.read_usage()
    print(
        f"answers {dict(answers)}, /healthz at most {max(health_s):.2f} s, open files {before.files} to {usage.files}"
    )
    broken = [f"{count} answers were {status}" for status, count in answers.items() if status not in (200, 503)]
    broken += ["/healthz took a second or more"] if max(health_s) >= 1 else []
    return broken + ([f"the next request got {after}"] if after != 200 else [])


async def keep_silent(port: int, silent: list[Connection], until_s: float) -> None:
    """Open connections again that the daemon has closed."""
    while time.monotonic() < until_s:
        await asyncio.sleep(0.5)
        for index, (reader, writer) in enumerate(silent):
            if reader.at_eof() or writer.is_closing():
                writer.close()
                try:
                    silent[index] = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    break


async def post_until(
    session: aiohttp.ClientSession, photos: list[bytes], until_s: float, answers: Counter[int]
) -> None:
    """Post one photo after the other."""
    while time.monotonic() < until_s:
        try:
            async with session.post("/tag", data=random.choice(photos)) as answer:
                await answer.read()
                answers[answer.status] += 1
        except aiohttp.ClientError:
            answers[0] += 1


async def ask_health(session: aiohttp.ClientSession, until_s: float, took_s: list[float]) -> None:
    """Ask /healthz four times a second."""
    while time.monotonic() < until_s:
        started_s = time.monotonic()
        async with session.get("/healthz") as answer:
            await answer.read()
        took_s.append(time.monotonic() - started_s)
        await asyncio.sleep(0.25)


async def endure_backlog(home: Path, given: argparse.Namespace) -> list[str]:
    """A person posts every second while thousands of photos wait."""
    daemon = Daemon(home)
    for index in range(given.photos):
        (daemon.photos / f"{index:06}.jpg").write_bytes(make_photo(index))
    took_s: list[float] = []
    async with running(daemon), aiohttp.ClientSession(daemon.address) as session:
        while daemon.count_records() < given.photos:
            started_s = time.monotonic()
            async with session.post("/tag", data=make_photo(len(took_s))) as answer:
                await answer.read()
            took_s.append(time.monotonic() - started_s)
            await asyncio.sleep(1)
    print(
        f"{given.photos} photos waited; {len(took_s)} posts: p50 {statistics.median(took_s):.3f} s, max {max(took_s):.3f} s"
    )
    return ["a post took five seconds or more"] if max(took_s) >= 5 else []


async def endure_soak(home: Path, given: argparse.Namespace) -> list[str]:
    """Photos come and go for hours; what the process holds after the first fifth stays what it is."""
    samples: list[tuple[int, Usage]] = []
    async with running(Daemon(home)) as daemon:
        step = max(100, given.photos // 50)
        for first in range(0, given.photos, step):
            names = [f"{index:06}.jpg" for index in range(first, min(first + step, given.photos))]
            for index, name in enumerate(names, first):
                (daemon.photos / name).write_bytes(make_photo(index))
            await wait_for_records(daemon, len(names))
            for name in names:
                (daemon.photos / name).unlink()
                (daemon.photos / f"{name}.json").unlink()
            samples.append((first + len(names), daemon.read_usage()))
            print(f"{samples[-1][0]:>7} photos: {samples[-1][1]}", flush=True)
    warm = samples[int(len(samples) * WARM_UP_SHARE) :]
    slope = find_slope([(count, usage.resident_mib) for count, usage in warm]) * 10_000
    print(f"slope of memory: {slope:.2f} MiB for 10,000 photos")
    broken = [f"memory grows by {slope:.2f} MiB for 10,000 photos"] if slope > MAX_SLOPE_MIB else []
    for name in ("threads", "files"):
        values = [getattr(usage, name) for _, usage in warm]
        broken += [f"{name} grow from {values[0]} to {values[-1]}"] if values[-1] > values[0] + 5 else []
    return broken


def find_slope(points: list[tuple[int, float]]) -> float:
    """That of the line of least squares."""
    counts, values = np.array(points, float).T
    return float(np.polyfit(counts, values, 1)[0]) if len(points) > 1 else 0.0


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
        if time.monotonic() - since_s > 120:
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


if __name__ == "__main__":
    sys.exit(main())
