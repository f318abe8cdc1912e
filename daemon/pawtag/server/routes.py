"""The routes: POST /tag and /events/s3, /healthz, /readyz, /labels, /metrics, /openapi.json."""

import asyncio

from aiohttp import web

from pawtag.domain.errors import PermanentError
from pawtag.domain.labels import NONE, rank_labels
from pawtag.domain.records import SourceInfo, Tagging
from pawtag.inference.tagger import Tagger
from pawtag.pipeline.recording import tagged
from pawtag.server.auth import EVENTS
from pawtag.server.openapi import description
from pawtag.server.problems import RETRY_AFTER_S, Problem
from pawtag.server.server_state import Desk
from pawtag.server.uploads import read_photo

DESK = web.AppKey("desk", Desk)
EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"
DETAILS = ("labels", "record")

routes = web.RouteTableDef()


@routes.post("/tag")
async def tag(request: web.Request) -> web.Response:
    """Tag the photo in the request: a list of labels, or the whole record with `?detail=record`."""
    desk, detail = request.app[DESK], request.query.get("detail", "labels")
    if detail not in DETAILS:
        raise Problem(400, f"There is no detail {detail!r}; there are {', '.join(DETAILS)}.")
    _ready(desk)
    with desk.holding() as take:
        data = await read_photo(request, desk.settings.server, take)
        tagger = _ready(desk)  # the model may have changed while the photo came in
        with desk.place():
            tagging = await _tagging(tagger, data)
    if detail == "record":
        record = tagged(tagging, None, tagger.identity, SourceInfo(kind="request"))
        return web.json_response(record.to_document())
    return web.json_response(rank_labels(tagging.scores, tagging.tags, desk.settings.labels.min_score))


@routes.post(EVENTS)
async def events(request: web.Request) -> web.Response:
    """Take in the events that a store pushes; answered once they are safe on the disk."""
    desk = request.app[DESK]
    if desk.settings.s3.bucket is None or desk.settings.server.api_key is None:
        raise Problem(403, "Events are taken only where s3.bucket and server.api_key are set.")
    if desk.events is None:
        raise Problem(503, f"Not ready: {desk.loading}.", Retry_After=str(RETRY_AFTER_S))
    try:
        async with asyncio.timeout(desk.settings.server.read_timeout_s):
            body = await request.read()
    except TimeoutError as error:
        raise Problem(408, "The events did not arrive in time.", Connection="close") from error
    return web.json_response({"photos": await desk.events(body)})


@routes.get("/healthz")
async def healthz(_: web.Request) -> web.Response:
    """200 while the process lives."""
    return web.json_response({"alive": True})


@routes.get("/readyz")
async def readyz(request: web.Request) -> web.Response:
    """Whether photos are tagged now, by which model, and how the sources are."""
    document = request.app[DESK].readiness()
    return web.json_response(document, status=200 if document["ready"] else 503)


@routes.get("/metrics")
async def metrics(request: web.Request) -> web.Response:
    """The daemon's numbers, in Prometheus' text format."""
    return web.Response(body=request.app[DESK].metrics.render(), headers={"Content-Type": EXPOSITION})


@routes.get("/openapi.json")
async def openapi(request: web.Request) -> web.Response:
    """What this server says of itself, as OpenAPI 3.1."""
    return web.json_response(description(request.app.router.routes()))


@routes.get("/labels")
async def labels(request: web.Request) -> web.Response:
    """The groups and their labels."""
    found = request.app[DESK].labels
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


async def _tagging(tagger: Tagger, data: bytes) -> Tagging:
    try:
        tagging = await tagger.tag(data, interactive=True)
    except PermanentError:
        tagger.metrics.count_photo("request", "failed")
        raise
    tagger.metrics.count_photo("request", "tagged" if tagging.has_pet else "no-pet")
    return tagging


def _ready(desk: Desk) -> Tagger:
    if desk.tagger is None:
        raise Problem(503, f"Not ready: {desk.loading}.", Retry_After=str(RETRY_AFTER_S))
    return desk.tagger
