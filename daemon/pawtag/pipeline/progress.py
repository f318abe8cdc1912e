"""A backlog's line in the log: how many, how fast, how long."""

import asyncio
import logging
import time
from collections.abc import Callable

from pawtag.pipeline.worker import Counts

log = logging.getLogger(__name__)

FIRST_S, EVERY_S = 5.0, 60.0
WORTH_A_LINE = 100


async def report_backlog(pending: Callable[[], int], counts: Counts) -> None:
    """While many photos wait, say so after a few seconds, and then once a minute."""
    pause_s = FIRST_S
    done_before, at_s = counts.written, time.monotonic()
    while True:
        await asyncio.sleep(pause_s)
        done, now_s = counts.written, time.monotonic()
        rate = (done - done_before) / (now_s - at_s)
        done_before, at_s = done, now_s
        if pending() >= WORTH_A_LINE and rate > 0:
            log.info("%s", line(done, pending(), rate))
            pause_s = EVERY_S
        else:
            pause_s = FIRST_S


def line(done: int, waiting: int, rate: float) -> str:
    """`2000 of 10000 photos, 25.0 a second, about 5 min left`."""
    left_s = waiting / rate
    left = f"{left_s / 60:.0f} min" if left_s >= 120 else f"{left_s:.0f} s"  # noqa: PLR2004 - two minutes
    return f"{done} of {done + waiting} photos, {rate:.1f} a second, about {left} left"
