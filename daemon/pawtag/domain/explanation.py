"""Why a photo is tagged, or is not: the freshness policy's decision in words. Pure."""

from dataclasses import dataclass
from typing import Literal

from pawtag.domain.freshness import FreshnessPolicy
from pawtag.domain.records import Corrections, PhotoRef, Stamp, TaggerIdentity, Written

PhotoState = Literal["current", "failed", "new", "stale", "settling", "skipped", "unknown"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What pawtag does with one path or URI, and why.

    `current`, `failed`: pawtag does nothing. `new`, `stale`: it tags the photo. `settling`: it tags the photo once the
    file is finished. `skipped`: it does not tag this path, or the object is archived. `unknown`: nothing can be read.
    """

    uri: str
    state: PhotoState
    reason: str
    since: str | None = None
    code: str | None = None


NO_RECORD = "It has no record."


def explain_record(
    policy: FreshnessPolicy, seen: Written, ref: PhotoRef, corrections: Corrections | None
) -> Explanation:
    """What happens to a photo for which `seen` is written."""
    stamp = seen.stamp
    none = f"Its record is not JSON ({seen.problem}); pawtag keeps it beside a new one." if seen.problem else NO_RECORD
    reason = none if stamp is None else _find_staleness(policy, stamp, ref, corrections)
    if reason and seen.skip_reason:
        return Explanation(ref.uri, "skipped", f"It is {seen.skip_reason}, and cannot be read now. {reason}")
    if stamp is None:
        return Explanation(ref.uri, "new", str(reason))
    if reason:
        return Explanation(ref.uri, "stale", reason, stamp.tagged_at, stamp.failure.code if stamp.failure else None)
    if stamp.failure:
        message = stamp.failure.message or "Its tags say that it failed."
        return Explanation(ref.uri, "failed", message, stamp.tagged_at, stamp.failure.code)
    return Explanation(ref.uri, "current", f"Its record is current.{_describe_outputs(seen)}", stamp.tagged_at)


def _describe_outputs(seen: Written) -> str:
    """What outputs could not write."""
    return "".join(f" The {name} sidecar is left unchanged: {why}." for name, why in seen.output_problems.items())


def _find_staleness(
    policy: FreshnessPolicy, stamp: Stamp, ref: PhotoRef, corrections: Corrections | None
) -> str | None:
    """Why the record is stale; None if it is not."""
    if not stamp.describes(ref):
        return "It has changed since its record was written."
    if policy.supersedes(stamp):
        return _describe_difference(stamp, policy.identity)
    if policy.may_succeed(stamp):
        return "It could not be tagged before, and is tried again."
    if not policy.follows(stamp, corrections):
        return "Its tags do not follow the correction."
    return None


def _describe_difference(stamp: Stamp, identity: TaggerIdentity) -> str:
    """What differs between the tagger that wrote the record and the one that asks."""
    model = identity.model
    if stamp.labels is None:
        return "Another model, other labels or other thresholds made its tags."
    if stamp.fallback and not model.fallback:
        return f"The fallback tagged it; {model.id} is on this machine now."
    if stamp.model_id != model.id:
        return f"Another model tagged it: {stamp.model_id}."
    if stamp.labels != identity.labels:
        return "The labels have changed since."
    return "The model's files, thresholds or preprocessing have changed since."
