"""What the log says at startup: the model, the address, the sources."""

import logging
import os
from pathlib import Path

from pawtag.config import Settings
from pawtag.inference.loaded_model import LoadedModel

log = logging.getLogger(__name__)

MAX_SHOWN = 20


def log_startup(loaded: LoadedModel, address: str, *, may_download: bool) -> None:
    """Log the model and the address."""
    model = loaded.checkpoint.model
    if model.fallback:
        until = "until it is downloaded" if may_download else "(model.download or HF_HUB_OFFLINE forbids the download)"
        log.warning("the model %s is not on this machine; the embedded model serves %s", model.wanted, until)
    calibrated = "calibrated" if loaded.calibrated else "not calibrated"
    log.info("model %s (%s), %s", model.id, loaded.engine.description, calibrated)
    log.info("listening on %s (POST /tag)", address)


def log_sources(settings: Settings, root: Path | None) -> None:
    """Log each source, and what keeps it from working."""
    for url in settings.s3.queue_urls:
        log.info("receiving from the queue %s", url)
    if settings.s3.bucket and (settings.s3.rescan_s or not settings.s3.queue_urls):
        log.info("listing the bucket %s, notifications at POST /notifications/s3", settings.s3.bucket)
        if settings.server.api_key is None:
            log.warning("without server.api_key the daemon accepts no notifications; only the resync finds new photos")
    if root is not None:
        log.info("watching %s", root)
        if not root.exists():
            log.warning("the folder %s does not exist yet; pawtag watches it as soon as it exists", root)
        _warn_if_unwritable(settings, root)


def log_abandoned(uris: list[str]) -> None:
    """Log the photos that a process was working on when it ended without a clean shutdown."""
    if uris:
        shown = ", ".join(uris[:MAX_SHOWN]) + (f" and {len(uris) - MAX_SHOWN} more" if len(uris) > MAX_SHOWN else "")
        log.warning(
            "an earlier process ended while it worked on %s; each photo is first decoded in a separate process", shown
        )


def _warn_if_unwritable(settings: Settings, root: Path) -> None:
    """Docker creates a missing folder as root: name the owner, and the command that helps."""
    folder = settings.sidecar.dir or root
    if folder.is_dir() and not os.access(folder, os.W_OK):
        owner, user, group = folder.stat().st_uid, os.getuid(), os.getgid()
        log.warning(
            "%s belongs to user %d, and pawtag runs as user %d: it cannot write sidecars there; "
            "run 'chown %d:%d' on the folder (on the host, if this is a container) or set sidecar.dir",
            *(folder, owner, user, user, group),
        )
