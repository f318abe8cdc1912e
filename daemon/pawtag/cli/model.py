"""pawtag model: show, download, verify, measure or quantise the model."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from pawtag import log
from pawtag.cli import add_command
from pawtag.cli.evaluate import add_evaluation_arguments, evaluate
from pawtag.cli.fallback import warn_of_fallback
from pawtag.config import Settings
from pawtag.config.labels_file import load_labels
from pawtag.domain.errors import PawtagError
from pawtag.inference.checkpoint import find_checkpoint, find_wanted_revision, is_offline
from pawtag.inference.loaded_model import LoadedModel
from pawtag.inference.model_loader import load_model

if TYPE_CHECKING:
    from pawtag.inference.hub.pull import Pull

MODEL_ACTIONS = {
    "show": "load the model, and print its engine, thresholds and fingerprint",
    "pull": "download the model from the Hugging Face hub",
    "check": "load the model and run its self test",
    "evaluate": "compare the model with photos whose labels are known",
    "optimize": "make a faster int8 version of the model, and use it if 99.5 percent of the tags of your photos stay the same",
}
MAX_PULL_ATTEMPTS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `model`."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions = {name: add_command(commands, name, text) for name, text in MODEL_ACTIONS.items()}
    actions["show"].add_argument("--json", action="store_true", help="print JSON")
    add_evaluation_arguments(actions["evaluate"])
    actions["optimize"].add_argument("folder", type=Path, metavar="DIR", help="a folder with 700 photos or more")


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run the action."""
    log.configure_logging(settings.log)
    if arguments.action == "pull":
        return _pull(settings)
    if arguments.action == "optimize":
        from pawtag.cli.optimize import optimize

        return optimize(arguments.folder, settings)
    loaded = load_model(settings, load_labels(settings.labels.file))
    warn_of_fallback(loaded.identity)
    if arguments.action == "show":
        _show(loaded, as_json=arguments.json)
    elif arguments.action == "check":
        print(f"The model {loaded.checkpoint.model.id} is complete and passes its self test.")
    else:
        evaluate(arguments, settings, loaded)
    return 0


def _pull(settings: Settings) -> int:
    """Download the model of the settings if it is not on this machine; print its folder."""
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


def _format_value(value: object) -> str:
    return {"True": "yes", "False": "no", "None": "-"}.get(str(value), str(value))
