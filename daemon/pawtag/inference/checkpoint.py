"""Checkpoint folders: a folder of the user, one in the hub client's cache, or the embedded one."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import constants

from pawtag.config import EMBEDDED, ModelSettings
from pawtag.domain.errors import ConfigError, ModelError
from pawtag.domain.labels import Thresholds
from pawtag.domain.records import ModelInfo
from pawtag.inference.hub.verify import compute_sha256, find_digest, is_genuine

EMBEDDED_FOLDER = Path(__file__).parent / EMBEDDED
CALIBRATION, SELF_TEST = "calibration.json", "self_test.json"
CONFIG, SAFETENSORS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
PICKLE = "pytorch_model.bin"
PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
)
CHECKPOINT_FILES = (
    CONFIG,
    *PROCESSOR_FILES,
    *TOKENIZER_FILES,
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
DEFAULT_ID = "openai/clip-vit-base-patch32"
PINNED_REVISIONS = {DEFAULT_ID: "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268"}
# Pickled weights that may be loaded, by model and commit: SHA-256 as a public manifest of that commit gives it.
PINNED_PICKLES = {
    (DEFAULT_ID, PINNED_REVISIONS[DEFAULT_ID]): "a63082132ba4f97a80bea76823f544493bffa8082296d62d71581a4feff1576f"
}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder that transformers can load, and the model that records name."""

    folder: Path
    model: ModelInfo

    @property
    def weights(self) -> tuple[str, ...]:
        """The names of the files that hold the weights, an index first."""
        return list_weights(self.folder) or (PICKLE,)

    @property
    def is_pickled(self) -> bool:
        """Whether the weights are a pinned pickle."""
        return self.weights == (PICKLE,)

    @property
    def is_from_hub(self) -> bool:
        """Whether it is in the hub client's cache: then a download can repair it."""
        return self.folder.is_relative_to(constants.HF_HUB_CACHE)

    def compute_stat_key(self) -> str:
        """A digest of the files' names, sizes, times and inodes: it notices changed files without reading them."""
        names = sorted(name for name in (*CHECKPOINT_FILES, *self.weights) if (self.folder / name).is_file())
        stats = [(name, (self.folder / name).stat()) for name in names]
        facts = [(name, stat.st_size, stat.st_mtime_ns, stat.st_ino) for name, stat in stats]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def read_digests(self) -> dict[str, str]:
        """SHA-256 of each file that decides the embeddings: weights, configuration, tokenizer, preprocessing.

        Raises ModelError for one that differs from what the hub describes, and for pickled weights that are not pinned.
        """
        names = [name for name in (*CHECKPOINT_FILES, *self.weights) if (self.folder / name).is_file()]
        return {name: self._digest(name) for name in sorted(names)}

    def _digest(self, name: str) -> str:
        path = self.folder / name
        promised, found = find_digest(path), compute_sha256(path)
        if promised is not None and promised != found and not is_genuine(path, promised):
            raise ModelError(f"The file {path} is damaged: it is not what the hub serves.")
        if name == PICKLE and not is_pinned(self.model.id, self.model.revision, found):
            raise ModelError(f"The weights {path} are pickled and not pinned by their digest; they are not loaded.")
        return found

    def read_calibration(self) -> Thresholds | None:
        """The thresholds and temperature that ship with the checkpoint; None if there are none."""
        try:
            document = json.loads((self.folder / CALIBRATION).read_text("utf-8"))
            return Thresholds(**document)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise ModelError(f"The model's {self.folder / CALIBRATION} cannot be read: {error}.") from error


def combine_digests(digests: dict[str, str]) -> str:
    """One digest of several files."""
    return hashlib.sha256("".join(f"{name} {digest}\n" for name, digest in digests.items()).encode()).hexdigest()


def find_checkpoint(settings: ModelSettings) -> Checkpoint | None:
    """The configured checkpoint on this machine, without use of the network; None if it is not there.

    Raises ConfigError for a folder that is no checkpoint, and for a text that cannot be a hub id.
    """
    if settings.id == EMBEDDED:
        return Checkpoint(EMBEDDED_FOLDER, ModelInfo(id=EMBEDDED))
    folder = Path(settings.id).expanduser()
    if folder.is_dir():
        return Checkpoint(_require_complete(folder), ModelInfo(id=settings.id, revision=settings.revision))
    if settings.id.startswith((".", "~", "/")):
        raise ConfigError(f"The model folder {settings.id} does not exist.")
    cached = _find_cached(settings.id, find_wanted_revision(settings))
    return Checkpoint(cached, ModelInfo(id=settings.id, revision=cached.name)) if cached else None


def find_fallback_checkpoint(settings: ModelSettings) -> Checkpoint:
    """The embedded checkpoint, as the fallback of the configured one."""
    return Checkpoint(EMBEDDED_FOLDER, ModelInfo(id=EMBEDDED, fallback=True, wanted=settings.id))


def find_wanted_revision(settings: ModelSettings) -> str | None:
    """The revision to ask for; None for the hub's newest."""
    return settings.revision or PINNED_REVISIONS.get(settings.id)


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids the hub client to connect."""
    return bool(constants.HF_HUB_OFFLINE)


def is_pinned(model_id: str, revision: str | None, digest: str) -> bool:
    """Whether the code pins exactly this file of pickled weights."""
    return PINNED_PICKLES.get((model_id, revision or "")) == digest


def parse_shard_index(index: bytes) -> list[str]:
    """The files that an index of weights names. Raises ModelError for what is no index."""
    try:
        names = set(json.loads(index)["weight_map"].values())
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelError(f"The model's {INDEX} is no index of weights.") from error
    if any(not isinstance(name, str) or "/" in name or not name.endswith(".safetensors") for name in names):
        raise ModelError(f"The model's {INDEX} names files that are no safetensors in its folder.")
    return sorted(names)


def list_weights(folder: Path) -> tuple[str, ...]:
    """The files of safetensors, an index first; empty where they are not all there."""
    if (folder / SAFETENSORS).is_file():
        return (SAFETENSORS,)
    if not (folder / INDEX).is_file():
        return ()
    names = parse_shard_index((folder / INDEX).read_bytes())
    return (INDEX, *names) if all((folder / name).is_file() for name in names) else ()


def _missing_file(folder: Path) -> str | None:
    """The first file that the folder lacks to be a checkpoint; None if it is complete."""
    if not (folder / CONFIG).is_file():
        return CONFIG
    if not any((folder / name).is_file() for name in PROCESSOR_FILES):
        return PROCESSOR_FILES[0]
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        return "tokenizer's files"
    if list_weights(folder) or (_is_pinned_snapshot(folder) and (folder / PICKLE).is_file()):
        return None
    return f"weights as safetensors ({SAFETENSORS})"


def _is_pinned_snapshot(folder: Path) -> bool:
    """Whether the folder is a commit in the hub's cache, and the code pins pickled weights of this commit."""
    from huggingface_hub.file_download import repo_folder_name  # the client takes a tenth of a second

    named = {(repo_folder_name(repo_id=model_id, repo_type="model"), commit) for model_id, commit in PINNED_PICKLES}
    return (folder.parent.parent.name, folder.name) in named


def _require_complete(folder: Path) -> Path:
    if missing := _missing_file(folder):
        raise ConfigError(f"The folder {folder} is no checkpoint: it has no {missing}.")
    return folder


def _find_cached(model_id: str, revision: str | None) -> Path | None:
    """The folder of the hub client's cache that holds the whole model."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config: Any = try_to_load_from_cache(model_id, CONFIG, revision=revision)
    except HFValidationError as error:
        raise ConfigError(f"The model {model_id!r} is neither a folder nor a hub id such as {DEFAULT_ID}.") from error
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    return folder if _missing_file(folder) is None else None
