"""Pulling a checkpoint from the hub, with retries."""

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pawtag.domain.backoff import Backoff
from pawtag.domain.errors import ModelError, TemporaryError, UnreachableError
from pawtag.domain.ports import MB, DownloadProgress
from pawtag.inference.hub.api import HubModel, RemoteCheckpoint
from pawtag.inference.hub.download import Download
from pawtag.inference.hub.tuning import HubTuning

log = logging.getLogger(__name__)

DOWNLOAD_BACKOFF = Backoff(first_s=1.0, max_s=3600.0, jitter=0.25)
PROGRESS_INTERVAL_S = 15.0


class Pull:
    """One download, in the thread that calls `run`. `progress` may be read from any thread.

    `max_attempts`: the download ends after this many failures in a row without progress, or after one failure if the
    hub was never reached. None: it never gives up, and the waits grow.
    """

    def __init__(
        self,
        model_id: str,
        revision: str | None,
        *,
        max_attempts: int | None = None,
        tuning: HubTuning | None = None,
    ) -> None:
        """Nothing is requested before `run`. It calls `on_bytes(count)` as bytes arrive."""
        self._model_id, self._revision, self._max_attempts = model_id, revision, max_attempts
        self._hub = HubModel(model_id, tuning or HubTuning())
        self._cancelled = threading.Event()
        self._logged_at_s = time.monotonic()
        self._failures = self._furthest_bytes = 0
        self.progress = DownloadProgress(model_id)
        self.on_bytes: Callable[[int], None] = lambda _: None

    def cancel(self) -> None:
        """End `run` at its next piece or wait."""
        self._cancelled.set()

    def run(self) -> Path:
        """The folder of the complete checkpoint. Raises ModelError if the hub refuses, or after the last attempt."""
        while True:
            try:
                return self._fetch(self._hub.describe(self._revision))
            except TemporaryError as error:
                self._wait_after(error)

    def _fetch(self, remote: RemoteCheckpoint) -> Path:
        if self.progress.total_bytes != remote.total_bytes:
            log.info("downloading %s, %.0f MB", self._model_id, remote.total_bytes / MB)
        self.progress = DownloadProgress(self._model_id, 0, remote.total_bytes, self.progress.reason)
        folder = Download(self._hub, remote, self._count_bytes).fetch()
        log.info("downloaded %s, %.0f MB", self._model_id, remote.total_bytes / MB)
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
        """Wait at least as long as the hub asks for, and longer each time. Raises ModelError after the last attempt."""
        self._failures += 1
        never_reached = isinstance(error, UnreachableError) and self.progress.total_bytes is None
        if self._max_attempts is not None and (never_reached or self._failures >= self._max_attempts):
            raise ModelError(f"{error} The model {self._model_id} cannot be downloaded.") from error
        delay_s = DOWNLOAD_BACKOFF.delay_s(self._failures - 1, first_s=error.delay_s, random_fraction=random.random())
        delay_s = max(error.delay_s, delay_s)
        if str(error) != self.progress.reason:
            log.warning(
                "%s Retrying in %.0f s.", error, delay_s, extra={"reason": str(error), "delay_s": round(delay_s, 1)}
            )
        self.progress = replace(self.progress, reason=str(error))
        if self._cancelled.wait(delay_s):
            raise ModelError("The download was stopped.")
