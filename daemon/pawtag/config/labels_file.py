"""Reading labels.toml and the word files that it names."""

import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pawtag.domain.errors import ConfigError
from pawtag.domain.labels import NONE, Group, Labels

PACKAGED = Path(__file__).parent.parent / "defaults" / "labels.toml"


def load_labels(path: Path | None) -> Labels:
    """Read labels.toml and the word files next to it (the packaged default without a path).

    Raises ConfigError that names the file and the place in it.
    """
    path = path or PACKAGED
    try:
        document = tomllib.loads(path.read_text("utf-8-sig"))
        _read_word_files(document, path.parent)
        labels = _take_words_out_of_none(Labels.model_validate(document))
    except FileNotFoundError as error:
        raise ConfigError(f"The labels file {error.filename} does not exist.") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"The labels file {path} cannot be read: {error}.") from error
    except ValidationError as error:
        raise ConfigError(f"The labels file {path} is wrong at {_describe(error)}.") from error
    _check(labels, path)
    return labels


def _read_word_files(document: dict[str, Any], folder: Path) -> None:
    """Replace the file name in `labels.none = "everyday.txt"` with the words of the file."""
    groups = document.get("groups")
    for group in groups.values() if isinstance(groups, dict) else ():
        labels = group.get("labels") if isinstance(group, dict) else None
        for label, words in labels.items() if isinstance(labels, dict) else ():
            if isinstance(words, str) and isinstance(labels, dict):
                lines = (folder / words).read_text("utf-8-sig").splitlines()
                labels[label] = [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _take_words_out_of_none(labels: Labels) -> Labels:
    """Remove from `none` each word that another label has: everyday.txt has the guinea pig, which may be a label."""
    groups = {name: group for name, group in labels.groups.items() if NONE in group.labels}
    for name, group in groups.items():
        asked = {word.casefold() for label, words in group.labels.items() if label != NONE for word in words}
        kept = tuple(word for word in group.labels[NONE] if word.casefold() not in asked)
        if kept and kept != group.labels[NONE]:
            groups[name] = group.model_copy(update={"labels": group.labels | {NONE: kept}})
    return labels.model_copy(update={"groups": labels.groups | groups})


def find_shared_labels(labels: Labels) -> dict[str, list[str]]:
    """Labels that several groups have, with these groups. A correction without a group is ambiguous for them."""
    groups: dict[str, list[str]] = {}
    for name, group in labels.groups.items():
        for label in group.labels:
            if label != NONE:
                groups.setdefault(label, []).append(name)
    return {label: names for label, names in groups.items() if len(names) > 1}


def _describe(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] != "extra_forbidden":
        return f"'{place}': {first['msg']}"
    allowed = (Labels if len(first["loc"]) == 1 else Group).model_fields
    return f"'{place}': there is no such key; allowed are {', '.join(sorted(allowed))}"


def _check(labels: Labels, path: Path) -> None:
    for name, group in labels.groups.items():
        place = f"The labels file {path} is wrong at 'groups.{name}"
        if unknown := set(group.thresholds) - set(group.labels):
            raise ConfigError(f"{place}.thresholds': {min(unknown)!r} is no label of this group.")
        for template in group.templates or labels.templates:
            if "{}" not in template:
                raise ConfigError(f"{place}': the template {template!r} has no {{}} for the word.")
        if group.parent_group:
            _check_parent_labels(labels, name, group, place)


def _check_parent_labels(labels: Labels, name: str, group: Group, place: str) -> None:
    earlier = list(labels.groups)[: list(labels.groups).index(name)]
    if group.parent_group not in earlier:
        raise ConfigError(f"{place}.applies_to': {group.parent_group!r} is not a group above this one in the file.")
    known = labels.groups[group.parent_group].labels
    for parent_label in group.parent_labels:
        if parent_label not in known or parent_label == NONE:
            raise ConfigError(f"{place}.applies_to': {parent_label!r} is no label of {group.parent_group!r}.")
