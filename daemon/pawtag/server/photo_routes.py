"""The routes of the page's photos: the list (/photos), and the record, corrections and retry of one photo."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TypeVar, get_args

from aiohttp import web

from pawtag.domain.corrections import parse_corrections
from pawtag.domain.errors import ErrorCode, GoneError
from pawtag.domain.outcomes import PhotoSkipped
from pawtag.domain.records import OBJECT_SCHEME, REQUEST_SCHEME, Corrections, PhotoRef, RecordStatus, TagRecord
from pawtag.pipeline.photo_operations import PhotoOperations
from pawtag.server.photo_row import build_row
from pawtag.server.problems import RETRY_AFTER_S, Problem
from pawtag.server.server_state import SERVER_STATE, ServerState
from pawtag.state.results import RecentResult, RecentResults

Result = TypeVar("Result")

DEFAULT_ROWS, MAX_ROWS = 100, 500
MAX_NUMBER = 2**63 - 1  # of SQLite
MAX_CORRECTION_BYTES = 64 * 1024
GONE = "There is no such photo; it may have been removed."

photo_routes = web.RouteTableDef()


@photo_routes.get("/photos")
async def list_photos(request: web.Request) -> web.Response:
    """The photos, newest first. Pass `next` as `before` to get older ones, and `last_event_id` to /events."""
    results = require_results(request.app[SERVER_STATE])
    status, code = _read_choice(request, "status", RecordStatus), _read_choice(request, "code", ErrorCode)
    limit, before = _read_limit(request), parse_number(request.query.get("before"), "before")
    last = results.take_number()  # what is written from now on comes after it
    await results.write()
    found = await asyncio.to_thread(results.list_newest, status, limit, before, code)
    rows = [build_row(result, result.record) for result in found if result.record]
    following = str(found[-1].number) if len(found) == limit else None  # a string: JavaScript would round it
    return web.json_response({"photos": rows, "next": following, "last_event_id": str(last)})


@photo_routes.get("/photos/{id}")
async def show_photo(request: web.Request) -> web.Response:
    """The record of one photo."""
    _, record = await find_result(request)
    return web.json_response(record.to_document())


@photo_routes.put("/photos/{id}/corrections")
async def replace_corrections(request: web.Request) -> web.Response:
    """Replace all earlier corrections of the photo with these; `null` removes them."""
    return await _correct(request, replaces=True)


@photo_routes.patch("/photos/{id}/corrections")
async def add_corrections(request: web.Request) -> web.Response:
    """Correct these groups; corrections of other groups stay. `corrected_before`: the earlier corrections."""
    return await _correct(request, replaces=False)


@photo_routes.post("/photos/{id}/retry")
async def retry_photo(request: web.Request) -> web.Response:
    """Tag a failed photo again. If it was tagged meanwhile, return it as it is."""
    state = request.app[SERVER_STATE]
    result, record = await find_result(request)
    tried = await state.run_to_end(operate(state, result, lambda operations: operations.retry(result.uri)))
    if tried is None:
        raise Problem(409, f"The photo did not fail: its status is {record.status}.")
    return web.json_response(build_row(result, tried))


def require_results(state: ServerState) -> RecentResults:
    """The recent results. Raises Problem if the page is off, or the daemon is not ready."""
    if not state.settings.server.shows_page:
        raise Problem(404, "The page is off: set server.api_key, or server.page = true to show it to everybody.")
    if state.results is None:
        raise Problem(503, f"Not ready: {state.unready_reason}.", Retry_After=str(RETRY_AFTER_S))
    return state.results


def parse_number(text: str | None, name: str) -> int | None:
    """A number of a result. Raises Problem."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= MAX_NUMBER):  # noqa: PLR2004
        raise Problem(400, f"{name} must be a number that /photos or /events returned.")
    return int(text)


async def find_result(request: web.Request) -> tuple[RecentResult, TagRecord]:
    """The photo that the request names. Raises Problem."""
    results = require_results(request.app[SERVER_STATE])
    found = await results.find(request.match_info["id"])
    if found is None or found.record is None:
        raise Problem(404, GONE)
    return found, found.record


async def operate(
    state: ServerState, result: RecentResult, work: Callable[[PhotoOperations], Awaitable[Result]]
) -> Result:
    """The result of an operation on the photo's source. Raises Problem if the photo, or its source, is gone."""
    if result.uri.startswith(REQUEST_SCHEME):
        raise Problem(409, "pawtag does not keep posted photos: there is nothing to read or write.")
    operations = state.find_operations(result.uri) if state.tagger else None
    if operations is None:
        raise Problem(503, "Nothing watches the photo's place now.", Retry_After=str(RETRY_AFTER_S))
    try:
        return await work(operations)
    except GoneError as error:
        if not result.uri.startswith(OBJECT_SCHEME) and not await asyncio.to_thread(state.is_missing, result.uri):
            raise Problem(503, "The photo's folder is not there now.", Retry_After=str(RETRY_AFTER_S)) from error
        state.observers.publish(PhotoSkipped(error.reason, ref=PhotoRef(result.uri)))
        raise Problem(404, GONE) from error


async def _correct(request: web.Request, *, replaces: bool) -> web.Response:
    state = request.app[SERVER_STATE]
    result, _ = await find_result(request)
    by_group = await _read_corrections(request, state, replaces=replaces)
    work = operate(state, result, lambda operations: operations.correct(result.uri, by_group, replaces=replaces))
    record, before = await state.run_to_end(work)
    return web.json_response(build_row(result, record) | {"corrected_before": before})


def _read_choice(request: web.Request, name: str, choices: object) -> str | None:
    value = request.query.get(name)
    if value is not None and value not in get_args(choices):
        raise Problem(400, f"{name} cannot be {value!r}; allowed are {', '.join(get_args(choices))}.")
    return value


def _read_limit(request: web.Request) -> int:
    text = request.query.get("limit", str(DEFAULT_ROWS))
    if not (text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= MAX_ROWS):  # noqa: PLR2004
        raise Problem(400, f"limit is a number from 1 to {MAX_ROWS}.")
    return int(text)


async def _read_corrections(request: web.Request, state: ServerState, *, replaces: bool) -> Corrections | None:
    """Raises Problem for unknown labels and groups: here they are mistakes."""
    try:
        given = json.loads(await _read_body(request, state.settings.server.stall_timeout_s))
    except (ValueError, RecursionError) as error:
        raise Problem(400, 'The body is no JSON; send {"species": ["dog"]}, or null.') from error
    parsed = parse_corrections(given, state.labels)
    if parsed.problems:
        raise Problem(400, " ".join(parsed.problems))
    adds_nothing = not replaces and given in ({}, [])
    return {} if adds_nothing else parsed.by_group


async def _read_body(request: web.Request, timeout_s: float) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > MAX_CORRECTION_BYTES:
                    raise Problem(413, "The body is too large for a correction.", Connection="close")
    except TimeoutError as error:
        raise Problem(408, "The correction did not arrive in time.", Connection="close") from error
    return bytes(body)
