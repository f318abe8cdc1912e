"""Callers that post photos to a service, and what they see."""

import asyncio
import time
from dataclasses import dataclass

import aiohttp
import numpy as np

from benchmark.processes import build_form


@dataclass(frozen=True, slots=True)
class Latencies:
    """Requests a second, and the latencies of single requests in milliseconds."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float


def measure_requests(url: str, photo: bytes, *, callers: int, requests: int, pause_s: float = 0.0) -> Latencies:
    """Let `callers` post the photo, `requests` times in all; each waits for its answer, and then `pause_s`."""
    return asyncio.run(_measure(url, photo, callers, requests, pause_s))


async def _measure(url: str, photo: bytes, callers: int, requests: int, pause_s: float) -> Latencies:
    body, headers = build_form(photo)
    left, taken_s = iter(range(callers)), []  # to warm up

    async def call() -> None:
        for _ in left:
            started_s = time.perf_counter()
            while True:
                async with session.post(url, data=body, headers=headers) as answer:
                    await answer.read()
                    if answer.status == 200:
                        break
                    await asyncio.sleep(0.05)  # 503: more callers than may wait
            taken_s.append(time.perf_counter() - started_s)
            await asyncio.sleep(pause_s)

    timeout = aiohttp.ClientTimeout(total=300)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        await asyncio.gather(*(call() for _ in range(callers)))
        left, taken_s = iter(range(requests)), []
        started_s = time.perf_counter()
        await asyncio.gather(*(call() for _ in range(callers)))
        total_s = time.perf_counter() - started_s
    return Latencies(requests / total_s, *(float(np.percentile(taken_s, each)) * 1000 for each in (50, 99)))
