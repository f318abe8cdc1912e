"""pawtag model: which model tags."""

import argparse
import json

from pawtag import labels, loading, log
from pawtag.config import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `model`."""
    parser.add_argument("action", choices=["show"], help="show: load the model and say what it is")
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Load and verify the model, and print what it is."""
    log.set_up(settings.log)
    loaded = loading.load(settings, labels.load(settings.labels.file))
    names = loaded.tagger.fingerprints
    shown = {
        **names.model.model_dump(),
        "engine": loaded.model.engine,
        "calibrated": loaded.calibrated,
        "folder": str(loaded.checkpoint.folder),
        "digest": loaded.model.digest,
        "input": list(loaded.model.spec.crop or (loaded.model.spec.resize,)),
        "labels": names.labels,
        "by": names.by,
    }
    print(
        json.dumps(shown, indent=2)
        if arguments.json
        else "\n".join(f"{name}: {_text(value)}" for name, value in shown.items())
    )
    return 0


def _text(value: object) -> str:
    return {"True": "yes", "False": "no", "None": "-"}.get(str(value), str(value))
