"""Loading a model: the checkpoint is found, loaded and tested, and the labels are embedded."""

import logging
from dataclasses import asdict, dataclass, replace

from pawtag.config import Settings
from pawtag.domain.errors import ModelError
from pawtag.domain.labels import Labels, Thresholds, digest_json
from pawtag.domain.ports import Engine
from pawtag.domain.records import TaggerIdentity
from pawtag.inference.checkpoint import Checkpoint, find_checkpoint, find_fallback_checkpoint
from pawtag.inference.engine_loader import OnStep, ignore_step, load_engine
from pawtag.inference.tagger import Tagger
from pawtag.metrics import Metrics

log = logging.getLogger(__name__)

# Raise it when the pixels of the model's input change: old records become stale.
PREPROCESSING_VERSION = 2


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A tagger with its checkpoint and engine."""

    tagger: Tagger
    checkpoint: Checkpoint
    engine: Engine
    calibrated: bool


def load_model(
    settings: Settings, labels: Labels, metrics: Metrics | None = None, on_step: OnStep = ignore_step
) -> LoadedModel:
    """The wanted model if it is on this machine, else the embedded one. Takes seconds, in the calling thread.

    `on_step` hears what a first start is doing.

    Raises ConfigError, and ModelError for a damaged model, or a missing one without a fallback.
    """
    checkpoint = find_checkpoint(settings.model)
    if checkpoint is None:
        return load_checkpoint(settings, labels, _choose_fallback(settings), metrics, on_step)
    try:
        return load_checkpoint(settings, labels, checkpoint, metrics, on_step)
    except ModelError as error:
        # A model of the hub can be downloaded again; a folder of the user must be repaired by the user.
        if not checkpoint.is_from_hub or settings.model.fallback == "none":
            raise
        log.error("%s The embedded model serves instead.", error)  # noqa: TRY400 - the sentence says it all
        return load_checkpoint(settings, labels, find_fallback_checkpoint(settings.model), metrics, on_step)


def load_checkpoint(
    settings: Settings,
    labels: Labels,
    checkpoint: Checkpoint,
    metrics: Metrics | None = None,
    on_step: OnStep = ignore_step,
) -> LoadedModel:
    """Load and verify one checkpoint, and embed the labels' prompts. Raises ModelError, ConfigError."""
    engine, vocabulary = load_engine(settings, labels, checkpoint, on_step)
    calibration = _find_calibration(settings, checkpoint)
    thresholds = _apply_settings(settings, calibration)
    identity = _build_identity(checkpoint, engine.digest, labels, thresholds)
    tagger = Tagger(engine, vocabulary, thresholds, identity=identity, limits=settings.limits, metrics=metrics)
    return LoadedModel(tagger, checkpoint, engine, calibrated=calibration is not None)


def _build_identity(checkpoint: Checkpoint, digest: str, labels: Labels, thresholds: Thresholds) -> TaggerIdentity:
    """The identity: its fingerprint covers everything that makes a record stale."""
    model = checkpoint.model
    fingerprint = digest_json(
        [model.id, model.revision, digest, labels.fingerprint, asdict(thresholds), PREPROCESSING_VERSION]
    )
    return TaggerIdentity(model, labels.fingerprint, fingerprint)


def _choose_fallback(settings: Settings) -> Checkpoint:
    if settings.model.fallback == "none":
        raise ModelError(
            f"The model {settings.model.id} is not on this machine, and model.fallback is 'none'; "
            "'pawtag model pull' downloads it."
        )
    return find_fallback_checkpoint(settings.model)


def _find_calibration(settings: Settings, checkpoint: Checkpoint) -> Thresholds | None:
    """The calibration: that of the settings, else the one that ships with the checkpoint; None without any."""
    shipped, configured = checkpoint.read_calibration(), settings.model
    if checkpoint.model.fallback or configured.threshold is None or configured.temperature is None:
        return shipped
    base = shipped or Thresholds()
    return replace(
        base,
        tag=configured.threshold,
        secondary=min(configured.threshold, base.secondary),
        temperature=configured.temperature,
    )


def _apply_settings(settings: Settings, calibration: Thresholds | None) -> Thresholds:
    thresholds, configured = calibration or Thresholds(), settings.labels.tag_threshold
    return (
        thresholds
        if configured is None
        else Thresholds(configured, min(configured, thresholds.secondary), thresholds.temperature)
    )
