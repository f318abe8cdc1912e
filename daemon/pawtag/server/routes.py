"""The routes: POST /tag, /healthz, /readyz, /labels."""

from aiohttp import web

from pawtag.labels import NONE, ranked_labels
from pawtag.pipeline import tagged
from pawtag.records import Source
from pawtag.server.desk import Desk
from pawtag.server.problems import RETRY_AFTER_S, Problem
from pawtag.server.uploads import read_photo
from pawtag.tagger import Tagger

DESK = web.AppKey("desk", Desk)
DETAILS = ("labels", "record")

routes = web.RouteTableDef()


@routes.post("/tag")
async def tag(request: web.Request) -> web.Response:
    """Tag the photo in the request: a list of labels, or the whole record with `?detail=record`."""
    desk, detail = request.app[DESK], request.query.get("detail", "labels")
    if detail not in DETAILS:
        raise Problem(400, f"There is no detail {detail!r}; there are {', '.join(DETAILS)}.")
    tagger = _ready(desk)
    with desk.holding() as take:
        data = await read_photo(request, desk.settings.server, take)
        with desk.place():
            tagging = await tagger.tag(data, urgent=True)
    if detail == "record":
        record = tagged(tagging, None, tagger.fingerprints, Source(kind="request"))
        return web.json_response(record.document())
    return web.json_response(ranked_labels(tagging.scores, tagging.tags, desk.settings.labels.min_score))


@routes.get("/healthz")
async def healthz(_: web.Request) -> web.Response:
    """200 while the process lives."""
    return web.json_response({"alive": True})


@routes.get("/readyz")
async def readyz(request: web.Request) -> web.Response:
    """Whether photos are tagged now, by which model, and how the sources are."""
    document = request.app[DESK].readiness()
    return web.json_response(document, status=200 if document["ready"] else 503)


@routes.get("/labels")
async def labels(request: web.Request) -> web.Response:
    """The groups and their labels."""
    found = request.app[DESK].labels
    groups = [
        {
            "name": name,
            "many": group.many,
            "labels": [label for label in group.labels if label != NONE],
            "asked_for": group.asked_for,
        }
        for name, group in found.groups.items()
    ]
    return web.json_response({"fingerprint": found.fingerprint, "groups": groups})


def _ready(desk: Desk) -> Tagger:
    if desk.tagger is None:
        raise Problem(503, f"Not ready: {desk.loading}.", Retry_After=str(RETRY_AFTER_S))
    return desk.tagger
