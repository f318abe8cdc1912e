"""pawtag model: which model tags, downloading it, and measuring it on photos of one's own."""

import argparse
import json
from pathlib import Path

from tqdm import tqdm

from pawtag import config, log
from pawtag.config import Settings
from pawtag.config.labels_file import load_labels
from pawtag.domain.errors import ConfigError, PawtagError
from pawtag.domain.labels import Thresholds
from pawtag.folder.walk import read_photo
from pawtag.images import ImageLimits, decode, preprocess
from pawtag.inference import evaluation
from pawtag.inference.checkpoint import find_checkpoint, wanted_revision
from pawtag.inference.hub.api import is_offline
from pawtag.inference.hub.pull import Pull
from pawtag.inference.model_loader import LoadedModel, load_model

ACTIONS = {
    "show": "load the model and say what it is",
    "pull": "download it into the hub client's cache",
    "check": "load and verify it; with --labelled, measure it",
}
MAX_ATTEMPTS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `model`."""
    actions = "; ".join(f"{name}: {what}" for name, what in ACTIONS.items())
    parser.add_argument("action", choices=ACTIONS, help=actions)
    parser.add_argument("--json", action="store_true", help="show: print it as JSON")
    parser.add_argument(
        "--labelled",
        type=Path,
        metavar="CSV",
        help="check: photos with the columns file, species, coat (docs/models.md)",
    )
    parser.add_argument("--misses", action="store_true", help="check: name the photos that come out wrong")
    parser.add_argument(
        "--write", action="store_true", help="check: write the proposed threshold and temperature to the settings file"
    )


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Do what was asked for."""
    log.configure_logging(settings.log)
    if arguments.action == "pull":
        return _pull(settings)
    loaded = load_model(settings, load_labels(settings.labels.file))
    if arguments.action == "check":
        return _check(arguments, settings, loaded)
    _show(loaded, as_json=arguments.json)
    return 0


def _pull(settings: Settings) -> int:
    """Download the wanted model where it is not on this machine; print its folder."""
    model = settings.model
    here = find_checkpoint(model)
    if here is None:
        if not model.hub or is_offline():
            raise PawtagError(f"{model.id} is not on this machine, and the hub may not be asked (model.hub).")
        pull = Pull(model.id, wanted_revision(model), max_attempts=MAX_ATTEMPTS)
        with tqdm(unit="B", unit_scale=True, disable=None, desc=model.id, dynamic_ncols=True) as bar:
            pull.on_bytes = lambda count: _advance(bar, pull, count)
            pull.run()
        here = find_checkpoint(model)
    print(here.folder if here else "")
    return 0


def _advance(bar: "tqdm[None]", pull: Pull, count: int) -> None:
    bar.total = pull.progress.total_bytes
    bar.n = pull.progress.done_bytes - count
    bar.update(count)


def _show(loaded: LoadedModel, *, as_json: bool) -> None:
    names, spec = loaded.tagger.identity, loaded.engine.spec
    shown = {
        **names.model.model_dump(),
        "engine": loaded.engine.description,
        "calibrated": loaded.calibrated,
        "threshold": loaded.tagger.thresholds.tag,
        "temperature": loaded.tagger.thresholds.temperature,
        "folder": str(loaded.checkpoint.folder),
        "digest": loaded.engine.digest,
        "input": list(spec.crop or (spec.shorter_side,)),
        "labels": names.labels,
        "fingerprint": names.fingerprint,
    }
    lines = (f"{name}: {_text(value)}" for name, value in shown.items())
    print(json.dumps(shown, indent=2) if as_json else "\n".join(lines))


def _check(arguments: argparse.Namespace, settings: Settings, loaded: LoadedModel) -> int:
    """Print how the model does on the labelled photos, and what would suit it; write that where asked to."""
    if arguments.labelled is None:
        if arguments.write or arguments.misses:
            raise ConfigError("--write and --misses need --labelled CSV: without photos nothing is measured.")
        print(f"{loaded.checkpoint.name.id} is whole, and gives its known answer.")
        return 0
    seen = _embed_photos(arguments.labelled, settings, loaded)
    vocabulary, now = loaded.tagger.vocabulary, loaded.tagger.thresholds
    _print(f"{len(seen)} photos, {loaded.checkpoint.name.id}, {_describe_thresholds(now)}", seen, loaded, now)
    if arguments.misses:
        _print_errors(evaluation.predict(seen, vocabulary, loaded.engine, now))
    proposed = evaluation.calibrate(seen, vocabulary, loaded.engine, now)
    _print(f"\nproposed from these photos: {_describe_thresholds(proposed)}", seen, loaded, proposed)
    if arguments.write:
        _write(arguments, loaded, proposed)
    return 0


def _embed_photos(labelled: Path, settings: Settings, loaded: LoadedModel) -> list[evaluation.EmbeddedPhoto]:
    truths = evaluation.read_labelled_photos(labelled, loaded.tagger.vocabulary)
    limits = ImageLimits(settings.limits.max_file_bytes, settings.limits.max_pixels)
    seen = []
    for truth in tqdm(truths, unit=" photos", disable=None, dynamic_ncols=True):
        data = read_photo(str((labelled.parent / truth.file).resolve()), limits.max_bytes).data
        pixels = preprocess(decode(data, limits, loaded.engine.spec.shorter_side), loaded.engine.spec)
        seen.append(evaluation.EmbeddedPhoto(truth, loaded.engine.embed([pixels])[0]))
    return seen


def _print(title: str, seen: list[evaluation.EmbeddedPhoto], loaded: LoadedModel, thresholds: Thresholds) -> None:
    print(title)
    found = evaluation.predict(seen, loaded.tagger.vocabulary, loaded.engine, thresholds)
    print("\n".join(f"  {name}: {value}" for name, value in evaluation.summarise(found).items()))


def _print_errors(photos: list[evaluation.Prediction]) -> None:
    for photo in photos:
        if not photo.is_right:
            print(f"  {photo.expected.file}: {photo.expected.species}, got {'/'.join(photo.tags) or 'no tag'}")


def _write(arguments: argparse.Namespace, loaded: LoadedModel, proposed: Thresholds) -> None:
    if loaded.checkpoint.name.fallback:
        raise ConfigError("What was measured is the fallback, not the wanted model: run 'pawtag model pull' first.")
    values = {"threshold": proposed.tag, "temperature": proposed.temperature}
    print(f"written to {config.write_model_settings(getattr(arguments, 'config', None), values)}")


def _describe_thresholds(thresholds: Thresholds) -> str:
    return f"threshold {thresholds.tag:g}, temperature {thresholds.temperature:g}"


def _text(value: object) -> str:
    return {"True": "yes", "False": "no", "None": "-"}.get(str(value), str(value))
