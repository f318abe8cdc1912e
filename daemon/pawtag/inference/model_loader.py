"""Loading a model: the checkpoint is found, loaded and tested, and the labels are embedded."""

import logging
from dataclasses import asdict, replace

from pawtag.config import Settings
from pawtag.domain.errors import ModelError
from pawtag.domain.labels import Labels, Thresholds, digest_json
from pawtag.domain.records import TaggerIdentity
from pawtag.inference.checkpoint import Checkpoint, find_checkpoint, find_fallback_checkpoint
from pawtag.inference.engine_loader import OnStep, ignore_step, load_engine
from pawtag.inference.loaded_model import LoadedModel

log = logging.getLogger(__name__)

# Raise it when the pixels of the model's input change: old records become stale.
PREPROCESSING_VERSION = 2
# Measured with scripts/views.py: a lower threshold adds more false tags than it finds animals.
PARTS_THRESHOLD = 0.98


def load_model(settings: Settings, labels: Labels, on_step: OnStep = ignore_step) -> LoadedModel:
    """The configured model if it is on this machine, otherwise the embedded one. It blocks for seconds.

    `on_step` gets each step of a first start.

    Raises ConfigError, and ModelError for a damaged model, or a missing one without a fallback.
    """
    checkpoint = find_checkpoint(settings.model)
    if checkpoint is None:
        return load_checkpoint(settings, labels, _choose_fallback(settings), on_step)
    try:
        return load_checkpoint(settings, labels, checkpoint, on_step)
    except ModelError as error:
        # A model of the hub can be downloaded again; a folder of the user must be repaired by the user.
        if not checkpoint.is_from_hub or settings.model.fallback == "none":
            raise
        log.error("%s The embedded model serves instead.", error)  # noqa: TRY400 - the sentence says it all
        return load_checkpoint(settings, labels, find_fallback_checkpoint(settings.model), on_step)


def load_checkpoint(
    settings: Settings,
    labels: Labels,
    checkpoint: Checkpoint,
    on_step: OnStep = ignore_step,
) -> LoadedModel:
    """Load and verify one checkpoint, and embed the labels' prompts. Raises ModelError, ConfigError."""
    engine, vocabulary = load_engine(settings, labels, checkpoint, on_step)
    thresholds, calibrated = _find_thresholds(settings, checkpoint)
    identity = _build_identity(checkpoint, engine.digest, labels, thresholds)
    return LoadedModel(engine, vocabulary, thresholds, identity, checkpoint, calibrated)


def _build_identity(checkpoint: Checkpoint, digest: str, labels: Labels, thresholds: Thresholds) -> TaggerIdentity:
    """The identity: its fingerprint covers everything that makes a record stale, and no name or place of the model.

    `digest`: that of weights, tokenizer and preprocessing.
    """
    decisive = {name: value for name, value in asdict(thresholds).items() if value is not None}
    fingerprint = digest_json([digest, labels.fingerprint, decisive, PREPROCESSING_VERSION])
    return TaggerIdentity(checkpoint.model, labels.fingerprint, fingerprint)


def _choose_fallback(settings: Settings) -> Checkpoint:
    if settings.model.fallback == "none":
        raise ModelError(
            f"The model {settings.model.id} is not on this machine, and model.fallback is 'none'; "
            "'pawtag model pull' downloads it."
        )
    return find_fallback_checkpoint(settings.model)


def _find_thresholds(settings: Settings, checkpoint: Checkpoint) -> tuple[Thresholds, bool]:
    """The thresholds in force, and whether they were measured. Settings override those that ship with the model.

    `model.threshold` and `model.temperature` apply to the configured model, not to its fallback. The settings of
    `labels` apply to every model.
    """
    shipped, model, labels = checkpoint.read_calibration(), settings.model, settings.labels
    found, is_measured = shipped or Thresholds(), shipped is not None
    if not checkpoint.model.fallback:
        is_measured |= model.threshold is not None and model.temperature is not None
        found = _override_tag(found, model.threshold)
        found = found if model.temperature is None else replace(found, temperature=model.temperature)
    if labels.tag_threshold is not None:
        found = replace(_override_tag(found, labels.tag_threshold), labels={})
        if model.threshold is not None:
            log.warning("model.threshold has no effect, because labels.tag_threshold is set")
    presence = found.presence if labels.presence_threshold is None else labels.presence_threshold
    parts = PARTS_THRESHOLD if labels.views == "parts" else None
    return replace(found, presence=presence, parts=parts), is_measured


def _override_tag(thresholds: Thresholds, tag: float | None) -> Thresholds:
    """`thresholds` with another threshold for tags. The threshold for further labels is never higher than that."""
    return thresholds if tag is None else replace(thresholds, tag=tag, secondary=min(tag, thresholds.secondary))
