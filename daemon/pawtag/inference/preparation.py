"""Preparation of a model: the slow steps, which need torch. Their results are kept in the cache."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pawtag.domain.errors import ModelError, PawtagError
from pawtag.domain.labels import Labels
from pawtag.domain.records import FrozenModel, ModelInfo
from pawtag.inference import text_cache
from pawtag.inference.acceptance import check_agreement, make_test_pictures
from pawtag.inference.checkpoint import EMBEDDED_FOLDER, Checkpoint
from pawtag.inference.engines import openvino
from pawtag.inference.facts import ModelFacts
from pawtag.inference.model_cache import (
    REFERENCES,
    TOWER,
    CompiledTower,
    ModelCache,
    build_key,
    load_references,
)
from pawtag.inference.scoring import Vocabulary, embed_words, list_prompts
from pawtag.inference.self_test import run_self_test

if TYPE_CHECKING:
    from pawtag.inference.engines.torch import TorchEngine

OnStep = Callable[[str], None]
INT8 = "int8"  # what `pawtag model optimize` has accepted; "auto" takes it


class PreparationError(PawtagError):
    """The model could not be prepared now: the cache cannot be written, or memory is short."""


class RefusedError(ModelError):
    """A conversion that will never be accepted."""


class PreparationRequest(FrozenModel):
    """What is to be prepared."""

    folder: Path
    model: ModelInfo
    labels: Labels
    cache: Path
    precision: str
    threads: int
    thresholds: str = ""
    """All other settings that decide which scores become tags: an int8 model is accepted by its tags."""

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint."""
        return Checkpoint(self.folder, self.model)


@dataclass(frozen=True, slots=True)
class PreparedModel:
    """Everything that serving needs, from the cache."""

    facts: ModelFacts
    vocabulary: Vocabulary
    compiled: CompiledTower
    path: Path


def find_prepared(request: PreparationRequest) -> PreparedModel | None:
    """The prepared model; None if a part of it is missing or damaged."""
    cache = ModelCache(request.cache)
    if (facts := cache.read_facts(request.checkpoint)) is None:
        return None
    vocabulary = text_cache.find_vocabulary(facts.digest, request.labels, [request.cache, EMBEDDED_FOLDER])
    precisions = (INT8, "auto") if request.precision == "auto" else (request.precision,)
    candidates = (cache.read_compiled(build_compiled_key(request, facts, each)) for each in precisions)
    found = next((each for each in candidates if each), None)
    return PreparedModel(facts, vocabulary, *found) if vocabulary and found else None


class Preparation:
    """Fills the cache for one request."""

    def __init__(self, request: PreparationRequest, on_step: OnStep) -> None:
        """Nothing is done before `run`."""
        self._request, self._on_step = request, on_step
        self._cache = ModelCache(request.cache)

    def run(self) -> None:
        """Make what is missing. Wait for another process that does the same. Raises PawtagError, OSError."""
        with self._cache.lock():
            if find_prepared(self._request) is not None:
                return
            facts = self._cache.read_facts(self._request.checkpoint) or self._write_facts()
            self._embed_labels(facts)
            self._compile(facts)
            self._cache.remove_unused()

    @cached_property
    def _engine(self) -> "TorchEngine":
        self._on_step("the checkpoint is being loaded")
        from pawtag.inference.engines.torch import TorchEngine

        engine = TorchEngine(self._request.checkpoint, "cpu", self._request.threads)
        run_self_test(engine, self._request.checkpoint, self._request.cache)
        return engine

    def _write_facts(self) -> ModelFacts:
        self._cache.write_facts(self._request.checkpoint, self._engine.facts)
        return self._engine.facts

    def _embed_labels(self, facts: ModelFacts) -> None:
        labels, folders = self._request.labels, [self._request.cache, EMBEDDED_FOLDER]
        if text_cache.find_vocabulary(facts.digest, labels, folders) is None:
            prompts = list_prompts(labels)
            engine = self._engine
            self._on_step(f"the {len(prompts)} prompts of the labels are being embedded")
            text_cache.store_vocabulary(
                facts.digest, embed_words(labels, engine.embed_text(prompts)), self._request.cache
            )

    def _compile(self, facts: ModelFacts) -> None:
        key = build_compiled_key(self._request, facts, self._request.precision)
        notes: list[str] = []
        if self._cache.read_compiled(key) is not None:
            return None
        try:
            tower = self._cache.find_converted(facts, openvino.VERSION) or self._convert(facts)
        except RefusedError as error:
            return self._cache.write_compiled_facts(key, CompiledTower(refusal=str(error)))
        self._on_step("the model is being compiled for this processor")
        refusals = 0
        for precision in (precisions := openvino.list_precisions(self._request.precision)):
            try:
                return self._compile_at(precision, key, facts, tower, " ".join(notes) or None)
            except ModelError as error:
                refusals += isinstance(error, RefusedError)
                notes.append(f"{precision}: {error}")
        if refusals < len(precisions):
            raise PreparationError(" ".join(notes))
        return self._cache.write_compiled_facts(key, CompiledTower(refusal=" ".join(notes)))

    def _convert(self, facts: ModelFacts) -> Path:
        """Raises RefusedError for a model that the converter does not understand."""
        engine = self._engine
        try:
            tower, example = engine.build_tower()
        except ModelError as error:
            raise RefusedError(str(error)) from error
        self._on_step("the model is being converted")
        with self._cache.create_converted(facts, openvino.VERSION) as folder:
            try:
                openvino.convert(tower, example, facts.spec, folder / TOWER)
            except (OSError, MemoryError):
                raise
            except Exception as error:  # the converter raises many unrelated types
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise RefusedError(f"OpenVINO cannot convert it: {reason}") from error
            np.save(folder / REFERENCES, engine.embed(make_test_pictures(facts.spec)))
        return self._cache.converted_folder(facts, openvino.VERSION)

    def _compile_at(self, precision: str, key: str, facts: ModelFacts, tower: Path, note: str | None) -> None:
        """Raises ModelError for a precision that does not compile, RefusedError where embeddings differ from torch's."""
        content = openvino.compile_tower(tower / TOWER, precision, self._request.threads)
        path = self._cache.write_compiled(key, content)
        engine = openvino.OpenVINOEngine(facts, path, precision, self._request.threads)
        try:
            check_agreement(engine, load_references(tower))
        except ModelError as error:
            raise RefusedError(str(error)) from error
        digest = hashlib.sha256(content).hexdigest()
        self._cache.write_compiled_facts(key, CompiledTower(precision, digest, note))


def build_compiled_key(request: PreparationRequest, facts: ModelFacts, precision: str) -> str:
    """The key of a compiled tower: it runs only on this kind of processor. int8 was accepted only for these labels."""
    processor = openvino.describe_processor()
    isa = os.environ.get("ONEDNN_MAX_CPU_ISA", "")
    accepted_for = f"{request.labels.fingerprint} {request.thresholds}" if precision == INT8 else ""
    return build_key(facts.digest, openvino.VERSION, processor, isa, precision, str(request.threads), accepted_for)
