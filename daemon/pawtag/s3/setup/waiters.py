"""Waiters: a change in AWS needs time until it is visible everywhere."""

import time
from collections.abc import Callable
from typing import TypeVar

from botocore.exceptions import ClientError

from pawtag.domain.errors import PawtagError
from pawtag.s3.client_errors import RESOURCE_NOT_FOUND, read_error_code

Result = TypeVar("Result")

# SQS needs a second after a queue is created, and a minute after one is deleted or its policy is changed.
MAX_CALL_ATTEMPTS = 15
DELETED_RECENTLY = frozenset({"QueueDeletedRecently", "AWS.SimpleQueueService.QueueDeletedRecently"})
NOT_YET_ALLOWED = "validate the following destination"


def wait_until_settled(call: Callable[[], Result], report: Callable[[str], None], interval_s: float) -> Result:
    """What the call returns. A refusal that may pass is retried every `interval_s`, up to 14 times.

    Calls `report` once, with the longest wait. Raises what the call raises.
    """
    for attempt in range(MAX_CALL_ATTEMPTS):
        try:
            return call()
        except PawtagError as error:
            if not _may_pass(error) or attempt + 1 == MAX_CALL_ATTEMPTS:
                raise
            if attempt == 0:
                report(
                    f"it takes up to {MAX_CALL_ATTEMPTS * interval_s:.0f} s until the change is visible everywhere in AWS"
                )
        time.sleep(interval_s)
    raise AssertionError  # the last attempt returns or raises


def _may_pass(error: PawtagError) -> bool:
    cause = error.__cause__
    if not isinstance(cause, ClientError) or cause.operation_name.startswith("Delete"):
        return False
    return read_error_code(cause) in DELETED_RECENTLY | RESOURCE_NOT_FOUND or NOT_YET_ALLOWED in str(cause)
