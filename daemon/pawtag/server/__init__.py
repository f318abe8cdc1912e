"""The embedded HTTP server: POST /tag, and what an operator asks."""

from pawtag.server.application import RunningServer, serve_http
from pawtag.server.server_state import ServerState

__all__ = ["RunningServer", "ServerState", "serve_http"]
