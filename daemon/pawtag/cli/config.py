"""pawtag config: print the settings, check them, or print their schema."""

import argparse
import json
from typing import Any

from pawtag.cli import add_command
from pawtag.config import EMBEDDED, Settings
from pawtag.config.labels_file import find_shared_labels, load_labels
from pawtag.config.loading import describe_settings_file
from pawtag.domain.labels import NONE, Labels
from pawtag.domain.records import TagRecord
from pawtag.inference.checkpoint import find_checkpoint

CONFIG_ACTIONS = {
    "show": "print the settings in force, as TOML",
    "check": "check the settings and the labels",
    "schema": "print the JSON Schema of the settings",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `config`."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions = {name: add_command(commands, name, text) for name, text in CONFIG_ACTIONS.items()}
    actions["schema"].add_argument(
        "--record", action="store_true", help="print the schema of a record (a sidecar) instead"
    )


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Print the requested text. `main` has refused wrong settings before this call."""
    if arguments.action == "schema":
        print(json.dumps(build_record_schema() if arguments.record else Settings.model_json_schema(), indent=2))
    elif arguments.action == "check":
        _check(settings)
    else:
        print(f"# {describe_settings_file(getattr(arguments, 'config', None))}\n{format_toml(settings)}")
    return 0


def _check(settings: Settings) -> None:
    labels = load_labels(settings.labels.file)
    find_checkpoint(settings.model)
    print(f"The settings are right, and so are the labels: {len(labels.groups)} groups.")
    for name, group in labels.groups.items():
        print(f"  {name}: {', '.join(label for label in group.labels if label != NONE)}")
    for label, groups in find_shared_labels(labels).items():
        print(f"warning: {label} is a label of {' and '.join(groups)}; is one of them a typing mistake?")
    if EMBEDDED in (settings.model.id, settings.model.fallback):
        _check_words(settings, labels)


def _check_words(settings: Settings, labels: Labels) -> None:
    """Warn of words that the embedded model does not know, also where it is the fallback."""
    from pawtag.inference.model_loader import load_model
    from pawtag.inference.word_check import find_unknown_words

    embedded = settings.model.model_copy(update={"id": EMBEDDED, "threshold": None, "temperature": None})
    loaded = load_model(settings.model_copy(update={"model": embedded}), labels)
    unknown = find_unknown_words(loaded)
    if unknown:
        print(f"warning: the embedded model does not know these words, and gives them no score: {', '.join(unknown)}")


def build_record_schema() -> dict[str, Any]:
    """The JSON Schema of a record, as a sidecar and `?detail=record` hold it."""
    return TagRecord.model_json_schema(by_alias=True, mode="serialization")


def format_toml(settings: Settings) -> str:
    """The settings as TOML; those without a value as comments, secrets as stars."""
    lines = []
    for section, values in settings.model_dump(mode="json").items():
        lines += ["", f"[{section}]", *(_format_line(name, value) for name, value in values.items())]
    return "\n".join(lines[1:])


def _format_line(name: str, value: Any) -> str:
    # Strings, numbers, booleans and lists of strings are written in JSON as they are in TOML.
    return f"# {name} =" if value is None else f"{name} = {json.dumps(value, ensure_ascii=False)}"
