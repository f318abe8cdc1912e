"""The vectors of a vocabulary, computed once for a model and its labels, and stored on disk."""

import hashlib
import io
import json
import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

from pawtag.domain.labels import Labels
from pawtag.domain.ports import TextEngine
from pawtag.files import write_atomically
from pawtag.inference.scoring import Vocabulary, embed_words, list_prompts

log = logging.getLogger(__name__)
DIGEST_BYTES = 32
FOLDER = "text"


def find_vocabulary(digest: str, labels: Labels, folders: Iterable[Path]) -> Vocabulary | None:
    """The stored vocabulary of the model with that digest; None if it is in none of the folders."""
    found = (_load(folder / FOLDER / _name(digest, labels), labels) for folder in folders)
    return next((vocabulary for vocabulary in found if vocabulary), None)


def embed_vocabulary(engine: TextEngine, labels: Labels, cache: Path) -> Vocabulary:
    """The vocabulary, from the folder `cache` if it is complete there, else from the engine."""
    vocabulary = find_vocabulary(engine.digest, labels, [cache])
    if vocabulary is None:
        vocabulary = embed_words(labels, engine.embed_text(list_prompts(labels)))
        try:
            store_vocabulary(engine.digest, vocabulary, cache)
        except OSError as error:
            log.warning("text embeddings cannot be stored in %s (%s): set model.cache_dir", cache, error.strerror)
    return vocabulary


def store_vocabulary(digest: str, vocabulary: Vocabulary, cache: Path) -> None:
    """Store the vectors: the SHA-256 of the rest, then one array (words, D) float32. Raises OSError."""
    path, body = cache / FOLDER / _name(digest, vocabulary.labels), io.BytesIO()
    np.save(body, np.concatenate(list(vocabulary.vectors.values())), allow_pickle=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, hashlib.sha256(body.getvalue()).digest() + body.getvalue())


def _name(digest: str, labels: Labels) -> str:
    """The name of the file: it depends on the model and on every prompt."""
    sets = [[list(key), words] for key, words in labels.prompt_sets()]
    return f"{hashlib.sha256(json.dumps([digest, sets]).encode()).hexdigest()}.bin"


def _load(path: Path, labels: Labels) -> Vocabulary | None:
    """The stored vocabulary; None if it is absent or damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    with suppress(OSError):  # a cache that may only be read
        os.utime(path)  # it counts as used now
    expected, body = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != expected:
        log.warning("the text embeddings in %s are damaged; computing them again", path)
        return None
    vectors, found, position = np.load(io.BytesIO(body), allow_pickle=False), {}, 0
    for key, words in labels.prompt_sets():
        found[key] = vectors[position : position + len(words)]
        position += len(words)
    return Vocabulary(labels, found)
