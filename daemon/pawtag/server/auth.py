"""Authentication, and the Host and Origin that are accepted."""

import hmac
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from pawtag.config import ServerSettings
from pawtag.domain.addresses import is_loopback
from pawtag.server.page_routes import is_page_file
from pawtag.server.problems import Problem

OPEN_ROUTES = ("/healthz", "/readyz")
PRIVATE_PATHS = ("/photos", "/events")
NOTIFICATIONS_ROUTE = "/notifications/s3"


def build_guard(settings: ServerSettings) -> Middleware:
    """The middleware: 401 without the key, 403 for another Host or Origin, before anything else."""
    key = settings.api_key.get_secret_value().encode() if settings.api_key else None

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path not in OPEN_ROUTES:
            if key is not None and not is_page_file(request.path):
                _check_key(request, key)
            _check_names(request, settings)
        return await handler(request)

    return check


def _check_key(request: web.Request, key: bytes) -> None:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if (
        request.path == NOTIFICATIONS_ROUTE and "key" in request.query
    ):  # Ceph and SeaweedFS cannot send a header, so the key is in the URL
        scheme, given = "bearer", request.query["key"]
    right = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), key)
    if scheme.lower() != "bearer" or not right:
        raise Problem(401, "Send the key as 'Authorization: Bearer KEY'.", WWW_Authenticate="Bearer")


def _check_names(request: web.Request, settings: ServerSettings) -> None:
    """A foreign page must not reach this server through the user's browser (DNS rebinding, CSRF)."""
    host = request.headers.get("Host", "")
    name = _host_name(host)
    allowed = is_loopback(name) if is_loopback(settings.host) else not settings.allowed_hosts
    if not allowed and name not in settings.allowed_hosts and host not in settings.allowed_hosts:
        advice = f'set server.allowed_hosts = ["{name}"] or PAWTAG_SERVER__ALLOWED_HOSTS=\'["{name}"]\'.'
        raise Problem(403, f"This server does not answer to the Host {host!r}; {advice}")
    origin = request.headers.get("Origin")
    if request.headers.get("Sec-Fetch-Site") == "cross-site" and request.path.startswith(PRIVATE_PATHS):
        raise Problem(403, "Pages of other sites cannot show the photos.")  # an <img> sends no Origin
    if origin is not None and _origin_host(origin) != host and origin not in settings.trusted_origins:
        advice = f'if you trust it, set server.trusted_origins = ["{origin}"]; a proxy must forward the Host header'
        raise Problem(403, f"The page comes from {origin}, and the Host is {host}: {advice}.")


def _origin_host(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
