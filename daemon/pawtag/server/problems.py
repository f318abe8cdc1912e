"""Errors as the client sees them: application/problem+json (RFC 9457) for each and every one."""

import logging
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler

from pawtag.domain.errors import ErrorCode, OverloadedError, PermanentError, TemporaryError

log = logging.getLogger(__name__)

HTTP_STATUS: dict[ErrorCode, int] = {
    "empty": 400,
    "not-an-image": 400,
    "truncated": 400,
    "unreadable": 400,
    "too-many-pixels": 413,
    "too-many-bytes": 413,
    "unsupported": 415,
}
RETRY_AFTER_S = 2


class Problem(Exception):  # noqa: N818 - RFC 9457's own name
    """An error response."""

    def __init__(self, status: int, detail: str, *, code: ErrorCode | None = None, **headers: str) -> None:
        """`detail` says in a sentence what was wrong; `code` is a photo's error code."""
        super().__init__(detail)
        self.status, self.code = status, code
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def build_response(problem: Problem) -> web.Response:
    """The problem as a response."""
    document: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": str(problem),
    }
    if problem.code:
        document["code"] = problem.code
    return web.json_response(
        document, status=problem.status, content_type="application/problem+json", headers=problem.headers
    )


@web.middleware
async def handle_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what a route raises into a problem."""
    try:
        return await handler(request)
    except Problem as problem:
        return build_response(problem)
    except PermanentError as error:
        return build_response(Problem(HTTP_STATUS.get(error.code, 500), str(error), code=error.code))
    except (OverloadedError, TemporaryError) as error:
        return build_response(Problem(503, str(error), Retry_After=str(RETRY_AFTER_S)))
    except web.HTTPException as error:
        refusal = Problem(error.status, _detail(error, request))
        refusal.headers |= {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return build_response(refusal)
    except Exception:  # the client gets a problem, the log the traceback
        log.exception("unexpected error in %s %s", request.method, request.path)
        return build_response(Problem(500, "Internal error; the log of pawtag has the details."))


def _detail(error: web.HTTPException, request: web.Request) -> str:
    if error.status == HTTPStatus.NOT_FOUND:
        return "There is no such route; POST a photo to /tag."
    if error.status == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"{request.path} does not answer to {request.method}."
    return error.text or error.reason
