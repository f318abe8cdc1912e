"""The physical limit of a machine: what the vision tower and the drafted decode cost alone.

python scripts/benchmark/limits.py CHECKPOINT CACHE PHOTOS...      prints JSON: core-milliseconds per photo
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pawtag.config import Settings
from pawtag.config.labels_file import load_labels
from pawtag.images import ImageLimits, decode, preprocess
from pawtag.inference.checkpoint import find_checkpoint
from pawtag.inference.engine_loader import ignore_step, load_engine

REPEATS, BATCHES = 9, (1, 2, 4, 8)
LIMITS = ImageLimits(10**9, 10**9)


def main() -> None:
    """Measure both, and the tower in the batch that suits it best."""
    settings = Settings(model={"id": sys.argv[1], "cache_dir": Path(sys.argv[2])})
    checkpoint = find_checkpoint(settings.model)
    if checkpoint is None:
        raise SystemExit(f"no model in {sys.argv[1]}")
    engine, _ = load_engine(settings, load_labels(None), checkpoint, ignore_step)
    photos = [Path(name).read_bytes() for name in sys.argv[3:]]
    pixels = [preprocess(decode(data, LIMITS, engine.spec.shorter_side), engine.spec) for data in photos]
    towers = {count: measure_ms(lambda count=count: engine.embed(pixels[:1] * count)) / count for count in BATCHES}
    decodes = [measure_ms(lambda data=data: decode(data, LIMITS, engine.spec.shorter_side)) for data in photos]
    cores = settings.limits.threads
    print(
        json.dumps(
            {
                "engine": engine.description,
                "tower_ms": {count: round(value, 2) for count, value in towers.items()},
                "tower_core_ms": min(towers.values()) * cores,
                "decode_core_ms": decodes,
                "cores": cores,
            }
        )
    )


def measure_ms(call: Callable[[], object]) -> float:
    """The median duration, after two calls to warm up."""
    taken_s = []
    for _ in range(REPEATS + 2):
        started_s = time.perf_counter()
        call()
        taken_s.append(time.perf_counter() - started_s)
    return statistics.median(taken_s[2:]) * 1000


if __name__ == "__main__":
    main()
