"""The embedded HTTP server: POST /tag, and what an operator asks."""

from pawtag.server.application import Serving, serving
from pawtag.server.server_state import Desk

__all__ = ["Desk", "Serving", "serving"]
