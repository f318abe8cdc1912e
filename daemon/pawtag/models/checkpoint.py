"""Which checkpoint folder serves: a folder, the hub client's cache, or the model that ships."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from pawtag.config import EMBEDDED, ModelSettings
from pawtag.errors import ConfigError, ModelError
from pawtag.labels import Thresholds
from pawtag.records import ModelName

EMBEDDED_FOLDER = Path(__file__).parent / EMBEDDED
CALIBRATION, KNOWN_ANSWER = "calibration.json", "known_answer.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
DEFAULT_ID = "openai/clip-vit-base-patch32"
PINNED_REVISIONS = {DEFAULT_ID: "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268"}
PARTS = (".json", ".txt", ".safetensors", ".model")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder that transformers can load, and the name that its records carry."""

    folder: Path
    name: ModelName

    def digest(self) -> str:
        """SHA-256 of all that decides the embeddings: weights, configuration, tokenizer, preprocessing."""
        total = hashlib.sha256()
        for path in sorted(self.folder.iterdir()):
            if path.suffix in PARTS and path.name not in (CALIBRATION, KNOWN_ANSWER):
                total.update(f"{path.name} {_sha256(path)}\n".encode())
        return total.hexdigest()

    def calibration(self) -> Thresholds | None:
        """The thresholds and temperature that were measured for this model; None where nobody has."""
        try:
            document = json.loads((self.folder / CALIBRATION).read_text("utf-8"))
            return Thresholds(**document)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise ModelError(f"The model's {self.folder / CALIBRATION} cannot be read: {error}.") from error


def find(settings: ModelSettings) -> Checkpoint:
    """The checkpoint that serves now, without the network.

    Raises ConfigError for a folder that is none, and ModelError where the model is not on this
    machine and no fallback is wanted.
    """
    if settings.id == EMBEDDED:
        return Checkpoint(EMBEDDED_FOLDER, ModelName(id=EMBEDDED))
    folder = Path(settings.id).expanduser()
    if folder.is_dir():
        return Checkpoint(_checked(folder), ModelName(id=settings.id, revision=settings.revision))
    if settings.id.startswith((".", "~", "/")):
        raise ConfigError(f"The model folder {settings.id} does not exist.")
    revision = settings.revision or PINNED_REVISIONS.get(settings.id)
    cached = _cached(settings.id, revision)
    if cached:
        return Checkpoint(cached, ModelName(id=settings.id, revision=revision))
    if settings.fallback == "none":
        raise ModelError(f"The model {settings.id} is not on this machine, and model.fallback is 'none'.")
    return Checkpoint(EMBEDDED_FOLDER, ModelName(id=EMBEDDED, fallback=True, wanted=settings.id))


def _checked(folder: Path) -> Path:
    if not (folder / "config.json").is_file():
        raise ConfigError(f"The folder {folder} is no checkpoint: it has no config.json.")
    if not any((folder / name).is_file() for name in WEIGHTS):
        raise ConfigError(f"The folder {folder} has no weights as safetensors ({WEIGHTS[0]}).")
    return folder


def _cached(model_id: str, revision: str | None) -> Path | None:
    """The folder of the hub client's cache that holds the model's configuration and weights as safetensors."""
    try:
        config = try_to_load_from_cache(model_id, "config.json", revision=revision)
    except HFValidationError as error:
        raise ConfigError(f"The model {model_id!r} is neither a folder nor a hub id such as {DEFAULT_ID}.") from error
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    return folder if any((folder / name).exists() for name in WEIGHTS) else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
