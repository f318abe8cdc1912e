"""The cache of models: facts of checkpoints, converted towers, compiled towers. All of it can be made again."""

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock

from pawtag.domain.pictures import Floats
from pawtag.files import write_atomically
from pawtag.inference.checkpoint import EMBEDDED_FOLDER, Checkpoint
from pawtag.inference.facts import ModelFacts, parse_facts

log = logging.getLogger(__name__)

# Increase it when the conversion changes: then older converted and compiled towers are not used any more.
CONVERSION_VERSION = 1
FACTS, CONVERTED, COMPILED, TEXT = "checkpoints", "converted", "compiled", "text"
TOWER, REFERENCES, MANIFEST = "vision.xml", "references.npy", "manifest.json"
TOWER_FILES = (TOWER, "vision.bin", REFERENCES)
SHIPPED_FACTS, SHIPPED_TOWER = EMBEDDED_FOLDER / "facts.json", EMBEDDED_FOLDER / "openvino"
MAX_KEPT, MAX_UNUSED_S = 4, 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class CompiledTower:
    """A compiled tower in the cache, or why there is none for this machine."""

    precision: str = ""
    sha256: str = ""
    note: str | None = None
    """Why a better precision was not taken."""
    refusal: str | None = None
    """Why this model stays on torch."""


class ModelCache:
    """The cache below one folder. Methods that write raise OSError."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read or written yet."""
        self.folder = folder

    def lock(self) -> FileLock:
        """For the one process that writes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder / "models.lock")

    def read_facts(self, checkpoint: Checkpoint) -> ModelFacts | None:
        """The facts of the checkpoint, as long as none of its files changes."""
        if checkpoint.folder == EMBEDDED_FOLDER and (shipped := _read_shipped_facts()):
            return shipped
        path = self._facts_path(checkpoint)
        return parse_facts(_read_used(path)) if path.is_file() else None

    def write_facts(self, checkpoint: Checkpoint, facts: ModelFacts) -> None:
        """Keep the facts of the checkpoint."""
        _write(self._facts_path(checkpoint), facts.to_json())

    def find_converted(self, facts: ModelFacts, version: str) -> Path | None:
        """The folder of the converted tower; None if there is none. A damaged one is removed."""
        if facts == _read_shipped_facts():
            return SHIPPED_TOWER
        folder = self.converted_folder(facts, version)
        if not folder.is_dir():
            return None
        if _is_intact(folder):
            os.utime(folder)
            return folder
        log.warning("the converted model in %s is damaged; converting it again", folder)
        shutil.rmtree(folder)
        return None

    @contextmanager
    def create_converted(self, facts: ModelFacts, version: str) -> Iterator[Path]:
        """A new folder for a converted tower; it takes its place when the context ends without an error."""
        final = self.converted_folder(facts, version)
        final.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=final.parent) as work:
            folder = Path(work) / final.name
            folder.mkdir()
            yield folder
            write_manifest(folder)
            folder.rename(final)

    def read_compiled(self, key: str) -> tuple[CompiledTower, Path] | None:
        """The compiled tower under the key, and its file; None if there is none, or a damaged one."""
        path = self._compiled_path(key)
        try:
            compiled = CompiledTower(**json.loads(_read_used(path.with_suffix(".json"))))
            if compiled.refusal is None and _compute_sha256(path) != compiled.sha256:
                log.warning("the compiled model %s is damaged; compiling it again", path)
                return None
        except (OSError, ValueError, TypeError):
            return None
        return compiled, path

    def write_compiled(self, key: str, content: bytes) -> Path:
        """Store the file of a compiled tower; `write_compiled_facts` makes it count."""
        return _write(self._compiled_path(key), content)

    def write_compiled_facts(self, key: str, compiled: CompiledTower) -> None:
        """Store what `read_compiled` returns."""
        _write(self._compiled_path(key).with_suffix(".json"), json.dumps(asdict(compiled)).encode())

    def remove_unused(self) -> None:
        """For each kind, keep the files of the four models that were used last; remove files unused for a month."""
        for kind, files_each in ((FACTS, 1), (CONVERTED, 1), (COMPILED, 2), (TEXT, 1)):
            entries = [] if not (self.folder / kind).is_dir() else list((self.folder / kind).iterdir())
            for left_over in (entry for entry in entries if entry.name.startswith(".")):
                _remove(left_over)  # left by a killed process: nobody else holds the lock
            by_use = sorted((each for each in entries if not each.name.startswith(".")), key=_last_used, reverse=True)
            for number, entry in enumerate(by_use):
                if number >= MAX_KEPT * files_each or time.time() - _last_used(entry) > MAX_UNUSED_S:
                    _remove(entry)

    def _facts_path(self, checkpoint: Checkpoint) -> Path:
        return self.folder / FACTS / f"{checkpoint.compute_stat_key()}.json"

    def converted_folder(self, facts: ModelFacts, version: str) -> Path:
        """Where the converted tower belongs."""
        return self.folder / CONVERTED / build_key(facts.digest, version)

    def _compiled_path(self, key: str) -> Path:
        return self.folder / COMPILED / f"{key}.blob"


def build_key(*parts: str) -> str:
    """A file name for these parts and the version of the conversion."""
    return hashlib.sha256(json.dumps([CONVERSION_VERSION, *parts]).encode()).hexdigest()[:32]


def load_references(tower: Path) -> Floats:
    """Torch's embeddings of the test pictures, (N, D)."""
    return np.asarray(np.load(tower / REFERENCES, allow_pickle=False), np.float32)


def write_manifest(folder: Path) -> None:
    """Note the digests of a converted tower's files."""
    digests = {name: _compute_sha256(folder / name) for name in TOWER_FILES}
    (folder / MANIFEST).write_text(json.dumps(digests, indent=1) + "\n", "utf-8")


def _read_shipped_facts() -> ModelFacts | None:
    """The facts of the embedded checkpoint; None while it is built."""
    return parse_facts(SHIPPED_FACTS.read_bytes()) if SHIPPED_FACTS.is_file() else None


def _is_intact(folder: Path) -> bool:
    try:
        digests = json.loads((folder / MANIFEST).read_text("utf-8"))
        return bool(digests == {name: _compute_sha256(folder / name) for name in TOWER_FILES})
    except (OSError, ValueError):
        return False


def _compute_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_used(path: Path) -> bytes:
    """The content of a file, which counts as used now."""
    with suppress(OSError):  # a cache that may only be read
        os.utime(path)
        os.utime(path.with_suffix(".blob"))
    return path.read_bytes()


def _write(path: Path, content: bytes) -> Path:
    """Write atomically, but without a flush to the disk: a digest shows what a power cut has damaged."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content, flush=False)
    return path


def _last_used(entry: Path) -> float:
    try:
        return entry.stat().st_mtime
    except OSError:  # another process removed it
        return 0.0


def _remove(entry: Path) -> None:
    if entry.is_dir():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink(missing_ok=True)
