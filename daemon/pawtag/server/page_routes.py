"""The page and its files, which ship with pawtag. They hold no secret: the page asks for the key by itself."""

import hashlib
from importlib import resources

from aiohttp import web

from pawtag.server.problems import Problem
from pawtag.server.server_state import SERVER_STATE

INDEX = "index.html"
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'self'; object-src 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
PAGE_PREFIX = "/page/"

page_routes = web.RouteTableDef()
_FILES = {
    file.name: file.read_bytes()
    for file in resources.files("pawtag.server").joinpath("page").iterdir()
    if file.is_file()
}


@page_routes.get("/")
async def show_page(request: web.Request) -> web.Response:
    """The page for people."""
    return _serve(request, INDEX)


@page_routes.get("/page/{name}")
async def show_file(request: web.Request) -> web.Response:
    """A style sheet, a script or an image of the page."""
    return _serve(request, request.match_info["name"])


def is_page_file(path: str) -> bool:
    """Whether the path is that of the page itself: it holds nothing of the user's."""
    return path == "/" or path.startswith(PAGE_PREFIX)


def _serve(request: web.Request, name: str) -> web.Response:
    if not request.app[SERVER_STATE].settings.server.shows_page:
        raise Problem(404, "The page is off: set server.api_key, or server.page = true to show it to everybody.")
    content = _FILES.get(name)
    if content is None:
        raise Problem(404, "There is no such file.")
    headers = HEADERS | {"ETag": f'"{hashlib.sha256(content).hexdigest()[:16]}"'}
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return web.Response(status=304, headers=headers)
    return web.Response(body=content, content_type=TYPES[name.rpartition(".")[2]], charset="utf-8", headers=headers)
