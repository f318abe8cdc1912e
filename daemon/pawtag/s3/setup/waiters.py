"""Waiting for AWS to have heard of what was made, changed or deleted a moment ago."""

import time
from collections.abc import Callable
from typing import TypeVar

from botocore.exceptions import ClientError

from pawtag.domain.errors import PawtagError
from pawtag.s3.client import NO_PLACE, code_of

Result = TypeVar("Result")

# SQS asks for a second after a queue is made, and for a minute after one is deleted, or its policy changed.
PAUSE_S, TRIES = 5.0, 15
DELETED_RECENTLY = frozenset({"QueueDeletedRecently", "AWS.SimpleQueueService.QueueDeletedRecently"})
NOT_YET_ALLOWED = "validate the following destination"


def patiently(call: Callable[[], Result], say: Callable[[str], None]) -> Result:
    """What the call returns; where the refusal may pass, it is made again for a little over a minute.

    `say` hears, once, that somebody waits. Raises what the call raises.
    """
    for attempt in range(TRIES):
        try:
            return call()
        except PawtagError as error:
            if not _may_settle(error) or attempt + 1 == TRIES:
                raise
            if attempt == 0:
                say(f"waiting up to {TRIES * PAUSE_S:.0f} s for the change to be known everywhere")
        time.sleep(PAUSE_S)
    raise AssertionError  # the last try returns or raises


def _may_settle(error: PawtagError) -> bool:
    cause = error.__cause__
    if not isinstance(cause, ClientError) or cause.operation_name.startswith("Delete"):
        return False
    return code_of(cause) in DELETED_RECENTLY | NO_PLACE or NOT_YET_ALLOWED in str(cause)
