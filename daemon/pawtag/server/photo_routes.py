"""The routes of the page's photos: /photos, and of one its record, thumbnail, corrections and retry."""

import asyncio
import json
from typing import Any, get_args

from aiohttp import web

from pawtag.domain.corrections import parse_corrections
from pawtag.domain.errors import GoneError
from pawtag.domain.outcomes import PhotoSkipped
from pawtag.domain.records import REQUEST_SCHEME, Corrections, PhotoRef, RecordStatus, TagRecord
from pawtag.pipeline.photo_operations import PhotoOperations
from pawtag.server.photo_row import build_row, has_thumbnail
from pawtag.server.problems import RETRY_AFTER_S, Problem
from pawtag.server.server_state import SERVER_STATE, ServerState
from pawtag.state.results import RecentResult, RecentResults

DEFAULT_ROWS, MAX_ROWS = 100, 500
MAX_NUMBER = 2**63 - 1  # of SQLite
MAX_CORRECTION_BYTES = 64 * 1024
THUMBNAIL_HEADERS = {"Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff"}
GONE = "There is no such photo; it may have been removed."

photo_routes = web.RouteTableDef()


@photo_routes.get("/photos")
async def list_photos(request: web.Request) -> web.Response:
    """The newest photos, newest first. `next`: `before` of those that follow; `last_event_id`: where /events goes on."""
    results = await require_results(request.app[SERVER_STATE])
    status, limit, before = _read_status(request), _read_limit(request), read_number(request, "before")
    last = await asyncio.to_thread(results.find_last_number)
    found = await asyncio.to_thread(results.list_newest, status, limit, before)
    rows = [build_row(result, result.record) for result in found if result.record]
    following = str(found[-1].number) if len(found) == limit else None  # a string: JavaScript would round it
    return web.json_response({"photos": rows, "next": following, "last_event_id": str(last)})


@photo_routes.get("/photos/{id}")
async def show_photo(request: web.Request) -> web.Response:
    """The record of one photo."""
    _, record = await _find(request)
    return web.json_response(record.to_document())


@photo_routes.get("/photos/{id}/thumbnail")
async def show_thumbnail(request: web.Request) -> web.Response:
    """A small JPEG, upright, without metadata."""
    state = request.app[SERVER_STATE]
    result, _ = await _find(request)
    if not has_thumbnail(result):
        raise Problem(404, "This photo has no thumbnail.")
    headers = THUMBNAIL_HEADERS | {"ETag": f'"{result.number}"'}
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return web.Response(status=304, headers=headers)
    content = state.thumbnails.get(result.photo_id, result.number) or await _make_thumbnail(state, result)
    return web.Response(body=content, content_type="image/jpeg", headers=headers)


@photo_routes.put("/photos/{id}/corrections")
async def correct_photo(request: web.Request) -> web.Response:
    """Write what is right, in the place of all earlier corrections of the photo; `null` takes them back."""
    state = request.app[SERVER_STATE]
    result, _ = await _find(request)
    corrections = await _read_corrections(request, state)
    record = await _operate(state, result, lambda operations: operations.correct(result.uri, corrections))
    return web.json_response(build_row(result, record))


@photo_routes.post("/photos/{id}/retry")
async def retry_photo(request: web.Request) -> web.Response:
    """Tag a failed photo again."""
    state = request.app[SERVER_STATE]
    result, record = await _find(request)
    tried = await _operate(state, result, lambda operations: operations.retry(result.uri))
    if tried is None:
        raise Problem(409, f"The photo's record does not say that it failed: it is {record.status}.")
    return web.json_response(build_row(result, tried))


async def require_results(state: ServerState) -> RecentResults:
    """What happened lately, up to now. Raises Problem where the page is off, or not ready."""
    if not state.settings.server.shows_page:
        raise Problem(404, "The page is off: set server.page, and with it server.api_key.")
    if state.results is None:
        raise Problem(503, f"Not ready: {state.unready_reason}.", Retry_After=str(RETRY_AFTER_S))
    await state.results.write()
    return state.results


def read_number(request: web.Request, name: str) -> int | None:
    """A query's number. Raises Problem."""
    text = request.query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and int(text[:30]) <= MAX_NUMBER):
        raise Problem(400, f"{name} is no number: take it from 'next' of the list before.")
    return int(text)


def _read_status(request: web.Request) -> str | None:
    status = request.query.get("status")
    if status is not None and status not in get_args(RecordStatus):
        raise Problem(400, f"There is no status {status!r}; there are {', '.join(get_args(RecordStatus))}.")
    return status


def _read_limit(request: web.Request) -> int:
    limit = read_number(request, "limit")
    if limit is not None and not 1 <= limit <= MAX_ROWS:
        raise Problem(400, f"limit is 1 to {MAX_ROWS}.")
    return limit or DEFAULT_ROWS


async def _find(request: web.Request) -> tuple[RecentResult, TagRecord]:
    results = await require_results(request.app[SERVER_STATE])
    found = await asyncio.to_thread(results.find, request.match_info["id"])
    if found is None or found.record is None:
        raise Problem(404, GONE)
    return found, found.record


async def _read_corrections(request: web.Request, state: ServerState) -> Corrections | None:
    """Raises Problem for anything but known labels of known groups: here it is a slip."""
    body = await request.content.read(MAX_CORRECTION_BYTES)
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Problem(400, 'The body is no JSON; send {"species": ["dog"]}, or null.') from error
    parsed = parse_corrections(given, state.labels)
    if parsed.problems:
        raise Problem(400, " ".join(parsed.problems))
    return parsed.by_group


async def _make_thumbnail(state: ServerState, result: RecentResult) -> bytes:
    data = await _operate(state, result, lambda operations: operations.read(result.uri))
    if state.tagger is None:
        raise Problem(503, f"Not ready: {state.unready_reason}.", Retry_After=str(RETRY_AFTER_S))
    content = await state.tagger.make_thumbnail(data)
    state.thumbnails.keep(result.photo_id, result.number, content)
    return content


async def _operate(state: ServerState, result: RecentResult, operate: Any) -> Any:
    """The result of an operation on the photo's source. Raises Problem if the photo, or its source, is gone."""
    if result.uri.startswith(REQUEST_SCHEME):
        raise Problem(409, "The photo was posted, and is not kept: there is nothing to read or write.")
    operations: PhotoOperations | None = state.find_operations(result.uri) if state.tagger else None
    if operations is None:
        raise Problem(503, "Nothing watches the photo's place now.", Retry_After=str(RETRY_AFTER_S))
    try:
        return await operate(operations)
    except GoneError as error:
        state.observers.publish(PhotoSkipped(error.reason, ref=PhotoRef(result.uri)))
        raise Problem(404, GONE) from error
