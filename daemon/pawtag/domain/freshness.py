"""Does the record that is written for a photo still hold? The one place where that is decided. Pure."""

from dataclasses import dataclass
from enum import Enum

from pawtag.domain.records import PhotoRef, Stamp, TaggerIdentity


class Verdict(Enum):
    """What is decided of a photo."""

    NEEDED = "it needs a record"
    CURRENT = "its record is current"
    FOREIGN = "another daemon's record is left unchanged, as long as this one runs"


@dataclass(frozen=True, slots=True)
class FreshnessPolicy:
    """Decides for one daemon. `identity`: what it writes; `started_at`: since when it runs, as records write the time."""

    identity: TaggerIdentity
    started_at: str
    trusts_mtime: bool = True
    """Whether the same size and mtime mean the same content. False where digests are compared."""

    def is_current(self, stamp: Stamp | None, ref: PhotoRef) -> bool:
        """Whether the photo, as it is, needs no new record."""
        if stamp is None or not self.trusts_mtime:
            return False
        return stamp.describes(ref) and not self.supersedes(stamp) and not stamp.is_unreadable

    def judge(self, stamp: Stamp | None, ref: PhotoRef) -> Verdict:
        """What the photo, as it is, needs."""
        if stamp is None or not self.is_current(stamp, ref):
            return Verdict.NEEDED
        is_ours = stamp.fingerprint == self.identity.fingerprint or self.is_from_wanted_model(stamp)
        return Verdict.CURRENT if is_ours else Verdict.FOREIGN

    def supersedes(self, stamp: Stamp) -> bool:
        """Whether this daemon's record replaces one of the same content."""
        is_ours = stamp.fingerprint == self.identity.fingerprint
        return not (is_ours or self.is_from_wanted_model(stamp) or self.written_by_peer(stamp))

    def is_from_wanted_model(self, stamp: Stamp) -> bool:
        """Whether this daemon runs its fallback, and the wanted model wrote the record with the same labels."""
        wanted = self.identity.model.wanted
        if wanted is not None and not stamp.model_id:
            return True  # tags on an object do not name their model: it may be the wanted one
        is_wanted = stamp.model_id == wanted and not stamp.fallback
        return wanted is not None and is_wanted and stamp.labels == self.identity.labels

    def written_by_peer(self, stamp: Stamp) -> bool:
        """Whether another daemon wrote the record since our start: to replace it would never end.

        A fallback's record does not count where this daemon has the wanted model.
        """
        is_from_fallback = stamp.fallback and not self.identity.model.fallback
        is_foreign = stamp.fingerprint != self.identity.fingerprint
        return is_foreign and stamp.tagged_at > self.started_at and not is_from_fallback
