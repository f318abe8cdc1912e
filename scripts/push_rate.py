"""Compare two checkouts: how many posts a second POST /notifications/s3 takes, in interleaved pairs.

    python scripts/push_rate.py ../before/.venv/bin/python .venv/bin/python --pairs 9

Each run is `pawtag run` with the embedded model. The bucket's store does not answer, so that only the posts are
measured. There are 32 callers. Each post names a new photo, and is answered when the photo is on the disk. Prints both
means, and the ratio of the second to the first with its 95 % interval.
"""

import argparse
import asyncio
import itertools
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import aiohttp

from compare import QUANTILES, print_ratio

CALLERS, DURATION_S, START_TIMEOUT_S = 32, 5.0, 120.0
KEY, CLOSED_PORT = "secret", 9
PATH = "/notifications/s3"


def main() -> None:
    """Measure the pairs and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pythons", nargs=2, type=Path, metavar="PYTHON", help="of the environments to compare")
    parser.add_argument("--pairs", type=int, choices=QUANTILES, default=9)
    given = parser.parse_args()
    pairs = []
    for number in range(given.pairs):
        order = (0, 1) if number % 2 == 0 else (1, 0)
        rates = {side: measure(given.pythons[side].absolute()) for side in order}
        pairs.append((rates[0], rates[1]))
        print(number, *(f"{rate:.0f}" for rate in pairs[-1]), flush=True)
    print_ratio("posts_per_s", pairs)


def measure(python: Path) -> float:
    """Posts a second of one daemon."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory() as home:
        own = {
            "SERVER__PORT": str(port),
            "SERVER__API_KEY": KEY,
            "S3__BUCKET": "pets",
            "S3__ENDPOINT_URL": f"http://127.0.0.1:{CLOSED_PORT}",
            "S3__REGION": "us-east-1",
            "S3__CONCURRENCY": "1",
            "MODEL__ID": "embedded",
            "STATE__DIR": f"{home}/state",
            "LOG__LEVEL": "error",
        }
        environment = os.environ | {f"PAWTAG_{name}": value for name, value in own.items()}
        environment |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
        process = subprocess.Popen(
            [python, "-m", "pawtag", "run"], cwd=home, env=environment, stderr=subprocess.DEVNULL
        )
        try:
            return asyncio.run(post_for_a_while(f"http://127.0.0.1:{port}"))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


async def post_for_a_while(address: str) -> float:
    """Posts a second, over all callers."""
    headers, numbers = {"Authorization": f"Bearer {KEY}"}, itertools.count()
    async with aiohttp.ClientSession(address, headers=headers) as session:
        await wait_until_ready(session)
        started_s = time.monotonic()
        callers = [post(session, numbers, started_s + DURATION_S) for _ in range(CALLERS)]
        done = sum(await asyncio.gather(*callers))
        return done / (time.monotonic() - started_s)


async def wait_until_ready(session: aiohttp.ClientSession) -> None:
    """Until a post is taken."""
    async with asyncio.timeout(START_TIMEOUT_S):
        while True:
            try:
                async with session.post(PATH, data=build_event("first.png")) as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)


async def post(session: aiohttp.ClientSession, numbers: "itertools.count[int]", until_s: float) -> int:
    """How many posts one caller makes until then."""
    done = 0
    while time.monotonic() < until_s:
        async with session.post(PATH, data=build_event(f"{next(numbers)}.png")) as response:
            response.raise_for_status()
            await response.read()
        done += 1
    return done


def build_event(key: str) -> bytes:
    """A notification as S3 sends it."""
    found = {"bucket": {"name": "pets"}, "object": {"key": key, "size": 1, "eTag": "e"}}
    return json.dumps({"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": found}]}).encode()


if __name__ == "__main__":
    main()
