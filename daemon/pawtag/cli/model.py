"""pawtag model: shows the model, downloads it, verifies it, and evaluates it on labelled photos."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from pawtag import config, log
from pawtag.config import Settings
from pawtag.config.labels_file import load_labels
from pawtag.domain.errors import ConfigError, PawtagError
from pawtag.domain.labels import Thresholds
from pawtag.folder.walk import read_photo
from pawtag.images import ImageLimits, decode, preprocess
from pawtag.inference import evaluation
from pawtag.inference.checkpoint import find_checkpoint, find_wanted_revision, is_offline
from pawtag.inference.loaded_model import LoadedModel
from pawtag.inference.model_loader import load_model
from pawtag.log import escape_unprintable

if TYPE_CHECKING:
    from pawtag.inference.hub.pull import Pull

MODEL_ACTIONS = {
    "show": "load the model and print what it is",
    "pull": "download the model into the hub client's cache",
    "check": "load the model and run its self test",
    "evaluate": "compare the model with labelled photos",
    "optimize": "quantise the model on your own photos, and use it if their tags stay the same",
}
MAX_PULL_ATTEMPTS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `model`."""
    actions = "; ".join(f"{name}: {what}" for name, what in MODEL_ACTIONS.items())
    parser.add_argument("action", choices=MODEL_ACTIONS, help=actions)
    parser.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="optimize: a folder of 700 photos or more")
    parser.add_argument("--json", action="store_true", help="show: print JSON")
    parser.add_argument(
        "--labelled",
        type=Path,
        metavar="CSV",
        help="evaluate: photos, with the columns file, species, coat (docs/models.md)",
    )
    parser.add_argument("--show-errors", action="store_true", help="evaluate: name each photo with a wrong tag")
    parser.add_argument(
        "--write", action="store_true", help="evaluate: write the calibrated threshold and temperature to the settings"
    )


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run the action."""
    log.configure_logging(settings.log)
    _check_usage(arguments)
    if arguments.action == "pull":
        return _pull(settings)
    if arguments.action == "optimize":
        from pawtag.cli.optimize import optimize

        return optimize(arguments.folder, settings)
    loaded = load_model(settings, load_labels(settings.labels.file))
    if arguments.action == "show":
        _show(loaded, as_json=arguments.json)
    elif arguments.action == "check":
        print(f"The model {loaded.checkpoint.model.id} is complete and passes its self test.")
    else:
        _evaluate(arguments, settings, loaded)
    return 0


def _check_usage(arguments: argparse.Namespace) -> None:
    if arguments.action == "evaluate" and arguments.labelled is None:
        raise ConfigError("'pawtag model evaluate' needs labelled photos: --labelled CSV.")
    if (arguments.action == "optimize") != (arguments.folder is not None):
        raise ConfigError(
            "'pawtag model optimize' needs a folder of photos: pawtag model optimize DIR; no other action does."
        )
    if arguments.action != "evaluate" and (arguments.labelled or arguments.write or arguments.show_errors):
        raise ConfigError("--labelled, --show-errors and --write belong to 'pawtag model evaluate'.")


def _pull(settings: Settings) -> int:
    """Download the wanted model if this machine lacks it; print its folder."""
    model = settings.model
    local = find_checkpoint(model)
    if local is None:
        if not model.download or is_offline():
            raise PawtagError(
                f"{model.id} is not on this machine, and model.download or HF_HUB_OFFLINE forbids the download."
            )
        from pawtag.inference.hub.pull import Pull

        pull = Pull(model.id, find_wanted_revision(model), max_attempts=MAX_PULL_ATTEMPTS)
        with tqdm(unit="B", unit_scale=True, disable=None, desc=model.id, dynamic_ncols=True) as bar:
            pull.on_bytes = lambda count: _advance(bar, pull, count)
            pull.run()
        local = find_checkpoint(model)
    print(local.folder if local else "")
    return 0


def _advance(bar: "tqdm[None]", pull: "Pull", count: int) -> None:
    bar.total = pull.progress.total_bytes
    bar.n = pull.progress.done_bytes - count
    bar.update(count)


def _show(loaded: LoadedModel, *, as_json: bool) -> None:
    identity, spec = loaded.identity, loaded.engine.spec
    facts = {
        **identity.model.model_dump(),
        "engine": loaded.engine.description,
        "calibrated": loaded.calibrated,
        "threshold": loaded.thresholds.tag,
        "temperature": loaded.thresholds.temperature,
        "folder": str(loaded.checkpoint.folder),
        "digest": loaded.engine.digest,
        "input": list(spec.crop or (spec.shorter_side,)),
        "labels": identity.labels,
        "fingerprint": identity.fingerprint,
    }
    lines = (f"{name}: {_format_value(value)}" for name, value in facts.items())
    print(json.dumps(facts, indent=2) if as_json else "\n".join(lines))


def _evaluate(arguments: argparse.Namespace, settings: Settings, loaded: LoadedModel) -> None:
    """Print how the model does on the photos, and which threshold and temperature suit it; write them if asked."""
    photos = _embed_photos(arguments.labelled, settings, loaded)
    vocabulary, current = loaded.vocabulary, loaded.thresholds
    _print_summary(f"{len(photos)} photos, {loaded.checkpoint.model.id}", photos, loaded, current)
    if arguments.show_errors:
        _print_errors(evaluation.predict(photos, vocabulary, loaded.engine, current))
    calibrated = evaluation.calibrate(photos, vocabulary, loaded.engine, current)
    _print_summary("\ncalibrated on these photos:", photos, loaded, calibrated)
    if arguments.write:
        _write(arguments, loaded, calibrated)


def _embed_photos(labelled: Path, settings: Settings, loaded: LoadedModel) -> list[evaluation.EmbeddedPhoto]:
    expected = evaluation.read_labelled_photos(labelled, loaded.vocabulary)
    limits = ImageLimits(settings.limits.max_file_bytes, settings.limits.max_pixels)
    photos = []
    for photo in tqdm(expected, unit=" photos", disable=None, dynamic_ncols=True):
        data = read_photo(str((labelled.parent / photo.file).resolve()), limits.max_bytes).data
        pixels = preprocess(decode(data, limits, loaded.engine.spec.shorter_side), loaded.engine.spec)
        photos.append(evaluation.EmbeddedPhoto(photo, loaded.engine.embed([pixels])[0]))
    return photos


def _print_summary(
    title: str, photos: list[evaluation.EmbeddedPhoto], loaded: LoadedModel, thresholds: Thresholds
) -> None:
    print(f"{title} threshold {thresholds.tag:g}, temperature {thresholds.temperature:g}")
    predictions = evaluation.predict(photos, loaded.vocabulary, loaded.engine, thresholds)
    print("\n".join(f"  {name}: {value}" for name, value in evaluation.summarise_predictions(predictions).items()))


def _print_errors(predictions: list[evaluation.Prediction]) -> None:
    for prediction in predictions:
        if not prediction.is_right:
            got = "/".join(prediction.tags) or "no tag"
            print(f"  {escape_unprintable(prediction.expected.file)}: {prediction.expected.species}, got {got}")


def _write(arguments: argparse.Namespace, loaded: LoadedModel, calibrated: Thresholds) -> None:
    if loaded.checkpoint.model.fallback:
        raise ConfigError("These are the fallback's numbers, not the wanted model's: run 'pawtag model pull' first.")
    values = {"threshold": calibrated.tag, "temperature": calibrated.temperature}
    print(f"written to {config.write_model_settings(getattr(arguments, 'config', None), values)}")


def _format_value(value: object) -> str:
    return {"True": "yes", "False": "no", "None": "-"}.get(str(value), str(value))
