"""The live feed as server-sent events (HTML standard, 9.2). The page reads it by `fetch`, which can send a key."""

import asyncio
import json
from collections.abc import AsyncIterator

from aiohttp import web

from pawtag.pipeline.live_feed import Missed
from pawtag.server.photo_routes import parse_number, require_results
from pawtag.server.photo_row import build_row
from pawtag.server.server_state import SERVER_STATE, ServerState
from pawtag.state.results import RecentResult, RecentResults

HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
LAST_ID_HEADER = "Last-Event-ID"
MAX_MISSED = 1000  # results that a reader missed; if it missed more, it must read the list again
HEARTBEAT_S = 15.0

event_routes = web.RouteTableDef()


@event_routes.get("/events")
async def follow(request: web.Request) -> web.StreamResponse:
    """Each photo when it gets its record. Last-Event-ID or `after`: also missed ones. `reload`: read /photos again."""
    state = request.app[SERVER_STATE]
    results = require_results(state)
    last_id = request.headers.get(LAST_ID_HEADER)
    after = parse_number(request.query.get("after") if last_id is None else last_id, "the id of the last event")
    response = web.StreamResponse(headers=HEADERS)
    await response.prepare(request)
    async for text in _stream(state, results, after):
        await response.write(text.encode())
    return response


async def _stream(state: ServerState, results: RecentResults, after: int | None) -> AsyncIterator[str]:
    """First the missed events, then each new event as it comes. No event is lost or sent twice in between."""
    with state.live_feed.read() as live:
        yield ": pawtag\n\n"
        if after is not None:
            await results.write()  # what came before this reader began to listen
            missed = await asyncio.to_thread(results.list_after, after, MAX_MISSED + 1)
            if len(missed) > MAX_MISSED or after < results.reload_before:
                yield _format_reload()
            else:
                for result in missed:
                    yield _format(result)
            after = missed[-1].number if missed else after
        async for item in _with_heartbeats(live):
            if item is None:
                yield ": alive\n\n"
            elif isinstance(item, Missed):
                yield _format_reload()
            elif after is None or item.number > after:
                yield _format(item)


async def _with_heartbeats(live: AsyncIterator[RecentResult | Missed]) -> AsyncIterator[RecentResult | Missed | None]:
    """The items, and None after each pause: a proxy closes a connection that is silent for a minute."""
    pending = asyncio.ensure_future(anext(live, ...))
    try:
        while True:
            done, _ = await asyncio.wait({pending}, timeout=HEARTBEAT_S)
            if not done:
                yield None
                continue
            item = pending.result()
            if item is ...:
                return
            yield item
            pending = asyncio.ensure_future(anext(live, ...))
    finally:
        pending.cancel()


def _format(result: RecentResult) -> str:
    kind, row = ("photo", build_row(result, result.record)) if result.record else ("gone", {"id": result.photo_id})
    return f"id: {result.number}\nevent: {kind}\ndata: {json.dumps(row)}\n\n"


def _format_reload() -> str:
    return "event: reload\ndata: {}\n\n"
