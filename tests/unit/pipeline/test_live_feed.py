"""The live feed: what happens now, for readers who may be slow."""

import asyncio

from pawtag.domain.outcomes import PhotoSkipped
from pawtag.pipeline.live_feed import LiveFeed, Missed


async def test_each_reader_hears_what_happens_while_it_reads():
    """And nothing from before."""
    feed = LiveFeed()
    feed(PhotoSkipped("before"))
    with feed.read() as first, feed.read() as second:
        feed(PhotoSkipped("now"))
        assert [(await anext(each)).reason for each in (first, second)] == ["now", "now"]


async def test_a_reader_that_falls_behind_is_told_to_begin_anew():
    """The queue is bounded, and the pipeline never waits for a reader."""
    feed = LiveFeed(max_queued=5)
    with feed.read() as reading:
        for number in range(12):
            feed(PhotoSkipped(str(number)))
        found = [await anext(reading) for _ in range(2)]
        assert isinstance(found[0], Missed)
        assert isinstance(found[1], PhotoSkipped)
        async with asyncio.timeout(5):
            while (each := await anext(reading)).reason != "11":
                pass
        assert each.reason == "11"


async def test_the_end_of_the_feed_ends_its_readers():
    """Those of now, and those to come."""
    feed = LiveFeed()
    with feed.read() as reading:
        feed("last")
        feed.close()
        assert [item async for item in reading] == ["last"]
    with feed.read() as late:
        assert [item async for item in late] == []
