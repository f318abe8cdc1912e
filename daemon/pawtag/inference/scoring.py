"""From an embedding to scores, and from scores to tags. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from pawtag.domain.errors import PermanentError
from pawtag.domain.labels import NONE, SCORE_DIGITS, Group, Labels, PromptSet, Thresholds, find_threshold
from pawtag.domain.pictures import Floats
from pawtag.domain.ports import Engine
from pawtag.domain.records import PET_GROUP, PetStatus, Scores, Tag


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The labels as a model sees them: for each prompt set the word vectors (words, D)."""

    labels: Labels
    vectors: dict[PromptSet, Floats]


@dataclass(frozen=True, slots=True)
class ScoredLabels:
    """Scores and tags for one embedding, and whether it shows a pet."""

    tags: tuple[Tag, ...]
    scores: Scores
    status: PetStatus


def embed_words(labels: Labels, embeddings: Floats) -> Vocabulary:
    """The vector of each word: the mean of its prompts' unit vectors, normalised again.

    `embeddings` (N, D) are those of all prompts, in the order of `list_prompts(labels)`.
    """
    vectors, position = {}, 0
    for key, words in labels.prompt_sets():
        means = []
        for word_prompts in words:
            means.append(embeddings[position : position + len(word_prompts)].mean(0))
            position += len(word_prompts)
        stacked = np.stack(means)
        vectors[key] = stacked / np.linalg.norm(stacked, axis=1, keepdims=True)
    return Vocabulary(labels, vectors)


def list_prompts(labels: Labels) -> list[str]:
    """Every prompt of every word, in the order that `embed_words` expects."""
    return [prompt for _, words in labels.prompt_sets() for word_prompts in words for prompt in word_prompts]


def score_labels(
    embedding: Floats, vocabulary: Vocabulary, engine: Engine, thresholds: Thresholds, parts: Sequence[Floats] = ()
) -> ScoredLabels:
    """Scores and tags of every group that applies, in the order of the groups.

    `embedding` (D,): of the whole photo. `parts`: embeddings of parts of it, which can add tags in groups with several
    tags. Raises PermanentError if scores are not numbers.
    """
    tags: list[Tag] = []
    scores: Scores = {}
    for name, group in vocabulary.labels.groups.items():
        parent_label = _find_parent_label(group, tags)
        if parent_label is None and group.parent_group:
            continue
        ask = partial(_score_group, vectors=vocabulary.vectors[name, parent_label], group=group, engine=engine)
        scores[name] = ask(embedding, temperature=thresholds.temperature)
        chosen = choose_tags(name, group, scores[name], thresholds)
        if parts and group.multi_label:
            of_parts = [ask(part, temperature=thresholds.temperature) for part in parts]
            found = _find_in_parts(of_parts, group, thresholds)
            scores[name] = _merge_scores(scores[name], found)
            known = {tag.label for tag in chosen}
            chosen += [
                Tag(label=label, group=name, score=score) for label, score in found.items() if label not in known
            ]
            chosen.sort(key=lambda tag: -tag.score)
        tags += chosen
    return ScoredLabels(tuple(tags), scores, judge_pet(tags, scores, thresholds))


def _score_group(
    embedding: Floats, *, vectors: Floats, group: Group, engine: Engine, temperature: float
) -> dict[str, float]:
    logits = engine.scale * multiply(vectors, embedding) + engine.bias
    if not np.isfinite(logits).all():
        raise PermanentError("bad-score", "The model's scores for this photo are not numbers.")
    values = softmax_labels(logits, [len(words) for words in group.labels.values()], temperature)
    return {label: round(float(value), SCORE_DIGITS) for label, value in zip(group.labels, values, strict=True)}


def _find_in_parts(of_parts: Sequence[dict[str, float]], group: Group, thresholds: Thresholds) -> dict[str, float]:
    """The labels with a score in a part that is high enough for a tag, with their best scores."""
    best = {label: max(scores[label] for scores in of_parts) for label in group.labels if label != NONE}
    least = thresholds.parts or 0.0
    return {
        label: score for label, score in best.items() if score >= max(least, find_threshold(group, label, thresholds))
    }


def _merge_scores(whole: dict[str, float], found: dict[str, float]) -> dict[str, float]:
    """Each label's best score. If a part shows a pet, the score of `none` is at most 1 minus the pet's score."""
    merged = {label: max(score, found.get(label, 0.0)) for label, score in whole.items()}
    if found and NONE in merged:
        merged[NONE] = round(min(merged[NONE], 1 - max(found.values())), SCORE_DIGITS)
    return merged


def multiply(vectors: Floats, embedding: Floats) -> Floats:
    """The products (N,) of vectors (N, D) with one (D,), without BLAS.

    After each product, a thread of numpy's OpenBLAS spins, and takes processor time from the model's threads.
    """
    return np.asarray(np.einsum("nd,d->n", vectors, embedding, optimize=False), np.float32)


def _find_parent_label(group: Group, tags: list[Tag]) -> str | None:
    """The best tag that the group applies to."""
    found = (tag.label for tag in tags if tag.group == group.parent_group and tag.label in group.parent_labels)
    return next(found, None)


def softmax_labels(logits: Floats, word_counts: list[int], temperature: float) -> Floats:
    """Scores (labels,) with the sum 1, from the engine's logits (words,).

    A label's logit is the log of the sum of exp over its words, minus half the logarithm of the number of words. So a
    long list of words is neither an advantage nor a disadvantage.
    """
    bounds = np.cumsum([0, *word_counts]).tolist()
    scaled = logits.astype(np.float64) / temperature
    label_logits = np.array(
        [np.logaddexp.reduce(scaled[first:last]) - 0.5 * math.log(last - first) for first, last in pairwise(bounds)]
    )
    odds = np.exp(label_logits - label_logits.max())
    return np.asarray(odds / odds.sum(), np.float32)


def choose_tags(name: str, group: Group, scores: dict[str, float], thresholds: Thresholds) -> list[Tag]:
    """The tags of one group, best first; empty where the best label other than `none` is below its threshold."""
    if compute_presence(scores) < thresholds.presence:
        return []
    ranked = sorted((label for label in scores if label != NONE), key=lambda label: -scores[label])
    if not ranked or scores[ranked[0]] < find_threshold(group, ranked[0], thresholds):
        return []
    chosen = ranked[:1]
    if group.multi_label:
        chosen += [label for label in ranked[1:] if scores[label] >= thresholds.secondary]
    return [Tag(label=label, group=name, score=scores[label]) for label in chosen]


def compute_presence(scores: dict[str, float]) -> float:
    """How sure it is that the photo shows something of the group; 1 in a group without `none`."""
    return 1 - scores.get(NONE, 0.0)


def judge_pet(tags: list[Tag], scores: Scores, thresholds: Thresholds) -> PetStatus:
    """The pet status, from the scores of the species. If the labels have no species, any tag counts."""
    if PET_GROUP not in scores:
        return "tagged" if tags else "no-pet"
    if compute_presence(scores[PET_GROUP]) < thresholds.presence:
        return "no-pet"
    return "tagged" if any(tag.group == PET_GROUP for tag in tags) else "unsure"
