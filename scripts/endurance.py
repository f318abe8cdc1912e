"""Tests in a temporary folder whether a daemon withstands what happens in years. Linux only (it reads /proc).

    .venv/bin/python scripts/endurance.py kills --photos 10000 --kills 20    # SIGKILL at random moments
    .venv/bin/python scripts/endurance.py flood --seconds 60                 # 64 callers, 1,000 silent connections
    .venv/bin/python scripts/endurance.py backlog --photos 5000              # a person posts while photos wait
    .venv/bin/python scripts/endurance.py soak --photos 50000                # the slope of memory, threads, open files
    .venv/bin/python scripts/endurance.py hostile                            # the memory that hostile pictures take

Each prints what it measured, and exits with 1 if a promise of docs/reliability.md was broken.
"""

import argparse
import asyncio
import hashlib
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import numpy as np

from trials.daemon_process import Daemon, Usage, make_photo, running, wait_for_records
from trials.hostile_pictures import make_hostile_pictures

CALLERS, SILENT = 64, 1000
MAX_SLOPE_MIB = 1.0  # for 10,000 photos
MIN_SOAK = 10_000  # fewer photos show no slope
WARM_UP_SHARE = 0.2
MEMORY_BYTES = 640_000_000  # of limits.memory_bytes
MAX_REFUSED_MIB, TOGETHER = 50, 3
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def main() -> int:
    """Run one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    trials = {
        "kills": endure_kills,
        "flood": endure_flood,
        "backlog": endure_backlog,
        "soak": endure_soak,
        "hostile": endure_hostile,
    }
    parser.add_argument("trial", choices=trials)
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        broken = asyncio.run(trials[given.trial](Path(home), given))
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
    """Photos come and go for hours; after the first fifth, memory, threads and open files must not grow."""
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
    is_growing = given.photos >= MIN_SOAK and slope > MAX_SLOPE_MIB
    broken = [f"memory grows by {slope:.2f} MiB for 10,000 photos"] if is_growing else []
    for name in ("threads", "files"):
        values = [getattr(usage, name) for _, usage in warm]
        broken += [f"{name} grow from {values[0]} to {values[-1]}"] if values[-1] > values[0] + 5 else []
    return broken


async def endure_hostile(home: Path, _given: argparse.Namespace) -> list[str]:
    """Pictures that take much memory, one by one and many at once. A refused one is cheap, all stay within the limit."""
    pictures, broken = make_hostile_pictures(), list[str]()
    async with running(Daemon(home, PAWTAG_LIMITS__MEMORY_BYTES=str(MEMORY_BYTES))) as daemon:
        for index in range(50):
            await post(daemon, make_photo(index))
        idle_mib = daemon.read_usage().resident_mib
        for name, data in pictures.items():
            before_mib = daemon.read_usage().resident_mib
            daemon.reset_peak()
            answer = await post(daemon, data)
            usage = daemon.read_usage()
            cost_mib = usage.peak_mib - before_mib
            print(f"{name:>24}: {answer}, {cost_mib:.0f} MiB, {usage.resident_mib:.0f} MiB after", flush=True)
            if not answer.startswith("200") and cost_mib >= MAX_REFUSED_MIB:
                broken.append(f"{name} is refused, and costs {cost_mib:.0f} MiB")
        daemon.reset_peak()
        answers = await asyncio.gather(*(post(daemon, data) for data in [*pictures.values()] * TOGETHER))
        together_mib = daemon.read_usage().peak_mib - idle_mib
    print(f"{len(answers)} at once: {dict(Counter(answers))}, {together_mib:.0f} MiB")
    limit_mib = MEMORY_BYTES / 2**20
    return broken + ([f"together they take {together_mib:.0f} MiB"] if together_mib > limit_mib else [])


async def post(daemon: Daemon, data: bytes) -> str:
    """The status, and an error's code."""
    async with aiohttp.ClientSession(daemon.address) as session, session.post("/tag", data=data) as answer:
        said = await answer.json()
        return str(answer.status) if answer.status == 200 else f"{answer.status} {said.get('code', '')}"


def find_slope(points: list[tuple[int, float]]) -> float:
    """The slope of the least-squares line."""
    counts, values = np.array(points, float).T
    return float(np.polyfit(counts, values, 1)[0]) if len(points) > 1 else 0.0


if __name__ == "__main__":
    sys.exit(main())
