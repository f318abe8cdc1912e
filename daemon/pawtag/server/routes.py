"""The routes: POST /tag and /notifications/s3, /healthz, /readyz, /labels, /metrics, /openapi.json."""

import asyncio
import time
import uuid
from typing import Any

from aiohttp import web

from pawtag.domain.errors import PermanentError
from pawtag.domain.labels import NONE, Group, Thresholds, find_threshold, rank_labels
from pawtag.domain.outcomes import PhotoFailed, PhotoTagged
from pawtag.domain.records import REQUEST_SCHEME, PhotoInfo, PhotoRef, SourceInfo, TagRecord
from pawtag.inference.tagger import Tagger
from pawtag.pipeline.recording import build_failed_record, build_record
from pawtag.server.auth import NOTIFICATIONS_ROUTE
from pawtag.server.openapi import build_document
from pawtag.server.problems import RETRY_AFTER_S, Problem
from pawtag.server.server_state import SERVER_STATE, ServerState
from pawtag.server.uploads import Upload, explain_refusal, read_upload

EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"
STATUS_HEADER = "Pawtag-Status"
DETAIL_LEVELS = ("labels", "record")

routes = web.RouteTableDef()


@routes.post("/tag")
async def tag(request: web.Request) -> web.Response:
    """Tag the photo in the request: a list of labels, or the whole record with `?detail=record`."""
    state, detail = request.app[SERVER_STATE], request.query.get("detail", "labels")
    if detail not in DETAIL_LEVELS:
        raise Problem(400, f"detail cannot be {detail!r}; allowed are {', '.join(DETAIL_LEVELS)}.")
    _require_tagger(state)
    with state.reserve_memory() as take:
        upload = await read_upload(request, state.settings.server, take)
        tagger = _require_tagger(state)  # the daemon may be stopping since
        try:
            with state.reserve_slot():
                record = await _tag_upload(state, tagger, upload)
        except PermanentError as error:
            raise PermanentError(error.code, f"{error}{explain_refusal(request)}") from error
    headers = {STATUS_HEADER: record.status}
    if detail == "record":
        return web.json_response(record.to_document(), headers=headers)
    labels = rank_labels(record.scores, record.tags, state.settings.labels.min_score)
    return web.json_response(labels, headers=headers)


@routes.post(NOTIFICATIONS_ROUTE)
async def notify(request: web.Request) -> web.Response:
    """Accept a notification of a store; the response comes once it is on disk."""
    state = request.app[SERVER_STATE]
    if state.settings.s3.bucket is None or state.settings.server.api_key is None:
        raise Problem(403, "Notifications are accepted only if s3.bucket and server.api_key are set.")
    if state.tagger is not None and state.accept_notification is None:
        raise Problem(403, "If s3.queue_url is set, notifications are accepted only if s3.rescan_s is set too.")
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


@routes.get("/status")
async def status(request: web.Request) -> web.Response:
    """What the daemon is doing: model, sources, what waits, what failed and why."""
    state = request.app[SERVER_STATE]
    return web.json_response(state.describe_status(await asyncio.to_thread(state.read_results)))


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
    """The groups and their labels. If a model is loaded, also the thresholds at which a score becomes a tag."""
    state = request.app[SERVER_STATE]
    limits = state.tagger.model.thresholds if state.tagger else None
    groups = [_describe_group(name, group, limits) for name, group in state.labels.groups.items()]
    general = {"presence": limits.presence, "secondary": limits.secondary} if limits else None
    return web.json_response({"fingerprint": state.labels.fingerprint, "groups": groups, "thresholds": general})


def _describe_group(name: str, group: Group, limits: Thresholds | None) -> dict[str, Any]:
    labels = [label for label in group.labels if label != NONE]
    return {
        "name": name,
        "multi_label": group.multi_label,
        "labels": labels,
        "applies_to": group.applies_to,
        "thresholds": {label: find_threshold(group, label, limits) for label in labels} if limits else None,
    }


async def _tag_upload(state: ServerState, tagger: Tagger, upload: Upload) -> TagRecord:
    """Tag an upload, and publish the result to the observers. Raises PermanentError if it cannot be tagged."""
    started_s, source = time.monotonic(), SourceInfo(kind="request")
    uri = f"{REQUEST_SCHEME}{uuid.uuid4().hex}" if state.settings.server.keep_requests else ""
    ref = PhotoRef(uri, len(upload.data))
    try:
        tagging = await tagger.tag(upload.data, interactive=True)
    except PermanentError as error:
        photo = PhotoInfo(name=upload.name, bytes=len(upload.data))
        failed = build_failed_record(error, photo, tagger.identity, source)
        state.observers.publish(PhotoFailed(ref, failed, time.monotonic() - started_s))
        raise
    record = build_record(tagging, upload.name, source)
    state.observers.publish(PhotoTagged(ref, record, time.monotonic() - started_s))
    return record


def _require_tagger(state: ServerState) -> Tagger:
    if state.tagger is None:
        raise Problem(503, f"Not ready: {state.unready_reason}.", Retry_After=str(RETRY_AFTER_S))
    return state.tagger
