"""What happened to a photo: told to metrics, log, progress and readers. Frozen values."""

from dataclasses import dataclass

from pawtag.domain.records import Failure, PhotoRef, TagRecord


@dataclass(frozen=True, slots=True)
class PhotoTagged:
    """The photo has its record: tagged, unsure or without a pet."""

    ref: PhotoRef
    record: TagRecord
    duration_s: float


@dataclass(frozen=True, slots=True)
class PhotoFailed:
    """The photo cannot be tagged, and its record says why."""

    ref: PhotoRef
    record: TagRecord
    duration_s: float


@dataclass(frozen=True, slots=True)
class PhotoSkipped:
    """Photos or files that get no new record. A scan reports only their `count`, without `ref`.

    `failure`: the failure in the photo's current record, if there is one; `since`: when it failed.
    """

    reason: str
    count: int = 1
    ref: PhotoRef | None = None
    failure: Failure | None = None
    since: str | None = None
    record: TagRecord | None = None
    """The photo's record, where it is known."""


@dataclass(frozen=True, slots=True)
class PhotoRetrying:
    """The photo is tried again after `delay_s`. `is_fault` is false if the photo is only not finished yet."""

    ref: PhotoRef
    reason: str
    delay_s: float
    is_fault: bool = True


Outcome = PhotoTagged | PhotoFailed | PhotoSkipped | PhotoRetrying
