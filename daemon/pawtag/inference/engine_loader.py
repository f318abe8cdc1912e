"""Which engine runs a checkpoint on this machine, and loading it together with the labels' vectors."""

import logging
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pawtag.config import Settings
from pawtag.domain.errors import ConfigError, ModelError
from pawtag.domain.labels import Labels
from pawtag.domain.ports import Engine
from pawtag.inference import self_test, text_cache
from pawtag.inference.checkpoint import Checkpoint
from pawtag.inference.scoring import Vocabulary

if TYPE_CHECKING:
    from pawtag.inference.preparation import PreparationRequest, PreparedModel

log = logging.getLogger(__name__)

OnStep = Callable[[str], None]
GPU_DEVICES = ("nvidia0", "nvidiactl", "kfd")


def ignore_step(_: str) -> None:
    """For callers that do not show what a first start is doing."""


def load_engine(
    settings: Settings, labels: Labels, checkpoint: Checkpoint, on_step: OnStep
) -> tuple[Engine, Vocabulary]:
    """The engine, which has passed the self test, and the vectors of the labels. Raises ModelError, ConfigError."""
    loaded = _load_openvino(settings, labels, checkpoint, on_step) if _takes_openvino(settings) else None
    return loaded or _load_torch(settings, labels, checkpoint)


def _takes_openvino(settings: Settings) -> bool:
    """Whether the settings and the machine ask for OpenVINO, the engine of CPUs. Raises ConfigError."""
    engine, device = settings.model.engine, settings.model.device
    if engine == "openvino" and device in ("cuda", "mps"):
        raise ConfigError(f"model.engine openvino runs on CPUs: set model.device to auto or cpu, not {device}.")
    return engine != "torch" and device in ("auto", "cpu") and not (engine == device == "auto" and _has_gpu())


def _has_gpu() -> bool:
    """Whether torch can use a GPU. torch is imported only if there may be a GPU, because the import takes seconds."""
    if sys.platform != "darwin" and not any(Path("/dev", name).exists() for name in GPU_DEVICES):
        return False
    from pawtag.inference.engines.torch import has_gpu

    return has_gpu()


def _load_torch(settings: Settings, labels: Labels, checkpoint: Checkpoint) -> tuple[Engine, Vocabulary]:
    from pawtag.inference.engines.torch import TorchEngine

    engine = TorchEngine(checkpoint, settings.model.device, settings.limits.threads)
    self_test.run_self_test(engine, checkpoint, settings.model.cache_dir)
    return engine, text_cache.embed_vocabulary(engine, labels, settings.model.cache_dir)


def _load_openvino(
    settings: Settings, labels: Labels, checkpoint: Checkpoint, on_step: OnStep
) -> tuple[Engine, Vocabulary] | None:
    """The engine and the vectors, prepared first where they are not; None for a checkpoint that stays on torch."""
    from pawtag.inference.preparation import PreparationError, find_prepared
    from pawtag.inference.preparation_process import prepare_in_child

    request = build_request(settings, labels, checkpoint)
    prepared = find_prepared(request)
    if prepared:
        try:
            return _open(prepared, request)
        except ModelError as error:
            log.warning("%s The model is compiled again.", error)
            with suppress(OSError):  # a cache that may only be read: then a temporary one takes its place
                prepared.path.unlink()
    try:
        with _writable(request.cache) as cache:
            request = request.model_copy(update={"cache": cache})
            prepare_in_child(request, on_step)
            if (prepared := find_prepared(request)) is None:
                raise PreparationError(f"what was prepared cannot be read back from {cache}")
            return _open(prepared, request)
    except (PreparationError, OSError) as error:
        log.warning(
            "The model cannot be prepared for OpenVINO now (%s); torch runs it. If no space is left, set "
            "model.cache_dir to another folder.",
            error,
        )
        return None


def _open(prepared: "PreparedModel", request: "PreparationRequest") -> tuple[Engine, Vocabulary] | None:
    """The engine and the vectors; None for a model that stays on torch. Raises ModelError."""
    from pawtag.inference.engines.openvino import OpenVINOEngine

    compiled = prepared.compiled
    if compiled.refusal:
        log.warning("The model %s stays on torch. %s", request.model.id, compiled.refusal)
        return None
    if compiled.note:
        level = logging.DEBUG if request.precision == "auto" else logging.WARNING
        log.log(level, "%s The model runs in %s.", compiled.note, compiled.precision)
    engine = OpenVINOEngine(prepared.facts, prepared.path, compiled.precision, request.threads)
    self_test.check_picture(engine, request.checkpoint, request.cache)
    engine.release_file()
    return engine, prepared.vocabulary


def build_request(settings: Settings, labels: Labels, checkpoint: Checkpoint) -> "PreparationRequest":
    """What has to be prepared for the checkpoint with these settings."""
    from pawtag.inference.preparation import PreparationRequest

    return PreparationRequest(
        folder=checkpoint.folder,
        model=checkpoint.model,
        labels=labels,
        cache=settings.model.cache_dir,
        precision=settings.model.precision,
        threads=settings.limits.threads,
        thresholds=" ".join(str(value) for value in _list_thresholds(settings)),
    )


def _list_thresholds(settings: Settings) -> tuple[float | None, ...]:
    labels, model = settings.labels, settings.model
    return labels.tag_threshold, labels.presence_threshold, model.threshold, model.temperature


@contextmanager
def _writable(cache: Path) -> Iterator[Path]:
    """The cache folder if it is writable; otherwise a temporary folder, with a warning. Raises OSError."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            pass
    except OSError as error:
        log.warning(
            "%s cannot be written (%s), so each start prepares the model again: set model.cache_dir.",
            cache,
            error.strerror,
        )
        with tempfile.TemporaryDirectory(prefix="pawtag-") as temporary:
            yield Path(temporary)
    else:
        yield cache
