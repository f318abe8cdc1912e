"""The thumbnails of the page's photos."""

from aiohttp import web

from pawtag.domain.records import TagRecord
from pawtag.server.photo_routes import find_result, operate
from pawtag.server.photo_row import has_thumbnail
from pawtag.server.problems import RETRY_AFTER_S, Problem
from pawtag.server.server_state import SERVER_STATE, ServerState
from pawtag.state.results import RecentResult

HEADERS = {"Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff"}

thumbnail_routes = web.RouteTableDef()


@thumbnail_routes.get("/photos/{id}/thumbnail")
async def show_thumbnail(request: web.Request) -> web.Response:
    """A small JPEG, upright, without metadata."""
    result, record = await find_result(request)
    if not has_thumbnail(result):
        raise Problem(404, "This photo has no thumbnail.")
    headers = HEADERS | {"ETag": f'"{record.photo.sha256}"'}
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return web.Response(status=304, headers=headers)
    content = await _find_thumbnail(request.app[SERVER_STATE], result, record)
    return web.Response(body=content, content_type="image/jpeg", headers=headers)


async def _find_thumbnail(state: ServerState, result: RecentResult, record: TagRecord) -> bytes:
    """Only a few thumbnails are made at once, because each holds a whole photo in memory."""
    sha256 = record.photo.sha256 or ""
    if found := state.thumbnails.get(sha256):
        return found
    async with state.thumbnails.slots:
        if found := state.thumbnails.get(sha256):
            return found
        data = await operate(state, result, lambda operations: operations.read(result.uri))
        if state.tagger is None:
            raise Problem(503, f"Not ready: {state.unready_reason}.", Retry_After=str(RETRY_AFTER_S))
        content = await state.tagger.make_thumbnail(data)
        state.thumbnails.keep(sha256, content)
        return content
