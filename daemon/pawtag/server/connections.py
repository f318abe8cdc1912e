"""Limits connections and closes idle ones, so that they do not use up the open files of the process."""

import asyncio
import json

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

# An answer is on its way for a moment after its request is done.
IDLE_GRACE_S = 0.5
BODY = json.dumps(
    {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "Too many connections are open; try again later.",
    }
).encode()
REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 2\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
)


class ConnectionLimit:
    """Limits the connections of one server. At the limit, a new one replaces the one that was idle longest."""

    def __init__(self, max_connections: int, head_timeout_s: float) -> None:
        """`head_timeout_s`: a new connection without a request is closed after this time."""
        self._max_connections, self._head_timeout_s = max_connections, head_timeout_s
        self._transports: dict[RequestHandler, asyncio.Transport] = {}
        self._idle: dict[RequestHandler, asyncio.TimerHandle | None] = {}
        self._requests: dict[RequestHandler, int] = {}

    def install(self, server: web.Server) -> None:
        """Wrap the two methods that aiohttp calls for each connection: aiohttp has no setting for a limit."""
        made, lost = server.connection_made, server.connection_lost

        def connection_made(handler: RequestHandler, transport: asyncio.Transport) -> None:
            made(handler, transport)
            self._add(handler, transport)

        def connection_lost(handler: RequestHandler, exc: BaseException | None = None) -> None:
            self._forget(handler)
            lost(handler, exc)

        server.connection_made, server.connection_lost = connection_made, connection_lost  # type: ignore[method-assign]

    def note_request(self, handler: RequestHandler) -> None:
        """The head of a request has come: the connection is at work."""
        self._requests[handler] = self._requests.get(handler, 0) + 1
        if timer := self._idle.pop(handler, None):
            timer.cancel()

    def note_response(self, handler: RequestHandler) -> None:
        """The request is done: the connection becomes idle soon, unless another request arrives."""
        count = self._requests.get(handler)
        asyncio.get_running_loop().call_later(IDLE_GRACE_S, self._note_idle, handler, count)

    def _note_idle(self, handler: RequestHandler, count: int | None) -> None:
        if handler in self._transports and self._requests.get(handler) == count:
            self._idle.setdefault(handler, None)  # aiohttp closes it after its keep-alive time

    def _add(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        if len(self._transports) >= self._max_connections and not self._close_idle():
            loop.call_soon(_refuse, transport)  # aiohttp must set up a connection before it can be closed
            return
        self._transports[handler] = transport
        self._idle[handler] = loop.call_later(self._head_timeout_s, self._close, handler)

    def _close_idle(self) -> bool:
        """Close the connection that is idle for longest; false if there is none."""
        if not self._idle:
            return False
        self._close(next(iter(self._idle)))
        return True

    def _close(self, handler: RequestHandler) -> None:
        if transport := self._forget(handler):
            transport.abort()

    def _forget(self, handler: RequestHandler) -> asyncio.Transport | None:
        if timer := self._idle.pop(handler, None):
            timer.cancel()
        self._requests.pop(handler, None)
        return self._transports.pop(handler, None)


def _refuse(transport: asyncio.Transport) -> None:
    transport.write(REFUSAL)
    transport.close()
