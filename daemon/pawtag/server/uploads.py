"""The photo in a request: limits hold while it is read, and bad form data is the sender's mistake."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import RequestPayloadError
from aiohttp.web_exceptions import HTTPException

from pawtag.config import ServerSettings
from pawtag.server.problems import Problem

FIELD = "file"
MAX_PARTS = 100
MIN_BYTES_PER_S = 8_000  # a phone on a poor mobile network sends more
FORM, URL_ENCODED, JSON = "multipart/form-data", "application/x-www-form-urlencoded", "application/json"


@dataclass(frozen=True, slots=True)
class Upload:
    """A photo's bytes, and the base name of its file where the sender says it."""

    data: bytes
    name: str | None = None


async def read_upload(request: web.Request, settings: ServerSettings, take: Callable[[int], None]) -> Upload:
    """The photo: the form's field `file`, or the body itself, whatever its Content-Type says.

    Calls `take(bytes)` for each piece that arrives; it may raise. Raises Problem: 400 for a form that is broken,
    or that holds no photo or two; 408 for a sender that stalls; 413.
    """
    limit = settings.max_upload_bytes
    if (request.content_length or 0) > limit:
        raise _build_too_large(limit)
    try:
        async with asyncio.timeout(settings.stall_timeout_s) as deadline:
            observers = (_StallDeadline(deadline, settings.stall_timeout_s), take)
            return await _Reading(request, limit, observers).photo()
    except TimeoutError as error:
        pace = f"within {settings.stall_timeout_s:g} s, or came slower than {MIN_BYTES_PER_S} bytes a second"
        raise Problem(408, f"The next part of the body did not arrive {pace}.", Connection="close") from error
    except (
        HttpProcessingError,
        RequestPayloadError,
        HTTPException,
        ValueError,
        RuntimeError,
        AssertionError,
        LookupError,
    ) as error:
        raise Problem(400, f"The request's body is malformed: {error}.", Connection="close") from error


class _StallDeadline:
    """Moves the deadline as bytes arrive: a pause ends the request, and so does a pace below the minimum."""

    def __init__(self, deadline: asyncio.Timeout, stall_timeout_s: float) -> None:
        self._deadline, self._stall_timeout_s = deadline, stall_timeout_s
        self._loop = asyncio.get_running_loop()
        self._started_s, self._received_bytes = self._loop.time(), 0

    def __call__(self, size_bytes: int) -> None:
        self._received_bytes += size_bytes
        at_pace_s = self._started_s + self._received_bytes / MIN_BYTES_PER_S
        self._deadline.reschedule(min(self._loop.time(), at_pace_s) + self._stall_timeout_s)


class _Reading:
    """One body, of which no more than `limit` bytes are taken."""

    def __init__(self, request: web.Request, limit: int, observers: Sequence[Callable[[int], None]]) -> None:
        self._request, self._limit, self._observers = request, limit, observers
        self._taken = 0

    async def photo(self) -> Upload:
        if self._request.content_type == FORM:
            return await self._from_form()
        body = bytearray()
        async for chunk in self._request.content.iter_any():
            self._take(chunk)
            body += chunk
        if not body:
            raise Problem(
                400, f"There is no photo: send one as the body, or as the form field {FIELD!r}.", code="empty"
            )
        return Upload(bytes(body))

    async def _from_form(self) -> Upload:
        photos: list[Upload] = []
        reader = await self._request.multipart()
        for _ in range(MAX_PARTS):
            part = await reader.next()
            if part is None:
                return _require_one(photos)
            if not isinstance(part, BodyPartReader):
                raise Problem(400, "The form holds a form of its own.")
            content = await self._content(part)
            if part.name == FIELD:
                photos.append(Upload(content, _read_base_name(part.filename)))
        raise Problem(400, f"The form has more than {MAX_PARTS} parts.", Connection="close")

    async def _content(self, part: BodyPartReader) -> bytes:
        content = bytearray()
        while chunk := await part.read_chunk():
            self._take(chunk)
            if part.name == FIELD:
                content += chunk
        return bytes(content)

    def _take(self, chunk: bytes) -> None:
        self._taken += len(chunk)
        for observe in self._observers:
            observe(len(chunk))
        if self._taken > self._limit:
            raise _build_too_large(self._limit)


def explain_refusal(request: web.Request) -> str:
    """What the sender of a body that is no photo can do; empty where its form says nothing."""
    if request.content_type == URL_ENCODED:
        return " curl -d changes the bytes of a file: send it with --data-binary @FILE, or with -F file=@FILE."
    if request.content_type == JSON:
        return f" Send the photo itself as the body, or as the field {FIELD!r} of multipart form data."
    return ""


def _read_base_name(filename: str | None) -> str | None:
    """The base name, also of a Windows path. Bytes that are not UTF-8 become replacement characters."""
    name = (filename or "").replace("\\", "/").rpartition("/")[2]
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace") or None


def _require_one(photos: list[Upload]) -> Upload:
    if len(photos) != 1:
        count = "no photo" if not photos else f"{len(photos)} photos"
        raise Problem(400, f"The form holds {count} in the field {FIELD!r}; send one.")
    return photos[0]


def _build_too_large(limit: int) -> Problem:
    return Problem(413, f"The body is larger than {limit} bytes.", code="too-many-bytes", Connection="close")
