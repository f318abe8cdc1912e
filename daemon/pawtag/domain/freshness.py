"""Is what is written for a photo still right? Pure: the one place where that is decided."""

from dataclasses import dataclass

from pawtag.domain.records import PhotoRef, Stamp, TaggerIdentity


@dataclass(frozen=True, slots=True)
class FreshnessPolicy:
    """Decides for one daemon: what it would write, and since when it runs (as records tell the time)."""

    identity: TaggerIdentity
    started_at: str
    trusts_mtime: bool = True
    """Whether the same size and time mean the same content; not where digests are compared."""

    def is_current(self, stamp: Stamp | None, ref: PhotoRef) -> bool:
        """Whether the photo, as it is, needs nothing."""
        if stamp is None or not self.trusts_mtime:
            return False
        return stamp.describes(ref) and self.speaks_for_us(stamp) and not stamp.is_unreadable

    def speaks_for_us(self, stamp: Stamp) -> bool:
        """Whether a record of the same content would not be replaced by ours."""
        return stamp.by == self.identity.by or self.is_from_wanted_model(stamp) or self.written_by_peer(stamp)

    def is_from_wanted_model(self, stamp: Stamp) -> bool:
        """To a daemon on its fallback, a record of the wanted model with the same labels is current."""
        wanted = self.identity.model.wanted
        if wanted is not None and not stamp.model_id:
            return True  # tags on an object do not name their model: it may be the wanted one
        return (
            wanted is not None
            and stamp.model_id == wanted
            and not stamp.fallback
            and stamp.labels == self.identity.labels
        )

    def written_by_peer(self, stamp: Stamp) -> bool:
        """Another daemon wrote this since our start: left alone, or the two would tag to and fro.

        But not a fallback's record, where we have the wanted model: the fallback leaves ours alone.
        """
        is_lesser = stamp.fallback and not self.identity.model.fallback
        return stamp.by != self.identity.by and stamp.tagged_at > self.started_at and not is_lesser
