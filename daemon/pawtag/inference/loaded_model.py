"""A model that is loaded, with all that decides its tags."""

from dataclasses import dataclass

from pawtag.domain.labels import Thresholds
from pawtag.domain.ports import Engine
from pawtag.domain.records import TaggerIdentity
from pawtag.inference.checkpoint import Checkpoint
from pawtag.inference.scoring import Vocabulary


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """An engine with its checkpoint, vocabulary, thresholds and identity. `calibrated`: the thresholds were measured."""

    engine: Engine
    vocabulary: Vocabulary
    thresholds: Thresholds
    identity: TaggerIdentity
    checkpoint: Checkpoint
    calibrated: bool
