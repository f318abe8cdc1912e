"""Getting the wanted checkpoint from the hub, tried again for as long as it may help."""

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pawtag.domain.errors import ModelError, TemporaryError, UnreachableError
from pawtag.domain.ports import MB, DownloadProgress
from pawtag.inference.hub.api import RemoteCheckpoint, describe_model
from pawtag.inference.hub.download import Download

log = logging.getLogger(__name__)

MAX_DELAY_S = 3600.0
PROGRESS_INTERVAL_S = 15.0


class Pull:
    """One download, in the thread that calls `run`; `progress` may be read from any thread.

    `tries`: how often in a row it may fail without getting further, once where the hub was never reached; None: for
    as long as it takes, with growing waits.
    """

    def __init__(self, model_id: str, revision: str | None, *, max_attempts: int | None = None) -> None:
        """Nothing is asked yet. `on_bytes` hears of progress."""
        self._model_id, self._revision, self._max_attempts = model_id, revision, max_attempts
        self._cancelled = threading.Event()
        self._logged_at_s = time.monotonic()
        self._failures = self._furthest_bytes = 0
        self.progress = DownloadProgress(model_id)
        self.on_bytes: Callable[[int], None] = lambda _: None

    def cancel(self) -> None:
        """Let `run` end at its next piece or wait."""
        self._cancelled.set()

    def run(self) -> Path:
        """The checkpoint's folder, whole. Raises ModelError where the hub refuses, or all tries are used up."""
        while True:
            try:
                return self._fetch(describe_model(self._model_id, self._revision))
            except TemporaryError as error:
                self._wait_after(error)

    def _fetch(self, offer: RemoteCheckpoint) -> Path:
        if self.progress.total_bytes != offer.total_bytes:
            log.info("downloading %s, %.0f MB", self._model_id, offer.total_bytes / MB)
        self.progress = DownloadProgress(self._model_id, 0, offer.total_bytes, self.progress.reason)
        folder = Download(offer, self._count_bytes).fetch()
        log.info("downloaded %s, %.0f MB", self._model_id, offer.total_bytes / MB)
        return folder

    def _count_bytes(self, count: int) -> None:
        if self._cancelled.is_set():
            raise ModelError("The download was stopped.")
        self.progress = replace(self.progress, done_bytes=self.progress.done_bytes + count, reason=None)
        if self.progress.done_bytes > self._furthest_bytes:
            self._furthest_bytes, self._failures = self.progress.done_bytes, 0
        self.on_bytes(count)
        if time.monotonic() - self._logged_at_s >= PROGRESS_INTERVAL_S:
            self._logged_at_s = time.monotonic()
            log.info("downloading %s: %s", self._model_id, self.progress)

    def _wait_after(self, error: TemporaryError) -> None:
        """Wait as long as was asked for, and longer each time. Raises ModelError after the last try."""
        self._failures += 1
        never_reached = isinstance(error, UnreachableError) and self.progress.total_bytes is None
        if self._max_attempts is not None and (never_reached or self._failures >= self._max_attempts):
            raise ModelError(f"{error} The model {self._model_id} cannot be downloaded.") from error
        delay_s = min(MAX_DELAY_S, error.delay_s * 2 ** min(self._failures - 1, 10))
        delay_s = max(error.delay_s, delay_s * random.uniform(0.75, 1.25))
        if str(error) != self.progress.reason:
            log.warning("%s Trying again in %.0f s.", error, delay_s)
        self.progress = replace(self.progress, reason=str(error))
        if self._cancelled.wait(delay_s):
            raise ModelError("The download was stopped.")
