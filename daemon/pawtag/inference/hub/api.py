"""The model hub: what it holds of a model, and what its refusals mean."""

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

PROBE_TIMEOUT_S, READ_TIMEOUT_S = 8.0, 20.0
COMMIT = re.compile(r"[0-9a-f]{40}")
BLOB_NAME = re.compile(r"[0-9A-Za-z_-]+")
NOT_FOUND = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
ACCESS_DENIED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
NO_SPACE, NOT_WRITABLE = (errno.ENOSPC, errno.EDQUOT), (errno.EACCES, errno.EPERM, errno.EROFS)
SHORT_DELAY_S, LONG_DELAY_S = 2.0, 15.0


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a checkpoint. `digest` is the hub's: SHA-256 of a large file, git's SHA-1 of a small one."""

    name: str
    url: str
    digest: str
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class RemoteCheckpoint:
    """What the hub holds of a model at one commit, as far as it is wanted; config.json is the first file."""

    model_id: str
    revision: str
    commit: str
    files: tuple[HubFile, ...]

    @property
    def total_bytes(self) -> int:
        """The size of it all."""
        return sum(file.size_bytes or 0 for file in self.files)


def is_offline() -> bool:
    """Whether the hub client was told never to connect (HF_HUB_OFFLINE)."""
    return bool(constants.HF_HUB_OFFLINE)


def describe_model(model_id: str, revision: str | None) -> RemoteCheckpoint:
    """What there is to download. The first question is short, and not repeated.

    Raises TemporaryError where the hub cannot be reached or is busy, ModelError where it refuses, or holds no
    weights that pawtag loads.
    """
    revision = revision or constants.DEFAULT_REVISION
    with translate_errors(model_id):
        config = _describe_file(model_id, CONFIG, revision)
        if config is None:
            raise ModelError(f"The hub {constants.ENDPOINT} has no model {model_id!r} at the revision {revision!r}.")
        commit, first = config
        others = [
            found[1]
            for name in CHECKPOINT_FILES
            if name != CONFIG and (found := _describe_file(model_id, name, commit))
        ]
        return RemoteCheckpoint(model_id, revision, commit, (first, *others, *_describe_weights(model_id, commit)))


@contextmanager
def translate_errors(model_id: str) -> Iterator[None]:
    """Turn whatever goes wrong with the hub or its cache into TemporaryError or ModelError."""
    try:
        yield
    except HfHubHTTPError as error:
        raise _translate_refusal(error.response, model_id) from error
    except httpx2.HTTPError as error:
        what = str(error) or type(error).__name__
        raise UnreachableError(
            f"The model hub {constants.ENDPOINT} cannot be reached ({what}).", SHORT_DELAY_S
        ) from error
    except OSError as error:
        raise _translate_disk_error(error) from error


def request_headers() -> dict[str, str]:
    """Those of each request: the user's token where there is one, and no compression, so that sizes are true."""
    return {**build_hf_headers(), "Accept-Encoding": "identity"}


def _describe_weights(model_id: str, commit: str) -> list[HubFile]:
    """Safetensors; in shards where there is an index; pickled weights only where the code pins their digest."""
    if whole := _describe_file(model_id, SAFETENSORS, commit):
        return [whole[1]]
    if index := _describe_file(model_id, INDEX, commit):
        response = get_session().get(index[1].url, headers=request_headers(), timeout=READ_TIMEOUT_S)
        hf_raise_for_status(response)
        found = [_describe_file(model_id, name, commit) for name in parse_shard_index(response.content)]
        return [index[1], *(each[1] for each in found if each)]
    if (pickle := _describe_file(model_id, PICKLE, commit)) and is_pinned(model_id, commit, pickle[1].digest):
        return [pickle[1]]
    raise ModelError(
        f"The model {model_id!r} has no weights as safetensors, and pickled ones are loaded only where their "
        "digest is pinned."
    )


def _describe_file(model_id: str, name: str, revision: str) -> tuple[str, HubFile] | None:
    """The commit and the file; None where the hub has no file of that name."""
    url = hf_hub_url(model_id, name, revision=revision)
    try:
        found = get_hf_file_metadata(url, timeout=PROBE_TIMEOUT_S)
    except HfHubHTTPError as error:
        if error.response.status_code in NOT_FOUND:
            return None
        raise
    if not (COMMIT.fullmatch(found.commit_hash or "") and BLOB_NAME.fullmatch(found.etag or "")):
        raise UnreachableError(
            f"{constants.ENDPOINT} does not answer as a model hub does (a proxy's page?); see HF_ENDPOINT.",
            LONG_DELAY_S,
        )
    return str(found.commit_hash), HubFile(name, url, str(found.etag), found.size)


def _translate_refusal(response: httpx2.Response, model_id: str) -> Exception:
    status = response.status_code
    if status in ACCESS_DENIED:
        return ModelError(
            f"The model hub refuses {model_id!r} ({status}): it does not exist, or it needs a token (HF_TOKEN) that "
            "may read it."
        )
    if status in NOT_FOUND:
        return ModelError(f"The hub {constants.ENDPOINT} has no model {model_id!r}, or not at that revision.")
    delay_s = _parse_retry_after(response) or LONG_DELAY_S
    return TemporaryError(f"The model hub {constants.ENDPOINT} answers {status}.", delay_s)


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


def _translate_disk_error(error: OSError) -> Exception:
    cache = constants.HF_HUB_CACHE
    if error.errno in NOT_WRITABLE:
        return ModelError(
            f"The hub's cache {cache} cannot be written ({error.strerror}); set HF_HOME to a folder that can."
        )
    if error.errno in NO_SPACE:
        return TemporaryError(f"There is no space left in the hub's cache {cache}.", 2 * LONG_DELAY_S)
    return TemporaryError(f"The hub's cache {cache} cannot be used: {error}.", LONG_DELAY_S)
