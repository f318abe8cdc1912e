"""How the labels of one group come out on labelled photos: a row for each label."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from pawtag.domain.labels import NONE
from pawtag.inference.evaluation import Prediction

NO_TAG = "no tag"


@dataclass(frozen=True, slots=True)
class LabelRow:
    """The photos that show a label: how many got it as their first tag, and what the others got."""

    label: str
    photos: int
    right: int
    instead: Counter[str] = field(default_factory=Counter)


def build_group_table(predictions: Sequence[Prediction], group: str) -> list[LabelRow]:
    """A row for each label that a person gave. For `none`, a photo without a tag is right."""
    given = [prediction for prediction in predictions if group in prediction.expected.labels]
    found = {label: Counter[str]() for label in dict.fromkeys(each.expected.labels[group] for each in given)}
    for prediction in given:
        found[prediction.expected.labels[group]][_find_first_tag(prediction, group)] += 1
    return [_build_row(label, counts) for label, counts in sorted(found.items(), key=lambda row: row[0] == NONE)]


def format_group_table(group: str, rows: Sequence[LabelRow]) -> str:
    """For people, in columns."""
    width = max(len(name) for name in (group, *(row.label for row in rows)))
    lines = [f"{group:{width}}  photos  tagged right  instead"]
    for row in rows:
        instead = ", ".join(f"{label} {count}" for label, count in row.instead.most_common())
        share = f"{row.right} ({100 * row.right / row.photos:.0f} %)"
        lines.append(f"{row.label:{width}}  {row.photos:6}  {share:>12}  {instead}".rstrip())
    return "\n".join(lines)


def _build_row(label: str, counts: Counter[str]) -> LabelRow:
    expected = NO_TAG if label == NONE else label
    instead = Counter({tag: count for tag, count in counts.items() if tag != expected})
    return LabelRow(label, counts.total(), counts[expected], instead)


def _find_first_tag(prediction: Prediction, group: str) -> str:
    return next((tag.label for tag in prediction.scored.tags if tag.group == group), NO_TAG)
