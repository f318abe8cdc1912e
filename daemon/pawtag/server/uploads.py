"""Reads the photo in a request. Limits apply while it is read, and bad form data is answered with 400."""

import asyncio
import base64
import json
import quopri
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.message import Message
from email.utils import collapse_rfc2231_value

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import RequestPayloadError
from aiohttp.web_exceptions import HTTPException
from multidict import CIMultiDict, CIMultiDictProxy

from pawtag.config import ServerSettings
from pawtag.server.problems import Problem

FIELD = "file"
DISPOSITION = "Pawtag-Disposition"
MAX_PARTS = 100
MIN_BYTES_PER_S = 8_000  # a phone on a poor mobile network sends more
# RFC 7578, 4.7: outdated, and still sent.
DECODERS: dict[str, Callable[[bytearray], bytes]] = {
    "base64": base64.b64decode,
    "quoted-printable": quopri.decodestring,
}
FORM, URL_ENCODED, JSON = "multipart/form-data", "application/x-www-form-urlencoded", "application/json"


@dataclass(frozen=True, slots=True)
class Upload:
    """A photo's bytes, and the base name of its file where the sender says it."""

    data: bytes
    name: str | None = None


async def read_upload(request: web.Request, settings: ServerSettings, take: Callable[[int], None]) -> Upload:
    """The photo: the field `file` of a form or of a JSON document, or the body itself, whatever its Content-Type.

    Calls `take(size)` for each piece that arrives; `take` may raise. Raises Problem: 400 for a broken form, or one
    that does not hold exactly one photo; 408 if the sender stalls; 413 if the body is too large.
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
    """Reads one body, up to `limit` bytes."""

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
        is_document = self._request.content_type == JSON and body.lstrip().startswith(b"{")
        return Upload(_read_document(body) if is_document else bytes(body))

    async def _from_form(self) -> Upload:
        photos: list[Upload] = []
        reader = _FormReader(self._request.headers, self._request.content)
        for _ in range(MAX_PARTS):
            part = await reader.next()
            if part is None:
                return _require_one(photos)
            if not isinstance(part, BodyPartReader):
                raise Problem(400, "The form contains another form, which is not supported.")
            field, name = _read_disposition(part.headers[DISPOSITION])
            content = await self._content(part, is_kept=field == FIELD)
            if field == FIELD and (content or name):  # a file input that was left empty has neither
                photos.append(Upload(content, name))
        raise Problem(400, f"The form has more than {MAX_PARTS} parts.", Connection="close")

    async def _content(self, part: BodyPartReader, *, is_kept: bool) -> bytes:
        content = bytearray()
        while chunk := await part.read_chunk():
            self._take(chunk)
            if is_kept:
                content += chunk
        decode = DECODERS.get(part.headers.get("Content-Transfer-Encoding", "").strip().lower(), bytes)
        return decode(content)

    def _take(self, chunk: bytes) -> None:
        self._taken += len(chunk)
        for observe in self._observers:
            observe(len(chunk))
        if self._taken > self._limit:
            raise _build_too_large(self._limit)


class _FormReader(MultipartReader):
    """aiohttp's reader, but it renames the header Content-Disposition, so that aiohttp does not parse it.

    aiohttp 3.14 finds no name if a file name has two semicolons, and no boundary after a first field `_charset_`.
    """

    async def fetch_next_part(self) -> MultipartReader | BodyPartReader:
        part = await super().fetch_next_part()
        headers = CIMultiDict(part.headers)
        headers[DISPOSITION] = headers.pop("Content-Disposition", "")
        part.headers = CIMultiDictProxy(headers)
        return part


def _read_document(body: bytearray) -> bytes:
    """The photo in `{"file": "data:image/jpeg;base64,..."}`, or in bare base64. Raises Problem."""
    try:
        text = json.loads(body)[FIELD]
        if text.startswith("data:"):
            head, _, text = text.partition(",")
            if not head.endswith(";base64"):
                raise ValueError("the data URL is no base64")
        return base64.b64decode(text, validate=True)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        form = f'{{"{FIELD}": "data:image/jpeg;base64,..."}}'
        raise Problem(400, f"The JSON body is not understood ({error}); send {form}.") from error


def explain_refusal(request: web.Request) -> str:
    """Advice for a sender whose body is not a photo; empty if the Content-Type gives no hint."""
    if request.content_type == URL_ENCODED:
        return " curl -d changes the bytes of a file: send it with --data-binary @FILE, or with -F file=@FILE."
    if request.content_type == JSON:
        return f" Send the photo itself as the body, or as the field {FIELD!r} of multipart form data."
    return ""


def _read_disposition(header: str) -> tuple[str | None, str | None]:
    """The field's name, and the base name of the file (also from a Windows path). A missing one is None.

    This uses the standard library, because aiohttp finds no name if a file name has two semicolons. Bytes that are not
    UTF-8 become replacement characters.
    """
    message = Message()
    message["Content-Disposition"] = header.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    field = message.get_param("name", header="content-disposition")
    name = (message.get_filename() or "").replace("\\", "/").rpartition("/")[2]
    return (collapse_rfc2231_value(field) if field else None), name or None


def _require_one(photos: list[Upload]) -> Upload:
    if len(photos) != 1:
        count = "no photo" if not photos else f"{len(photos)} photos"
        raise Problem(400, f"The form holds {count} in the field {FIELD!r}; send one.")
    return photos[0]


def _build_too_large(limit: int) -> Problem:
    return Problem(413, f"The body is larger than {limit} bytes.", code="too-many-bytes", Connection="close")
