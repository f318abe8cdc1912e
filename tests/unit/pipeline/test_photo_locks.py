"""Locks for photos: two sources do not work on one at the same time."""

import asyncio

from pawtag.pipeline.photo_locks import PhotoLocks


async def test_one_photo_is_held_by_one_at_a_time():
    """Another photo is not held up, and nothing is left behind."""
    locks, order = PhotoLocks(), []

    async def work(name: str, uri: str) -> None:
        async with locks.hold(uri):
            order.append(f"{name} begins")
            await asyncio.sleep(0.02)
            order.append(f"{name} ends")

    await asyncio.gather(work("first", "a"), work("second", "a"), work("other", "b"))
    assert order.index("first ends") < order.index("second begins")
    assert order.index("other begins") < order.index("first ends")
    assert not locks._locks
    assert not locks._users
