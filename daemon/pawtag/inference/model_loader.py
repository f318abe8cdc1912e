"""From settings to a tagger: the checkpoint found, loaded, verified, its labels embedded."""

import logging
from dataclasses import asdict, dataclass, replace

from pawtag.config import Settings
from pawtag.domain.errors import ModelError
from pawtag.domain.labels import Labels, Thresholds, digest_json
from pawtag.domain.ports import Engine
from pawtag.domain.records import TaggerIdentity
from pawtag.inference import self_test, text_cache
from pawtag.inference.checkpoint import Checkpoint, fallback_checkpoint, find_checkpoint
from pawtag.inference.scoring import embed_words, list_prompts
from pawtag.inference.tagger import Tagger
from pawtag.metrics import Metrics

log = logging.getLogger(__name__)

# Counts up where the pixels that a model is given change: old records then become stale.
PREPROCESSING_VERSION = 1


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A tagger and what an operator wants to know of its model."""

    tagger: Tagger
    checkpoint: Checkpoint
    engine: Engine
    calibrated: bool


def load_model(settings: Settings, labels: Labels, metrics: Metrics | None = None) -> LoadedModel:
    """The wanted model where it is on this machine, else the one that ships: seconds, in the calling thread.

    Raises ModelError for a model that is damaged, or that is not here and has no fallback; ConfigError.
    """
    checkpoint = find_checkpoint(settings.model)
    if checkpoint is None:
        return load_checkpoint(settings, labels, _choose_fallback(settings), metrics)
    try:
        return load_checkpoint(settings, labels, checkpoint, metrics)
    except ModelError as error:
        # What lies in the hub's cache can be downloaded again; a folder of the user's own is his to mend.
        if not checkpoint.is_from_hub or settings.model.fallback == "none":
            raise
        log.error("%s The embedded model serves in its place.", error)  # noqa: TRY400 - the sentence says it all
        return load_checkpoint(settings, labels, fallback_checkpoint(settings.model), metrics)


def load_checkpoint(
    settings: Settings, labels: Labels, checkpoint: Checkpoint, metrics: Metrics | None = None
) -> LoadedModel:
    """Load and verify one checkpoint, and embed the labels' prompts. Raises ModelError, ConfigError."""
    from pawtag.inference.engines.torch import TorchEngine

    model = TorchEngine(checkpoint, settings.model.device, settings.limits.threads)
    self_test.run_self_test(model, checkpoint, settings.model.cache_dir)
    vocabulary = embed_words(labels, text_cache.embed_prompts(model, list_prompts(labels), settings.model.cache_dir))
    measured = _find_calibration(settings, checkpoint)
    thresholds = _apply_settings(settings, measured)
    identity = _identify(checkpoint, model.digest, labels, thresholds)
    tagger = Tagger(model, vocabulary, thresholds, identity=identity, limits=settings.limits, metrics=metrics)
    return LoadedModel(tagger, checkpoint, model, calibrated=measured is not None)


def _identify(checkpoint: Checkpoint, digest: str, labels: Labels, thresholds: Thresholds) -> TaggerIdentity:
    """What makes a record stale, as digests."""
    name = checkpoint.name
    fingerprint = digest_json(
        [name.id, name.revision, digest, labels.fingerprint, asdict(thresholds), PREPROCESSING_VERSION]
    )
    return TaggerIdentity(name, labels.fingerprint, fingerprint)


def _choose_fallback(settings: Settings) -> Checkpoint:
    if settings.model.fallback == "none":
        raise ModelError(
            f"The model {settings.model.id} is not on this machine, and model.fallback is 'none'; "
            "'pawtag model pull' downloads it."
        )
    return fallback_checkpoint(settings.model)


def _find_calibration(settings: Settings, checkpoint: Checkpoint) -> Thresholds | None:
    """What was measured for this model: by the user (the settings), else by whoever made it; None: by nobody."""
    shipped, own = checkpoint.calibration(), settings.model
    if checkpoint.name.fallback or own.threshold is None or own.temperature is None:
        return shipped
    base = shipped or Thresholds()
    return replace(base, tag=own.threshold, secondary=min(own.threshold, base.secondary), temperature=own.temperature)


def _apply_settings(settings: Settings, measured: Thresholds | None) -> Thresholds:
    thresholds, own = measured or Thresholds(), settings.labels.tag_threshold
    return thresholds if own is None else Thresholds(own, min(own, thresholds.secondary), thresholds.temperature)
