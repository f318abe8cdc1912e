"""Waiting for AWS to have heard of what was made, changed or deleted a moment ago."""

import time
from collections.abc import Callable
from typing import TypeVar

from botocore.exceptions import ClientError

from pawtag.domain.errors import PawtagError
from pawtag.s3.client import RESOURCE_NOT_FOUND, error_code

Result = TypeVar("Result")

# SQS asks for a second after a queue is made, and for a minute after one is deleted, or its policy changed.
RETRY_INTERVAL_S, MAX_ATTEMPTS = 5.0, 15
DELETED_RECENTLY = frozenset({"QueueDeletedRecently", "AWS.SimpleQueueService.QueueDeletedRecently"})
NOT_YET_ALLOWED = "validate the following destination"


def wait_until_settled(call: Callable[[], Result], report: Callable[[str], None]) -> Result:
    """What the call returns; where the refusal may pass, it is made again for a little over a minute.

    `say` hears, once, that somebody waits. Raises what the call raises.
    """
    for attempt in range(MAX_ATTEMPTS):
        try:
            return call()
        except PawtagError as error:
            if not _may_settle(error) or attempt + 1 == MAX_ATTEMPTS:
                raise
            if attempt == 0:
                report(f"waiting up to {MAX_ATTEMPTS * RETRY_INTERVAL_S:.0f} s for the change to be known everywhere")
        time.sleep(RETRY_INTERVAL_S)
    raise AssertionError  # the last try returns or raises


def _may_settle(error: PawtagError) -> bool:
    cause = error.__cause__
    if not isinstance(cause, ClientError) or cause.operation_name.startswith("Delete"):
        return False
    return error_code(cause) in DELETED_RECENTLY | RESOURCE_NOT_FOUND or NOT_YET_ALLOWED in str(cause)
