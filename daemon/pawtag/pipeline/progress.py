"""The progress of a backlog in the log: how many, how fast, how long."""

import asyncio
import logging
import time
from collections.abc import Callable

from pawtag.pipeline.observers import Counts

log = logging.getLogger(__name__)

FIRST_REPORT_S, REPORT_INTERVAL_S = 5.0, 60.0
MIN_PENDING = 100


async def report_backlog(pending: Callable[[], int], counts: Counts) -> None:
    """While many photos are pending, log the progress after a few seconds and then once a minute."""
    pause_s = FIRST_REPORT_S
    done_before, at_s = counts.total, time.monotonic()
    while True:
        await asyncio.sleep(pause_s)
        done, now_s = counts.total, time.monotonic()
        rate = (done - done_before) / (now_s - at_s)
        done_before, at_s = done, now_s
        if pending() >= MIN_PENDING and rate > 0:
            log.info("%s", format_progress(done, pending(), rate))
            pause_s = REPORT_INTERVAL_S
        else:
            pause_s = FIRST_REPORT_S


def format_progress(done: int, pending: int, rate: float) -> str:
    """`2000 of 10000 photos, 25.0 a second, about 5 min left`."""
    left_s = pending / rate
    left = f"{left_s / 60:.0f} min" if left_s >= 120 else f"{left_s:.0f} s"  # noqa: PLR2004 - two minutes
    return f"{done} of {done + pending} photos, {rate:.1f} a second, about {left} left"
