"""Labels: groups, their words and the prompts made of them. Pure."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from pawtag.domain.records import Scores, Tag

NONE = "none"
SCORE_DIGITS = 4

Threshold = Annotated[float, Field(ge=0, le=1)]
Words = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
# A prompt set: the group's name, and the label that it is asked about (None where it is asked of every photo).
PromptSet = tuple[str, str | None]


class Group(BaseModel):
    """One question to the model: its labels, each with its words. The scores of the labels add up to 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    labels: Annotated[dict[str, Words], Field(min_length=1)]
    multi_label: bool = False
    applies_to: Annotated[dict[str, tuple[str, ...]], Field(max_length=1)] = {}
    templates: Words | None = None
    thresholds: dict[str, Threshold] = {}

    @property
    def parent_group(self) -> str | None:
        """The parent group: the model is asked about this group for the best tag of the parent."""
        return next(iter(self.applies_to), None)

    @property
    def parent_labels(self) -> tuple[str | None, ...]:
        """The labels that this group is asked about; (None,) where it is asked of every photo."""
        return self.applies_to[self.parent_group] if self.parent_group else (None,)


class Labels(BaseModel):
    """All groups, in the order of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    templates: Words
    groups: Annotated[dict[str, Group], Field(min_length=1)]

    @cached_property
    def fingerprint(self) -> str:
        """12 hex digits that change with anything but comments and layout."""
        return digest_json(self.model_dump(mode="json"))

    def prompt_sets(self) -> Iterator[tuple[PromptSet, list[list[str]]]]:
        """Each prompt set with its prompts: a list for each word, in the order of labels and words."""
        for name, group in self.groups.items():
            for parent_label in group.parent_labels:
                words = [word for words in group.labels.values() for word in words]
                yield (name, parent_label), [self._prompts(group, word, parent_label) for word in words]

    def _prompts(self, group: Group, word: str, parent_label: str | None) -> list[str]:
        templates = group.templates or self.templates
        marks = {f"{{{group.parent_group}}}": parent_label} if parent_label else {}
        return [_fill_template(template, {"{}": word, **marks}) for template in templates]


def _fill_template(template: str, marks: dict[str, str]) -> str:
    for mark, word in marks.items():
        template = template.replace(mark, word)
    return template


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The lowest scores at which labels become tags. `temperature` divides the model's own logits.

    `presence`: below it, the photo shows nothing of the group. `labels`: thresholds of single labels, if the model's
    measurement found different ones. `parts`: the lowest score at which a part of the picture adds a
    tag; None: parts are not used.
    """

    tag: float = 0.5
    secondary: float = 0.25
    temperature: float = 1.0
    presence: float = 0.5
    labels: Mapping[str, float] = field(default_factory=dict)
    parts: float | None = None

    def for_label(self, label: str) -> float:
        """The threshold of one label."""
        return self.labels.get(label, self.tag)


def find_threshold(group: Group, label: str, thresholds: Thresholds) -> float:
    """The user's own threshold of a label, else the model's."""
    return group.thresholds.get(label, thresholds.for_label(label))


def digest_json(document: Any, digits: int = 12) -> str:
    """The first `digits` hex digits of a JSON document's digest. The order of its keys does not matter."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:digits]


def rank_labels(scores: Scores, tags: tuple[Tag, ...], min_score: float) -> list[dict[str, Any]]:
    """The HTTP view: every label but `none` at or above `min_score`, best first, groups mixed."""
    tagged = {(tag.group, tag.label): tag.score for tag in tags}
    found = {(group, label): score for group, of_group in scores.items() for label, score in of_group.items()} | tagged
    rows = [
        {"label": label, "score": score, "group": group, "tagged": (group, label) in tagged}
        for (group, label), score in found.items()
        if label != NONE and score >= min_score
    ]
    return sorted(rows, key=lambda row: -row["score"])
