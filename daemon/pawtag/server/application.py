"""The aiohttp application, and serving it while a context lasts."""

import errno
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler

from pawtag import __version__
from pawtag.domain.addresses import is_loopback
from pawtag.domain.errors import PawtagError
from pawtag.log import request_id
from pawtag.server.auth import NOTIFICATIONS_ROUTE, OPEN_ROUTES, build_guard
from pawtag.server.connections import ConnectionLimit
from pawtag.server.cors import build_cors
from pawtag.server.event_routes import event_routes
from pawtag.server.page_routes import PAGE_PREFIX, page_routes
from pawtag.server.photo_routes import photo_routes
from pawtag.server.problems import handle_problems
from pawtag.server.routes import routes
from pawtag.server.server_state import SERVER_STATE, ServerState
from pawtag.server.thumbnail_routes import thumbnail_routes

log = logging.getLogger(__name__)

CONNECTION_LIMIT = web.AppKey("connection_limit", ConnectionLimit)
ID_HEADER = "X-Request-ID"
HEAD_TIMEOUT_S = 15.0  # for the first request of a connection
SHUTDOWN_TIMEOUT_S = 2.0  # aiohttp may wait twice this time; container runtimes kill after 10 s
KEEPALIVE_TIMEOUT_S = 30.0
# Requested often: scrapes, probes, the page, and a store that posts a thousand times a second.
UNLOGGED_ROUTES = (*OPEN_ROUTES, NOTIFICATIONS_ROUTE, "/metrics", "/status", "/events", "/")
LISTEN_ERRORS = {
    errno.EADDRINUSE: "another program listens there; stop it or choose another server.port",
    errno.EACCES: "this user may not; choose a server.port above 1023",
    errno.EADDRNOTAVAIL: "this machine has no such address; see server.host",
}


def build_application(state: ServerState) -> web.Application:
    """The application with its middlewares and routes."""
    settings = state.settings.server
    middlewares = [_assign_request_id, build_cors(settings), handle_problems, build_guard(settings)]
    app = web.Application(middlewares=middlewares)
    app[SERVER_STATE] = state
    most = min(settings.max_connections, _count_files() // 2)  # the other half is for photos
    app[CONNECTION_LIMIT] = ConnectionLimit(most, HEAD_TIMEOUT_S)
    for table in (routes, photo_routes, thumbnail_routes, event_routes, page_routes):
        app.add_routes(table)
    return app


def _count_files() -> int:
    """How many files the process may have open."""
    try:
        import resource
    except ImportError:  # Windows
        return 1024
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft > 0 else 1024


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A running server: its address, and how to end it before its context ends."""

    address: str
    drain: Callable[[], Awaitable[None]]


@asynccontextmanager
async def serve_http(state: ServerState) -> AsyncIterator[RunningServer]:
    """Serve until the context ends. `drain` accepts no more requests, and answers those in flight.

    Raises PawtagError if the server cannot listen.
    """
    settings = state.settings.server
    if not is_loopback(settings.host) and settings.api_key is None:
        log.warning("anyone who reaches %s may post photos: set server.api_key", settings.host)
    runner = web.AppRunner(
        build_application(state),
        handler_cancellation=True,
        access_log=None,
        keepalive_timeout=KEEPALIVE_TIMEOUT_S,
        shutdown_timeout=SHUTDOWN_TIMEOUT_S,
    )
    await runner.setup()
    if runner.server:
        runner.app[CONNECTION_LIMIT].install(runner.server)
    try:
        await _listen(runner, settings.host, settings.port)
        host, port = runner.addresses[0][:2]
        yield RunningServer(f"http://{f'[{host}]' if ':' in host else host}:{port}", runner.cleanup)
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, host: str, port: int) -> None:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        reason = LISTEN_ERRORS.get(error.errno or 0, error.strerror or str(error))
        raise PawtagError(f"Cannot listen on {host} port {port}: {reason}.") from error


@web.middleware
async def _assign_request_id(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give each request an id, for the response and the log."""
    request.app[CONNECTION_LIMIT].note_request(request.protocol)
    identifier = secrets.token_hex(4)
    request_id.set(identifier)
    started_s = time.monotonic()
    try:
        response = await handler(request)
    finally:
        request.app[CONNECTION_LIMIT].note_response(request.protocol)
    response.headers[ID_HEADER] = identifier
    response.headers["Server"] = f"pawtag/{__version__}"
    is_of_page = request.path.startswith((PAGE_PREFIX, "/photos")) and response.status < HTTPStatus.BAD_REQUEST
    level = logging.DEBUG if is_of_page or request.path in UNLOGGED_ROUTES else logging.INFO
    duration_s = time.monotonic() - started_s
    request.app[SERVER_STATE].metrics.count_request(_route(request), response.status, duration_s)
    fields = {"method": request.method, "path": request.path, "http_status": response.status}
    text = ("%s %s: %d in %.0f ms", request.method, request.path, response.status, 1000 * duration_s)
    log.log(level, *text, extra=fields | {"duration_s": round(duration_s, 4)})
    return response


def _route(request: web.Request) -> str:
    """The path of the route; `none` for all others, so that strangers cannot create metrics."""
    resource = request.match_info.route.resource
    return resource.canonical if resource else "none"
