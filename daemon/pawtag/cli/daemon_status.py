"""The status of the running daemon: read over HTTP, and formatted for people."""

import json
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, build_opener

from pawtag.config import ServerSettings
from pawtag.domain.errors import PawtagError
from pawtag.log import escape_unprintable

TIMEOUT_S = 10.0
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nobody listens here
MAX_SHOWN = 20


def ask_daemon(settings: ServerSettings) -> dict[str, Any]:
    """The document of /status. Raises PawtagError if no daemon answers, or if it refuses."""
    host = ANY_ADDRESS.get(settings.host, settings.host)
    address = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
    headers = {"Host": settings.allowed_hosts[0]} if settings.allowed_hosts else {}
    if settings.api_key:
        headers["Authorization"] = f"Bearer {settings.api_key.get_secret_value()}"
    try:
        with build_opener().open(Request(f"{address}/status", headers=headers), timeout=TIMEOUT_S) as answer:  # noqa: S310
            return dict(json.load(answer))
    except HTTPError as error:
        with error:
            raise PawtagError(f"The daemon at {address} refuses: {_read_detail(error)}") from error
    except (OSError, HTTPException, ValueError) as error:
        raise PawtagError(f"No daemon answers at {address} ({error}); start it with 'pawtag run'.") from error


def format_status(status: dict[str, Any]) -> str:
    """The document in lines for people."""
    lines = [f"pawtag {status['version']}: {'ready' if status['ready'] else 'not ready'}{_because(status['reason'])}"]
    if model := status["model"]:
        wanted = f", instead of {model['wanted']}" if model["fallback"] else ""
        lines.append(f"model: {model['id']} ({model['engine']}){wanted}")
    for source in status["sources"]:
        lines.append(f"{source['name']}: {source['state']}{_because(source['reason'])}")
        lines.append(f"  {source['pending']} pending, {source['in_flight']} in flight")
    if status["failures"]:
        lines.append("failed: " + ", ".join(f"{count} {code}" for code, count in status["failures"].items()))
        shown = (status["failed"] or [])[:MAX_SHOWN]
        lines += [f"  {each['uri']}: {each['code']}: {each['message']}" for each in shown]
        if shown and (rest := sum(status["failures"].values()) - len(shown)) > 0:
            lines.append(f"  and {rest} more; the page lists all")
    if status["dead_letters"]:
        lines.append(f"dead letters: {status['dead_letters']} ('pawtag status --dead-letters' shows them)")
    if lack := status.get("state_dir"):
        lines.append(lack)
    return "\n".join(map(escape_unprintable, lines))


def _because(reason: str | None) -> str:
    return f": {reason}" if reason else ""


def _read_detail(error: HTTPError) -> str:
    try:
        return str(json.load(error)["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason}"
