"""The routes: POST /tag and /notifications/s3, /healthz, /readyz, /labels, /metrics, /openapi.json."""

import asyncio

from aiohttp import web

from pawtag.domain.errors import PermanentError
from pawtag.domain.labels import NONE, rank_labels
from pawtag.domain.records import SourceInfo, Tagging
from pawtag.inference.tagger import Tagger
from pawtag.pipeline.recording import build_record
from pawtag.server.auth import NOTIFICATIONS_ROUTE
from pawtag.server.openapi import build_document
from pawtag.server.problems import RETRY_AFTER_S, Problem
from pawtag.server.server_state import ServerState
from pawtag.server.uploads import read_upload

SERVER_STATE = web.AppKey("server_state", ServerState)
EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"
DETAIL_LEVELS = ("labels", "record")

routes = web.RouteTableDef()


@routes.post("/tag")
async def tag(request: web.Request) -> web.Response:
    """Tag the photo in the request: a list of labels, or the whole record with `?detail=record`."""
    state, detail = request.app[SERVER_STATE], request.query.get("detail", "labels")
    if detail not in DETAIL_LEVELS:
        raise Problem(400, f"There is no detail {detail!r}; there are {', '.join(DETAIL_LEVELS)}.")
    _require_tagger(state)
    with state.reserve_memory() as take:
        data = await read_upload(request, state.settings.server, take)
        tagger = _require_tagger(state)  # the model may have been replaced while the photo arrived
        with state.reserve_slot():
            tagging = await _tag_interactively(tagger, data)
    if detail == "record":
        record = build_record(tagging, None, tagger.identity, SourceInfo(kind="request"))
        return web.json_response(record.to_document())
    return web.json_response(rank_labels(tagging.scores, tagging.tags, state.settings.labels.min_score))


@routes.post(NOTIFICATIONS_ROUTE)
async def notify(request: web.Request) -> web.Response:
    """Accept a notification of a store; the response comes once it is on disk."""
    state = request.app[SERVER_STATE]
    if state.settings.s3.bucket is None or state.settings.server.api_key is None:
        raise Problem(403, "Notifications are accepted only if s3.bucket and server.api_key are set.")
    if state.accept_notification is None:
        raise Problem(503, f"Not ready: {state.unready_reason}.", Retry_After=str(RETRY_AFTER_S))
    try:
        async with asyncio.timeout(state.settings.server.stall_timeout_s):
            body = await request.read()
    except TimeoutError as error:
        raise Problem(408, "The notification did not arrive in time.", Connection="close") from error
    return web.json_response({"photos": await state.accept_notification(body)})


@routes.get("/healthz")
async def healthz(_: web.Request) -> web.Response:
    """200 while the process lives."""
    return web.json_response({"alive": True})


@routes.get("/readyz")
async def readyz(request: web.Request) -> web.Response:
    """Whether the daemon is ready, its model, and the state of its sources."""
    document = request.app[SERVER_STATE].describe_readiness()
    return web.json_response(document, status=200 if document["ready"] else 503)


@routes.get("/metrics")
async def metrics(request: web.Request) -> web.Response:
    """The metrics, in Prometheus' text format."""
    return web.Response(body=request.app[SERVER_STATE].metrics.render(), headers={"Content-Type": EXPOSITION})


@routes.get("/openapi.json")
async def openapi(request: web.Request) -> web.Response:
    """The OpenAPI 3.1 document."""
    return web.json_response(build_document(request.app.router.routes()))


@routes.get("/labels")
async def labels(request: web.Request) -> web.Response:
    """The groups and their labels."""
    found = request.app[SERVER_STATE].labels
    groups = [
        {
            "name": name,
            "multi_label": group.multi_label,
            "labels": [label for label in group.labels if label != NONE],
            "applies_to": group.applies_to,
        }
        for name, group in found.groups.items()
    ]
    return web.json_response({"fingerprint": found.fingerprint, "groups": groups})


async def _tag_interactively(tagger: Tagger, data: bytes) -> Tagging:
    try:
        tagging = await tagger.tag(data, interactive=True)
    except PermanentError:
        tagger.metrics.count_photo("request", "failed")
        raise
    tagger.metrics.count_photo("request", "tagged" if tagging.has_pet else "no-pet")
    return tagging


def _require_tagger(state: ServerState) -> Tagger:
    if state.tagger is None:
        raise Problem(503, f"Not ready: {state.unready_reason}.", Retry_After=str(RETRY_AFTER_S))
    return state.tagger
