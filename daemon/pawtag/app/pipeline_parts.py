"""What all sources share: the tagger, the observers, the state, the outputs."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pawtag.domain.ports import Output, PhotoSource
from pawtag.inference.tagger import Tagger
from pawtag.pipeline.observers import Observers
from pawtag.pipeline.photo_locks import PhotoLocks
from pawtag.pipeline.reconciler import Reconciler
from pawtag.pipeline.worker import Worker
from pawtag.state.database import StateDatabase
from pawtag.state.in_flight import InFlightPhotos
from pawtag.state.owed import OwedPhotos


@dataclass(frozen=True, slots=True)
class PipelineParts:
    """Shared by the workers of all sources."""

    tagger: Tagger
    database: StateDatabase
    observers: Observers = field(default_factory=Observers)
    outputs: Mapping[str, Output] = field(default_factory=dict)
    locks: PhotoLocks = field(default_factory=PhotoLocks)

    def build_worker(self, source: PhotoSource, *, concurrency: int, trusts_mtime: bool = True) -> Worker:
        """The worker of one source."""
        return Worker(
            source,
            Reconciler(self.tagger, self.outputs, trusts_mtime),
            concurrency=concurrency,
            observers=self.observers,
            in_flight=InFlightPhotos(self.database),
            owed=OwedPhotos(self.database),
            locks=self.locks,
        )
