"""Labels: groups, words and prompts from labels.toml, and from scores to tags. Pure but for reading the file."""

import hashlib
import json
import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pawtag.errors import ConfigError
from pawtag.records import Floats, Scores, Tag

NONE = "none"
SCORE_DIGITS = 4
PACKAGED = Path(__file__).parent / "defaults" / "labels.toml"

Threshold = Annotated[float, Field(ge=0, le=1)]
Words = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
# A prompt set: the group's name, and the label that it is asked about (None where it is asked of every photo).
PromptSet = tuple[str, str | None]


class Group(BaseModel):
    """One question to the model: its labels, each with its words, compete for a share of 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    labels: Annotated[dict[str, Words], Field(min_length=1)]
    many: bool = False
    asked_for: Annotated[dict[str, tuple[str, ...]], Field(max_length=1)] = {}
    templates: Words | None = None
    thresholds: dict[str, Threshold] = {}

    @property
    def subject_group(self) -> str | None:
        """The group whose best tag this one is asked about."""
        return next(iter(self.asked_for), None)

    @property
    def subjects(self) -> tuple[str | None, ...]:
        """The labels that this group is asked about; (None,) where it is asked of every photo."""
        return self.asked_for[self.subject_group] if self.subject_group else (None,)


class Labels(BaseModel):
    """All groups, in the order of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    templates: Words
    groups: Annotated[dict[str, Group], Field(min_length=1)]

    @cached_property
    def fingerprint(self) -> str:
        """12 hex digits that change with anything but comments and layout."""
        return fingerprint(self.model_dump(mode="json"))

    def prompt_sets(self) -> Iterator[tuple[PromptSet, list[list[str]]]]:
        """Each prompt set with its prompts: a list for each word, in the order of labels and words."""
        for name, group in self.groups.items():
            for subject in group.subjects:
                words = [word for words in group.labels.values() for word in words]
                yield (name, subject), [self._prompts(group, word, subject) for word in words]

    def _prompts(self, group: Group, word: str, subject: str | None) -> list[str]:
        templates = group.templates or self.templates
        marks = {f"{{{group.subject_group}}}": subject} if subject else {}
        return [_filled(template, {"{}": word, **marks}) for template in templates]


def _filled(template: str, marks: dict[str, str]) -> str:
    for mark, word in marks.items():
        template = template.replace(mark, word)
    return template


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From which score on a label is a tag; `temperature` divides the model's own logits.

    `labels` holds those of single labels, where the model's measurement asked for another.
    """

    tag: float = 0.5
    also: float = 0.25
    temperature: float = 1.0
    labels: Mapping[str, float] = field(default_factory=dict)

    def of(self, label: str) -> float:
        """The threshold of one label."""
        return self.labels.get(label, self.tag)


def fingerprint(document: Any) -> str:
    """12 hex digits of a JSON document, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:12]


def load(path: Path | None) -> Labels:
    """Read labels.toml and the word files beside it (the packaged default without a path).

    Raises ConfigError that names the file and the place in it.
    """
    path = path or PACKAGED
    try:
        document = tomllib.loads(path.read_text("utf-8"))
        _read_word_files(document, path.parent)
        labels = Labels.model_validate(document)
    except FileNotFoundError as error:
        raise ConfigError(f"The labels file {error.filename} does not exist.") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"The labels file {path} cannot be read: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"The labels file {path} is wrong at '{place}': {first['msg']}.") from error
    _check(labels, path)
    return labels


def _read_word_files(document: dict[str, Any], folder: Path) -> None:
    """Put the words of `labels.none = "everyday.txt"` where the file's name stands."""
    groups = document.get("groups")
    for group in groups.values() if isinstance(groups, dict) else ():
        labels = group.get("labels") if isinstance(group, dict) else None
        for label, words in labels.items() if isinstance(labels, dict) else ():
            if isinstance(words, str) and isinstance(labels, dict):
                lines = (folder / words).read_text("utf-8").splitlines()
                labels[label] = [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _check(labels: Labels, path: Path) -> None:
    for name, group in labels.groups.items():
        place = f"The labels file {path} is wrong at 'groups.{name}"
        if unknown := set(group.thresholds) - set(group.labels):
            raise ConfigError(f"{place}.thresholds': {min(unknown)!r} is no label of this group.")
        for template in group.templates or labels.templates:
            if "{}" not in template:
                raise ConfigError(f"{place}': the template {template!r} has no {{}} for the word.")
        if group.subject_group:
            _check_subjects(labels, name, group, place)


def _check_subjects(labels: Labels, name: str, group: Group, place: str) -> None:
    earlier = list(labels.groups)[: list(labels.groups).index(name)]
    if group.subject_group not in earlier:
        raise ConfigError(f"{place}.asked_for': {group.subject_group!r} is no group that stands above this one.")
    known = labels.groups[group.subject_group].labels
    for subject in group.subjects:
        if subject not in known or subject == NONE:
            raise ConfigError(f"{place}.asked_for': {subject!r} is no label of {group.subject_group!r}.")


def shares(logits: Floats, word_counts: list[int], temperature: float) -> Floats:
    """Scores (labels,) that add up to 1, from the model's own logit (words,) of each word.

    A label's logit is the log of the sum of exp over its words, less half the logarithm of their
    number, so that a long list of words neither wins by its length nor loses by its mean.
    """
    bounds = np.cumsum([0, *word_counts]).tolist()
    scaled = logits.astype(np.float64) / temperature
    label_logits = np.array(
        [np.logaddexp.reduce(scaled[first:last]) - 0.5 * math.log(last - first) for first, last in pairwise(bounds)]
    )
    odds = np.exp(label_logits - label_logits.max())
    return np.asarray(odds / odds.sum(), np.float32)


def choose(name: str, group: Group, scores: dict[str, float], thresholds: Thresholds) -> list[Tag]:
    """The tags of one group, best first; empty where the best label is `none` or below its threshold."""
    ranked = sorted(scores, key=lambda label: -scores[label])
    best = ranked[0]
    if best == NONE or scores[best] < group.thresholds.get(best, thresholds.of(best)):
        return []
    chosen = [best]
    if group.many:
        chosen += [label for label in ranked[1:] if label != NONE and scores[label] >= thresholds.also]
    return [Tag(label=label, group=name, score=scores[label]) for label in chosen]


def ranked_labels(scores: Scores, tags: tuple[Tag, ...], min_score: float) -> list[dict[str, Any]]:
    """The HTTP view: every label but `none` at or above `min_score`, best first, groups mixed."""
    tagged = {(tag.group, tag.label): tag.score for tag in tags}
    found = {(group, label): score for group, shares in scores.items() for label, score in shares.items()} | tagged
    rows = [
        {"label": label, "score": score, "group": group, "tagged": (group, label) in tagged}
        for (group, label), score in found.items()
        if label != NONE and score >= min_score
    ]
    return sorted(rows, key=lambda row: -row["score"])
