"""The photo in a request: limits hold while it is read, and bad form data is the sender's mistake."""

import asyncio
from collections.abc import Callable

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import RequestPayloadError
from aiohttp.web_exceptions import HTTPException

from pawtag.config import ServerSettings
from pawtag.server.problems import Problem

FIELD = "file"
MAX_PARTS = 100
FORM = "multipart/form-data"


async def read_photo(request: web.Request, settings: ServerSettings, take: Callable[[int], None]) -> bytes:
    """The photo's bytes: the form's field `file`, or the body itself, whatever its Content-Type says.

    `take(bytes)` is told of each piece as it comes, and may raise. Raises Problem: 400 for a form that is
    broken, or that holds no photo or two; 408; 413.
    """
    limit = settings.max_upload_bytes
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    try:
        async with asyncio.timeout(settings.read_timeout_s):
            return await _Reading(request, limit, take).photo()
    except TimeoutError as error:
        raise Problem(
            408, f"The body did not arrive within {settings.read_timeout_s:g} s.", Connection="close"
        ) from error
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


class _Reading:
    """One body, of which no more than `limit` bytes are taken."""

    def __init__(self, request: web.Request, limit: int, take: Callable[[int], None]) -> None:
        self._request, self._limit, self._tell = request, limit, take
        self._taken = 0

    async def photo(self) -> bytes:
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
        return bytes(body)

    async def _from_form(self) -> bytes:
        photos: list[bytes] = []
        reader = await self._request.multipart()
        for _ in range(MAX_PARTS):
            part = await reader.next()
            if part is None:
                return _require_one(photos)
            if not isinstance(part, BodyPartReader):
                raise Problem(400, "The form holds a form of its own.")
            content = await self._content(part)
            if part.name == FIELD:
                photos.append(content)
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
        self._tell(len(chunk))
        if self._taken > self._limit:
            raise _too_large(self._limit)


def _require_one(photos: list[bytes]) -> bytes:
    if len(photos) != 1:
        count = "no photo" if not photos else f"{len(photos)} photos"
        raise Problem(400, f"The form holds {count} in the field {FIELD!r}; send one.")
    return photos[0]


def _too_large(limit: int) -> Problem:
    return Problem(413, f"The body is larger than {limit} bytes.", code="too-many-bytes", Connection="close")
