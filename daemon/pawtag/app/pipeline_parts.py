"""What all sources share: the tagger, the observers, the state, the outputs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pawtag.config import LimitSettings
from pawtag.domain.ports import Output, PhotoSource
from pawtag.images import ImageLimits
from pawtag.images.decode_trial import survives_decoding
from pawtag.inference.tagger import Tagger
from pawtag.pipeline.announcer import Announcer
from pawtag.pipeline.observers import Observers
from pawtag.pipeline.photo_locks import PhotoLocks
from pawtag.pipeline.reconciler import Reconciler
from pawtag.pipeline.suspects import Suspects
from pawtag.pipeline.worker import Worker
from pawtag.state.database import StateDatabase
from pawtag.state.in_flight import InFlightPhotos
from pawtag.state.owed import OwedPhotos


def build_suspects(uris: Iterable[str], settings: LimitSettings, tagger: Tagger) -> Suspects:
    """The photos that a process was working on when it ended. Each is first decoded in a separate process."""
    limits = ImageLimits(settings.max_file_bytes, settings.max_pixels)
    side = tagger.model.engine.spec.shorter_side
    return Suspects(uris, lambda data: survives_decoding(data, limits, side, settings.memory_bytes))


@dataclass(frozen=True, slots=True)
class PipelineParts:
    """Shared by the workers of all sources."""

    tagger: Tagger
    database: StateDatabase
    observers: Observers = field(default_factory=Observers)
    outputs: Mapping[str, Output] = field(default_factory=dict)
    locks: PhotoLocks = field(default_factory=PhotoLocks)
    suspects: Suspects = field(default_factory=Suspects)
    announcer: Announcer | None = None

    def build_reconciler(self, *, trusts_mtime: bool = True) -> Reconciler:
        """The reconciler of one source."""
        return Reconciler(self.tagger, self.outputs, self.suspects, trusts_mtime, self.announcer)

    def build_worker(
        self,
        source: PhotoSource,
        *,
        concurrency: int,
        reconciler: Reconciler | None = None,
        owed: OwedPhotos | None = None,
    ) -> Worker:
        """The worker of one source. `owed`: see Worker."""
        return Worker(
            source,
            reconciler or self.build_reconciler(),
            concurrency=concurrency,
            observers=self.observers,
            in_flight=InFlightPhotos(self.database),
            owed=owed,
            locks=self.locks,
        )
