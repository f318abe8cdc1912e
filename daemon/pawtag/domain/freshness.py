"""Decides whether the record of a photo is still valid. No other module decides this. Pure."""

from dataclasses import dataclass
from enum import Enum

from pawtag.domain.corrections import follows_corrections
from pawtag.domain.labels import Labels
from pawtag.domain.records import Corrections, PhotoRef, Stamp, TaggerIdentity


class Verdict(Enum):
    """What is decided of a photo."""

    NEEDED = "it needs a record"
    CURRENT = "its record is current"
    INCOMPLETE = "its record is current, and an output could not be written"
    FAILED = "its record is current, and says why it cannot be tagged"
    FOREIGN = "another daemon's record is left unchanged, as long as this one runs"


@dataclass(frozen=True, slots=True)
class FreshnessPolicy:
    """Decides for one model of one process. `identity`: the one that it writes into records; `labels`: its labels.

    `started_at`: when the process started, in the format of records.
    """

    identity: TaggerIdentity
    labels: Labels
    started_at: str
    own_fingerprints: frozenset[str] = frozenset()
    """All fingerprints that this process has written into records."""
    trusts_mtime: bool = True
    """Whether the same size and mtime mean the same content. False where digests are compared."""

    def is_current(self, stamp: Stamp | None, ref: PhotoRef, corrections: Corrections | None = None) -> bool:
        """Whether the photo, as it is, needs no new record. `corrections`: those that hold for it."""
        if stamp is None or not self.trusts_mtime:
            return False
        is_fresh = stamp.describes(ref) and not self.supersedes(stamp) and not self.may_succeed(stamp)
        return is_fresh and self.follows(stamp, corrections)

    def may_succeed(self, stamp: Stamp) -> bool:
        """Whether a new try may succeed: the file was unreadable, or a process before this one got a bad score."""
        is_bad_score = stamp.failure is not None and stamp.failure.code == "bad-score"
        return stamp.is_unreadable or (is_bad_score and (stamp.tagged_at or self.started_at) < self.started_at)

    def follows(self, stamp: Stamp, corrections: Corrections | None) -> bool:
        """Whether the tags follow the corrections. Object tags always do: a person corrects the tags themselves."""
        return stamp.record is None or follows_corrections(stamp.record, corrections, self.labels)

    def judge(self, stamp: Stamp | None, ref: PhotoRef, corrections: Corrections | None = None) -> Verdict:
        """What the photo, as it is, needs."""
        if stamp is None or not self.is_current(stamp, ref, corrections):
            return Verdict.NEEDED
        if not (self._is_ours(stamp) or self.is_from_wanted_model(stamp)):
            return Verdict.FOREIGN
        return Verdict.FAILED if stamp.failure else Verdict.CURRENT

    def supersedes(self, stamp: Stamp) -> bool:
        """Whether a record of this process would replace this one, although the content is the same."""
        return not (self._is_ours(stamp) or self.is_from_wanted_model(stamp) or self.written_by_peer(stamp))

    def is_from_wanted_model(self, stamp: Stamp) -> bool:
        """Whether this daemon runs its fallback, and the wanted model wrote the record with the same labels."""
        wanted = self.identity.model.wanted
        if wanted is None:
            return False
        if stamp.model_id is None:
            return stamp.fingerprint not in self.own_fingerprints  # tags on an object name no model
        return stamp.model_id == wanted and not stamp.fallback and stamp.labels == self.identity.labels

    def written_by_peer(self, stamp: Stamp) -> bool:
        """Whether another daemon wrote the record after our start. To replace it would make both write for ever.

        A fallback's record does not count where this daemon has the wanted model.
        """
        is_from_fallback = stamp.fallback and not self.identity.model.fallback
        is_foreign = not self._is_ours(stamp) and stamp.fingerprint not in self.own_fingerprints
        return is_foreign and not is_from_fallback and (stamp.tagged_at or "") > self.started_at

    def _is_ours(self, stamp: Stamp) -> bool:
        return stamp.fingerprint == self.identity.fingerprint
