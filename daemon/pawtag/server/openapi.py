"""The OpenAPI 3.1 document, made from the routes and the schema of the record."""

from collections.abc import Iterable
from typing import Any

from aiohttp import web

from pawtag import __version__
from pawtag.domain.records import TagRecord
from pawtag.server.auth import OPEN_ROUTES

JSON, PROBLEM = "application/json", "application/problem+json"
IMAGE = {"type": "string", "format": "binary"}
LABEL = {
    "type": "object",
    "required": ["label", "score", "group", "tagged"],
    "properties": {
        "label": {"type": "string"},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        "group": {"type": "string"},
        "tagged": {"type": "boolean"},
    },
}
PROBLEM_SCHEMA = {
    "type": "object",
    "required": ["title", "status", "detail"],
    "properties": {
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "the record's error code, where it is the photo's fault"},
    },
}
TAG_PROBLEMS = {
    "400": "no photo, two, or none that can be read",
    "408": "the body did not arrive in time",
    "413": "too many bytes or pixels",
    "415": "a type that is recognised and not read",
    "500": "internal error",
    "503": "overloaded or not ready: see Retry-After",
}
NOTIFICATION_PROBLEMS = {
    "408": "the notification did not arrive in time",
    "413": "more than a megabyte",
    "500": "internal error",
    "503": "not now: post again",
}
STATUS_HEADERS = {
    "Pawtag-Status": {
        "description": "unsure: a pet, and no species that reaches its threshold",
        "schema": {"type": "string", "enum": ["tagged", "unsure", "no-pet"]},
    }
}
PROBLEMS = {"/tag": TAG_PROBLEMS, "/notifications/s3": NOTIFICATION_PROBLEMS}
GUARDED = {"401": "no key, or a wrong one", "403": "a Host or Origin that is not accepted"}
ANSWERS: dict[str, dict[str, Any]] = {
    "/notifications/s3": {"200": ("the events are on disk", {"type": "object"})},
    "/healthz": {"200": ("the process lives", {"type": "object"})},
    "/readyz": {
        "200": ("ready", {"type": "object"}),
        "503": ("not ready: see reason", {"type": "object"}),
    },
    "/status": {"200": ("model, sources, pending photos, failures", {"type": "object"})},
    "/labels": {"200": ("the groups and their labels", {"type": "object"})},
    "/metrics": {"200": ("Prometheus' text format", None)},
    "/openapi.json": {"200": ("this document", {"type": "object"})},
}


def build_document(routes: Iterable[web.AbstractRoute]) -> dict[str, Any]:
    """The document for these routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        if route.resource is not None and route.method != "HEAD":
            path = route.resource.canonical
            paths.setdefault(path, {})[route.method.lower()] = _operation(path, route.handler.__doc__ or "")
    return {
        "openapi": "3.1.0",
        "info": {"title": "pawtag", "version": __version__, "description": "Tags pet photos."},
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Label": LABEL, "Problem": PROBLEM_SCHEMA, **_record_schemas()},
        },
    }


def _record_schemas() -> dict[str, Any]:
    schema = TagRecord.model_json_schema(
        by_alias=True, mode="serialization", ref_template="#/components/schemas/{model}"
    )
    return {**schema.pop("$defs"), "Record": schema}


def _operation(path: str, summary: str) -> dict[str, Any]:
    open_to_all = path in OPEN_ROUTES
    operation: dict[str, Any] = {"summary": summary.strip(), "responses": _responses(path)}
    if not open_to_all:
        operation["security"] = [{}, {"key": []}]
    if path == "/tag":
        operation |= {"parameters": [_detail()], "requestBody": _photo()}
    return operation


def _responses(path: str) -> dict[str, Any]:
    problems = PROBLEMS.get(path, {}) | ({} if path in OPEN_ROUTES else GUARDED)
    found = {status: _content(what, PROBLEM, _build_ref("Problem")) for status, what in problems.items()}
    if path == "/tag":
        labels = {"type": "array", "items": _build_ref("Label")}
        answer = _content("labels by score, or the record", JSON, {"oneOf": [labels, _build_ref("Record")]})
        return {"200": answer | {"headers": STATUS_HEADERS}, **found}
    for status, (what, schema) in ANSWERS.get(path, {}).items():
        found[status] = _content(what, JSON, schema) if schema else _content(what, "text/plain", {"type": "string"})
    return found


def _content(what: str, kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": what, "content": {kind: {"schema": schema}}}


def _build_ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _detail() -> dict[str, Any]:
    schema = {"type": "string", "enum": ["labels", "record"], "default": "labels"}
    return {"name": "detail", "in": "query", "schema": schema, "description": "record: the whole record"}


def _photo() -> dict[str, Any]:
    form = {"type": "object", "required": ["file"], "properties": {"file": IMAGE}}
    return {"required": True, "content": {"multipart/form-data": {"schema": form}, "*/*": {"schema": IMAGE}}}
