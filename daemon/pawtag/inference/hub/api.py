"""The model hub: the files of a model, and what the hub's refusals mean."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import httpx2
from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status, parse_ratelimit_headers

from pawtag.domain.errors import ModelError, TemporaryError, UnreachableError
from pawtag.inference.checkpoint import (
    CHECKPOINT_FILES,
    CONFIG,
    INDEX,
    PICKLE,
    SAFETENSORS,
    is_pinned,
    parse_shard_index,
)
from pawtag.inference.hub.tuning import HubTuning

COMMIT = re.compile(r"[0-9a-f]{40}")
BLOB_NAME = re.compile(r"[0-9A-Za-z_-]+")
NOT_FOUND = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
HUB_DENIED_STATUSES = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
NO_SPACE, NOT_WRITABLE = (errno.ENOSPC, errno.EDQUOT), (errno.EACCES, errno.EPERM, errno.EROFS)


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a checkpoint. `digest` is the hub's: SHA-256 of a large file, git's SHA-1 of a small one."""

    name: str
    url: str
    digest: str
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class RemoteCheckpoint:
    """The files of a model at one commit that pawtag needs. config.json is the first."""

    model_id: str
    revision: str
    commit: str
    files: tuple[HubFile, ...]

    @property
    def total_bytes(self) -> int:
        """The size of all files together."""
        return sum(file.size_bytes or 0 for file in self.files)


def request_headers() -> dict[str, str]:
    """The headers of each request: the user's token, if any, and no compression, so that sizes are exact."""
    return {**build_hf_headers(), "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class HubModel:
    """One model on the hub. All calls block."""

    model_id: str
    tuning: HubTuning

    def describe(self, revision: str | None) -> RemoteCheckpoint:
        """What there is to download. The first request is short, and not repeated.

        Raises TemporaryError if the hub cannot be reached or is busy; ModelError if it refuses, or has no weights
        that pawtag loads.
        """
        revision = revision or constants.DEFAULT_REVISION
        with self.translate_errors():
            config = self._describe_file(CONFIG, revision)
            if config is None:
                missing = f"no model {self.model_id!r} at the revision {revision!r}"
                raise ModelError(f"The hub {constants.ENDPOINT} has {missing}.")
            commit, first = config
            names = [name for name in CHECKPOINT_FILES if name != CONFIG]
            others = [found[1] for name in names if (found := self._describe_file(name, commit))]
            return RemoteCheckpoint(self.model_id, revision, commit, (first, *others, *self._describe_weights(commit)))

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Turn errors of the hub and of its cache into TemporaryError or ModelError."""
        try:
            yield
        except HfHubHTTPError as error:
            raise self._translate_refusal(error.response) from error
        except httpx2.HTTPError as error:
            reason = f"The model hub {constants.ENDPOINT} cannot be reached ({str(error) or type(error).__name__})."
            raise UnreachableError(reason, self.tuning.short_delay_s) from error
        except OSError as error:
            raise self._translate_disk_error(error) from error

    def _describe_weights(self, commit: str) -> list[HubFile]:
        """Safetensors, in shards if there is an index; pickled weights only if the code pins their digest."""
        if whole := self._describe_file(SAFETENSORS, commit):
            return [whole[1]]
        if index := self._describe_file(INDEX, commit):
            response = get_session().get(index[1].url, headers=request_headers(), timeout=self.tuning.read_timeout_s)
            hf_raise_for_status(response)
            found = [self._describe_file(name, commit) for name in parse_shard_index(response.content)]
            return [index[1], *(each[1] for each in found if each)]
        pickle = self._describe_file(PICKLE, commit)
        if pickle and is_pinned(self.model_id, commit, pickle[1].digest):
            return [pickle[1]]
        raise ModelError(
            f"The model {self.model_id!r} has no weights as safetensors, and pawtag loads pickled ones only if their "
            "digest is pinned."
        )

    def _describe_file(self, name: str, revision: str) -> tuple[str, HubFile] | None:
        """The commit and the file; None if the hub has no file of that name."""
        url = hf_hub_url(self.model_id, name, revision=revision)
        try:
            found = get_hf_file_metadata(url, timeout=self.tuning.probe_timeout_s)
        except HfHubHTTPError as error:
            if error.response.status_code in NOT_FOUND:
                return None
            raise
        if not (COMMIT.fullmatch(found.commit_hash or "") and BLOB_NAME.fullmatch(found.etag or "")):
            reason = f"{constants.ENDPOINT} does not answer like a model hub (perhaps a proxy does); check HF_ENDPOINT."
            raise UnreachableError(reason, self.tuning.long_delay_s)
        return str(found.commit_hash), HubFile(name, url, str(found.etag), found.size)

    def _translate_refusal(self, response: httpx2.Response) -> Exception:
        status = response.status_code
        if status in HUB_DENIED_STATUSES:
            return ModelError(
                f"The model hub refuses {self.model_id!r} ({status}): it does not exist, or it needs a token (HF_TOKEN) "
                "that may read it."
            )
        if status in NOT_FOUND:
            return ModelError(f"The hub {constants.ENDPOINT} has no model {self.model_id!r}, or not at that revision.")
        delay_s = _parse_retry_after(response) or self.tuning.long_delay_s
        return TemporaryError(f"The model hub {constants.ENDPOINT} answers {status}.", delay_s)

    def _translate_disk_error(self, error: OSError) -> Exception:
        cache = constants.HF_HUB_CACHE
        if error.errno in NOT_WRITABLE:
            reason = f"The hub's cache {cache} cannot be written ({error.strerror})"
            return ModelError(f"{reason}; set HF_HOME to a writable folder.")
        if error.errno in NO_SPACE:
            return TemporaryError(f"No space is left in the hub's cache {cache}.", 2 * self.tuning.long_delay_s)
        return TemporaryError(f"The hub's cache {cache} cannot be used: {error}.", self.tuning.long_delay_s)


def _parse_retry_after(response: httpx2.Response) -> float | None:
    """The wait in seconds that a 429 or 503 asks for (Retry-After as seconds or a date, RateLimit's `t`)."""
    asked = response.headers.get("Retry-After", "")
    if asked.isdecimal():
        return float(asked)
    try:
        return max(0.0, (parsedate_to_datetime(asked) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        limit = parse_ratelimit_headers(response.headers)
        return None if limit is None else float(limit.reset_in_seconds)
