"""Connections: bounded, and closed where no request comes. Silent ones must not use up the process's open files."""

import asyncio
import json

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

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
    """At most so many connections of one server. A new one takes the place of the oldest on which no request has come."""

    def __init__(self, max_connections: int, head_timeout_s: float) -> None:
        """`head_timeout_s`: a connection without a request is closed after so long."""
        self._max_connections, self._head_timeout_s = max_connections, head_timeout_s
        self._transports: dict[RequestHandler, asyncio.Transport] = {}
        self._silent: dict[RequestHandler, asyncio.TimerHandle] = {}

    def install(self, server: web.Server) -> None:
        """Hear of each connection. aiohttp has no setting for a limit; its handlers tell the server of these two events."""
        made, lost = server.connection_made, server.connection_lost

        def connection_made(handler: RequestHandler, transport: asyncio.Transport) -> None:
            made(handler, transport)
            self._add(handler, transport)

        def connection_lost(handler: RequestHandler, exc: BaseException | None = None) -> None:
            self.note_request(handler)
            self._transports.pop(handler, None)
            lost(handler, exc)

        server.connection_made, server.connection_lost = connection_made, connection_lost  # type: ignore[method-assign]

    def note_request(self, handler: RequestHandler) -> None:
        """The head of a request has come: the connection is not silent."""
        if timer := self._silent.pop(handler, None):
            timer.cancel()

    def _add(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        if len(self._transports) >= self._max_connections and not self._close_silent():
            transport.write(REFUSAL)
            transport.close()
            return
        self._transports[handler] = transport
        self._silent[handler] = asyncio.get_running_loop().call_later(self._head_timeout_s, self._close, handler)

    def _close_silent(self) -> bool:
        """Close the oldest silent connection; false if there is none."""
        if not self._silent:
            return False
        self._close(next(iter(self._silent)))
        return True

    def _close(self, handler: RequestHandler) -> None:
        self.note_request(handler)
        if transport := self._transports.pop(handler, None):
            transport.abort()
