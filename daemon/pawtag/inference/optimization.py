"""Optimisation of a model for one machine: int8, taken only if the tags of the user's own photos stay the same."""

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pawtag.domain.errors import ConfigError, ModelError
from pawtag.domain.labels import Thresholds
from pawtag.domain.pictures import Floats, Pixels
from pawtag.domain.ports import Engine
from pawtag.inference.engines import openvino
from pawtag.inference.facts import ModelFacts
from pawtag.inference.model_cache import TOWER, CompiledTower, ModelCache
from pawtag.inference.preparation import INT8, PreparationRequest, build_compiled_key
from pawtag.inference.scoring import Vocabulary, score_labels

FLOAT = "float32"
CALIBRATION_PHOTOS = 300
MIN_CALIBRATION_PHOTOS, MIN_HELD_OUT = 100, 600
# One photo in 200 may get other tags. The difference between the models that people choose from is larger.
MIN_AGREEMENT = 0.995


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many held-out photos got the same tags, of how many, and the duration of one input in milliseconds."""

    same: int
    photos: int
    before_ms: float
    after_ms: float

    @property
    def is_accepted(self) -> bool:
        """Whether the quantised model may serve."""
        return self.same >= MIN_AGREEMENT * self.photos


class Optimization:
    """Quantises the model of a request, compares, and keeps what passes in the cache."""

    def __init__(
        self, request: PreparationRequest, facts: ModelFacts, vocabulary: Vocabulary, thresholds: Thresholds
    ) -> None:
        """Nothing is computed yet."""
        self._request, self._facts = request, facts
        self._vocabulary, self._thresholds = vocabulary, thresholds
        self._cache = ModelCache(request.cache)

    def run(self, pixels: Sequence[Pixels], measure_ms: Callable[[Engine, Pixels], float]) -> Outcome:
        """Quantise on a part of the photos, and compare the tags of the others.

        Raises ConfigError for too few photos, ModelError where the quantised model does not compile.
        """
        calibration, held_out = split(pixels)
        tower = self._cache.find_converted(self._facts, openvino.VERSION)
        if tower is None:
            raise ModelError("The converted model is not in the cache; start pawtag with this model first.")
        with tempfile.TemporaryDirectory() as work:
            path = Path(work, TOWER)
            openvino.quantise(tower / TOWER, calibration, path)
            blobs = {
                name: openvino.compile_tower(where, name, self._request.threads)
                for name, where in ((FLOAT, tower / TOWER), (INT8, path))
            }
            engines = {name: self._open(Path(work, name), name, blob) for name, blob in blobs.items()}
        before, after = (self._tag(engines[name], held_out) for name in (FLOAT, INT8))
        same = sum(first == second for first, second in zip(before, after, strict=True))
        outcome = Outcome(same, len(held_out), *(measure_ms(engines[name], held_out[0]) for name in (FLOAT, INT8)))
        if outcome.is_accepted:
            self._keep(blobs[INT8])
        return outcome

    def _open(self, path: Path, precision: str, content: bytes) -> openvino.OpenVINOEngine:
        path.write_bytes(content)
        return openvino.OpenVINOEngine(self._facts, path, precision, self._request.threads)

    def _tag(self, engine: Engine, photos: Sequence[Pixels]) -> list[list[str]]:
        return [self._list_tags(engine, engine.embed([pixels])[0]) for pixels in photos]

    def _list_tags(self, engine: Engine, embedding: Floats) -> list[str]:
        return [tag.label for tag in score_labels(embedding, self._vocabulary, engine, self._thresholds).tags]

    def _keep(self, content: bytes) -> None:
        key = build_compiled_key(self._request, self._facts, INT8)
        self._cache.write_compiled(key, content)
        self._cache.write_compiled_facts(key, CompiledTower(INT8, hashlib.sha256(content).hexdigest()))


def split(photos: Sequence[Pixels]) -> tuple[list[Pixels], list[Pixels]]:
    """The calibration photos, evenly spread, and the held-out photos. Raises ConfigError if there are too few."""
    count = min(CALIBRATION_PHOTOS, len(photos) - MIN_HELD_OUT)
    if count < MIN_CALIBRATION_PHOTOS:
        needed = MIN_CALIBRATION_PHOTOS + MIN_HELD_OUT
        raise ConfigError(f"'pawtag model optimize' needs {needed} readable photos; there are {len(photos)}.")
    chosen = set(np.linspace(0, len(photos) - 1, count).astype(int).tolist())
    calibration = [pixels for number, pixels in enumerate(photos) if number in chosen]
    return calibration, [pixels for number, pixels in enumerate(photos) if number not in chosen]
