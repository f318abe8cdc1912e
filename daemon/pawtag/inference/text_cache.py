"""Text embeddings, computed once for a model and its prompts, and stored on disk."""

import hashlib
import io
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pawtag.domain.ports import Engine
from pawtag.domain.records import Floats
from pawtag.files import write_atomically

log = logging.getLogger(__name__)
DIGEST_BYTES = 32


def embed_prompts(engine: Engine, prompts: Sequence[str], cache: Path) -> Floats:
    """Unit vectors (N, D) of `prompts`, from the folder `cache` if they are complete there, else from the engine."""
    key = hashlib.sha256(json.dumps([engine.digest, *prompts]).encode()).hexdigest()
    path = cache / "text" / f"{key}.bin"
    found = _load(path, len(prompts))
    if found is None:
        found = engine.embed_text(prompts)
        _store(path, found)
    return found


def _load(path: Path, count: int) -> Floats | None:
    """The stored embeddings; None if they are absent or damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, body = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        log.warning("the text embeddings in %s are damaged; computing them again", path)
        return None
    found = np.load(io.BytesIO(body), allow_pickle=False)
    return found if found.ndim == 2 and len(found) == count else None  # noqa: PLR2004


def _store(path: Path, found: Floats) -> None:
    body = io.BytesIO()
    np.save(body, found, allow_pickle=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, hashlib.sha256(body.getvalue()).digest() + body.getvalue())
    except OSError as error:
        log.warning("text embeddings cannot be stored in %s (%s): set model.cache_dir", path.parent, error.strerror)
