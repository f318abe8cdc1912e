"""budget: bytes in memory are bounded, and nobody waits for ever."""

import asyncio

from pawtag.pipeline.memory_limiter import MemoryLimiter


async def test_work_waits_for_room():
    """Three of 40 in room for 100: two at once, the third when one has ended."""
    budget, running, most = MemoryLimiter(100), 0, 0

    async def work():
        nonlocal running, most
        async with budget.acquire(40):
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.01)
            running -= 1

    await asyncio.wait_for(asyncio.gather(*(work() for _ in range(7))), 5)
    assert most == 2


async def test_what_is_larger_than_all_the_room_begins_alone():
    """It neither waits for ever nor shares."""
    budget = MemoryLimiter(100)
    async with asyncio.timeout(5), budget.acquire(500):
        waiting = asyncio.create_task(budget.acquire(1).__aenter__())
        await asyncio.sleep(0.01)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_a_failure_gives_its_room_back():
    """An exception inside frees what was held."""
    budget = MemoryLimiter(10)
    for _ in range(3):
        try:
            async with asyncio.timeout(5), budget.acquire(10):
                raise ValueError
        except ValueError:
            continue
