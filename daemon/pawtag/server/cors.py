"""CORS: pages of trusted origins may post photos, and read the answer (Fetch standard, 3.2)."""

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from pawtag.config import ServerSettings

OPEN_PATH = "/tag"
PREFLIGHT_HEADERS = {
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Max-Age": "3600",
}
EXPOSED_HEADERS = {"Access-Control-Expose-Headers": "Pawtag-Status, Retry-After, X-Request-ID"}


def build_cors(settings: ServerSettings) -> Middleware:
    """The middleware: it answers preflights, and allows a trusted origin to read answers of POST /tag."""

    @web.middleware
    async def allow(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if request.path != OPEN_PATH or origin not in settings.trusted_origins:
            return await handler(request)
        allowed = {"Access-Control-Allow-Origin": str(origin), "Vary": "Origin"}
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            return web.Response(status=204, headers=allowed | PREFLIGHT_HEADERS)
        response = await handler(request)
        response.headers.update(allowed | EXPOSED_HEADERS)
        return response

    return allow
