"""pawtag model optimize: quantises the model on the user's photos, and keeps it if their tags stay the same."""

import statistics
import time
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from pawtag.config import Settings
from pawtag.config.labels_file import load_labels
from pawtag.domain.errors import ConfigError, GoneError, ModelError, PermanentError, TemporaryError
from pawtag.domain.pictures import Pixels
from pawtag.domain.ports import Engine
from pawtag.folder.walk import Walk, read_photo
from pawtag.images import ImageLimits, decode, preprocess
from pawtag.inference.engine_loader import build_request
from pawtag.inference.loaded_model import LoadedModel
from pawtag.inference.model_loader import load_model
from pawtag.inference.optimization import FLOAT, Optimization, Outcome
from pawtag.inference.preparation import find_prepared

MAX_PHOTOS, MEASURED_CALLS = 3000, 21


def optimize(folder: Path, settings: Settings) -> int:
    """Quantise, compare, print; exit code 1 if the quantised model is refused."""
    unquantised = settings.model.model_copy(update={"precision": FLOAT})
    settings = settings.model_copy(update={"model": unquantised})
    labels = load_labels(settings.labels.file)
    loaded = load_model(settings, labels)
    if not loaded.engine.description.startswith("openvino"):
        raise ConfigError(f"Only what OpenVINO runs can be quantised; this model runs on {loaded.engine.description}.")
    request = build_request(settings, labels, loaded.checkpoint)
    prepared = find_prepared(request)
    if prepared is None:
        raise ModelError(
            f"The prepared model is not in {request.cache}; set model.cache_dir to a folder that can be written."
        )
    optimization = Optimization(request, prepared.facts, loaded.vocabulary, loaded.thresholds)
    outcome = optimization.run(_read_pixels(folder, settings, loaded), _measure_ms)
    print(format_outcome(outcome))
    return 0 if outcome.is_accepted else 1


def format_outcome(outcome: Outcome) -> str:
    """What was found, for people."""
    accepted, refused = "pawtag uses it from the next start.", "pawtag does not use it: 99.5 % are needed."
    verdict = accepted if outcome.is_accepted else refused
    return (
        f"{outcome.same} of {outcome.photos} photos get the same tags ({100 * outcome.same / outcome.photos:.1f} %).\n"
        f"One photo takes {outcome.after_ms:.1f} ms quantised, and {outcome.before_ms:.1f} ms in {FLOAT}.\n{verdict}"
    )


def _read_pixels(folder: Path, settings: Settings, loaded: LoadedModel) -> list[Pixels]:
    """The inputs of the model for the readable photos of the folder."""
    if not folder.is_dir():
        raise ConfigError(f"The folder {folder} does not exist.")
    limits, spec = ImageLimits(settings.limits.max_file_bytes, settings.limits.max_pixels), loaded.engine.spec
    found: list[Pixels] = []
    walk = Walk(folder.resolve(), settings.folder, removes_temporary=False)
    for photo in tqdm(walk, unit=" photos", disable=None, dynamic_ncols=True):
        if len(found) == MAX_PHOTOS:
            break
        with suppress(PermanentError, GoneError, TemporaryError):
            data = read_photo(photo.ref.uri, limits.max_bytes).data
            found.append(preprocess(decode(data, limits, spec.shorter_side), spec))
    return found


def _measure_ms(engine: Engine, pixels: Pixels) -> float:
    """The median duration of one input."""
    taken_s = []
    for _ in range(MEASURED_CALLS):
        started_s = time.perf_counter()
        engine.embed([pixels])
        taken_s.append(time.perf_counter() - started_s)
    return 1000 * statistics.median(taken_s)
