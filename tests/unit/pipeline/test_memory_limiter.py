"""The memory limiter: bytes in memory are bounded, and no photo waits for ever."""

import asyncio

from pawtag.pipeline.memory_limiter import MemoryLimiter


async def test_a_photo_waits_for_memory():
    """Three of 40 in room for 100: two at once, the third when one has ended."""
    limiter, running, most = MemoryLimiter(100), 0, 0

    async def work():
        nonlocal running, most
        async with limiter.acquire(40):
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.01)
            running -= 1

    await asyncio.wait_for(asyncio.gather(*(work() for _ in range(7))), 5)
    assert most == 2


async def test_a_photo_larger_than_the_limit_runs_alone():
    """It does not wait for ever, and no other runs with it."""
    limiter = MemoryLimiter(100)
    async with asyncio.timeout(5), limiter.acquire(500):
        pending = asyncio.create_task(limiter.acquire(1).__aenter__())
        await asyncio.sleep(0.01)
        assert not pending.done()
        pending.cancel()
        await asyncio.gather(pending, return_exceptions=True)


async def test_a_failure_releases_its_memory():
    """An exception inside frees what was held."""
    limiter = MemoryLimiter(10)
    for _ in range(3):
        try:
            async with asyncio.timeout(5), limiter.acquire(10):
                raise ValueError
        except ValueError:
            continue
