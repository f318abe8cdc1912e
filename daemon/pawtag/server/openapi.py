"""The OpenAPI 3.1 document, made from the routes and the schema of the record."""

import re
from collections.abc import Iterable
from typing import Any, get_args

from aiohttp import web

from pawtag import __version__
from pawtag.domain.errors import ErrorCode
from pawtag.domain.records import RecordStatus, TagRecord
from pawtag.server.auth import OPEN_ROUTES
from pawtag.server.page_routes import is_page_file
from pawtag.server.photo_routes import MAX_ROWS

JSON, PROBLEM, HTML = "application/json", "application/problem+json", "text/html"
EVENTS, JPEG, TEXT = "text/event-stream", "image/jpeg", "text/plain"
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
    "400": "no photo, two photos, or one that cannot be read",
    "408": "the body did not arrive in time",
    "413": "too many bytes or pixels",
    "415": "a known file type that pawtag cannot read",
    "500": "internal error",
    "503": "overloaded or not ready: see Retry-After",
}
NOTIFICATION_PROBLEMS = {
    "408": "the notification did not arrive in time",
    "413": "more than a megabyte",
    "500": "internal error",
    "503": "not possible now: post again later",
}
STATUS_HEADERS = {
    "Pawtag-Status": {
        "description": "unsure: there is a pet, but no species reaches its threshold",
        "schema": {"type": "string", "enum": ["tagged", "unsure", "no-pet"]},
    }
}
PAGE_PROBLEMS = {
    "400": "a parameter or a body that is not understood",
    "404": "the page is off, or there is no such photo",
    "500": "internal error",
    "503": "not ready, or the photo cannot be read or written now",
}
PHOTO_PROBLEMS = PAGE_PROBLEMS | {
    "408": "the body did not arrive in time",
    "409": "the photo did not fail",
    "413": "too many bytes or pixels",
    "415": "a type that is not read",
}
PROBLEMS = {
    "/tag": TAG_PROBLEMS,
    "/notifications/s3": NOTIFICATION_PROBLEMS,
    "/": {"404": "the page is off"},
    "/page/{name}": {"404": "no such file, or the page is off"},
    "/photos": PAGE_PROBLEMS,
    "/events": PAGE_PROBLEMS,
    "/photos/{id}": PAGE_PROBLEMS,
    "/photos/{id}/thumbnail": PHOTO_PROBLEMS,
    "/photos/{id}/corrections": PHOTO_PROBLEMS,
    "/photos/{id}/retry": PHOTO_PROBLEMS,
}
GUARDED = {"401": "no key, or a wrong one", "403": "a Host or Origin that is not accepted"}
OBJECT, STRING = {"type": "object"}, {"type": "string"}
ROW = {"$ref": "#/components/schemas/Photo"}
# By route and status: what it is, its media type, its schema.
ANSWERS: dict[str, dict[str, tuple[str, str, dict[str, Any]]]] = {
    "/notifications/s3": {"200": ("the events are on disk", JSON, OBJECT)},
    "/healthz": {"200": ("the process lives", JSON, OBJECT)},
    "/readyz": {"200": ("ready", JSON, OBJECT), "503": ("not ready: see reason", JSON, OBJECT)},
    "/status": {"200": ("model, sources, pending photos, failures", JSON, OBJECT)},
    "/labels": {"200": ("the groups and their labels", JSON, OBJECT)},
    "/metrics": {"200": ("Prometheus' text format", TEXT, STRING)},
    "/openapi.json": {"200": ("this document", JSON, OBJECT)},
    "/": {"200": ("the page", HTML, STRING), "304": ("unchanged", HTML, STRING)},
    "/page/{name}": {"200": ("the file", TEXT, STRING), "304": ("unchanged", TEXT, STRING)},
    "/photos": {"200": ("the photos, newest first", JSON, OBJECT)},
    "/events": {"200": ("server-sent events: photo, gone, reload", EVENTS, STRING)},
    "/photos/{id}": {"200": ("the record", JSON, {"$ref": "#/components/schemas/Record"})},
    "/photos/{id}/thumbnail": {"200": ("a small picture", JPEG, IMAGE), "304": ("unchanged", JPEG, IMAGE)},
    "/photos/{id}/corrections": {"200": ("the photo as it is now", JSON, ROW)},
    "/photos/{id}/retry": {"200": ("the photo as it is now", JSON, ROW)},
}
PHOTO = {
    "type": "object",
    "required": ["id", "name", "uri", "status", "tags", "error", "corrected", "tagged_at", "has_thumbnail"],
    "properties": {
        "id": {"type": "string", "description": "a digest of the URI"},
        "name": STRING,
        "uri": STRING,
        "status": {"type": "string", "enum": list(get_args(RecordStatus))},
        "tags": {"type": "array", "items": OBJECT},
        "error": {"type": ["object", "null"]},
        "corrected": {"type": ["object", "null"]},
        "tagged_at": STRING,
        "has_thumbnail": {"type": "boolean"},
    },
}
NUMBER = {"type": "string", "pattern": "^[0-9]{1,18}$"}
# The query of a route: name, schema, what it means.
QUERIES: dict[str, list[tuple[str, dict[str, Any], str]]] = {
    "/tag": [
        ("detail", {"type": "string", "enum": ["labels", "record"], "default": "labels"}, "record: the whole record")
    ],
    "/photos": [
        ("status", {"type": "string", "enum": list(get_args(RecordStatus))}, "only photos with this status"),
        ("code", {"type": "string", "enum": list(get_args(ErrorCode))}, "only photos that failed with this code"),
        ("limit", {"type": "integer", "minimum": 1, "maximum": MAX_ROWS}, "how many"),
        ("before", NUMBER, "`next` of the previous list"),
    ],
    "/events": [("after", NUMBER, "the id of the last event that was seen")],
}
CORRECTIONS = {
    "type": ["object", "null"],
    "additionalProperties": {"type": "array", "items": STRING},
    "examples": [{"species": ["dog"], "coat": []}, None],
}


def build_document(routes: Iterable[web.AbstractRoute]) -> dict[str, Any]:
    """The document for these routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        if route.resource is not None and route.method != "HEAD":
            path = route.resource.canonical
            summary = route.handler.__doc__ or ""
            paths.setdefault(path, {})[route.method.lower()] = _operation(path, route.method, summary)
    return {
        "openapi": "3.1.0",
        "info": {"title": "pawtag", "version": __version__, "description": "Tags pet photos."},
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Label": LABEL, "Photo": PHOTO, "Problem": PROBLEM_SCHEMA, **_record_schemas()},
        },
    }


def _record_schemas() -> dict[str, Any]:
    schema = TagRecord.model_json_schema(
        by_alias=True, mode="serialization", ref_template="#/components/schemas/{model}"
    )
    return {**schema.pop("$defs"), "Record": schema}


def _operation(path: str, method: str, summary: str) -> dict[str, Any]:
    operation: dict[str, Any] = {"summary": summary.strip(), "responses": _responses(path)}
    if path not in OPEN_ROUTES and not is_page_file(path):
        operation["security"] = [{}, {"key": []}]
    if parameters := [*_path_parameters(path), *(_query_parameter(*each) for each in QUERIES.get(path, []))]:
        operation["parameters"] = parameters
    if path == "/tag":
        operation["requestBody"] = _photo()
    if method in ("PUT", "PATCH"):
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": CORRECTIONS}}}
    return operation


def _path_parameters(path: str) -> list[dict[str, Any]]:
    names = re.findall(r"{(\w+)}", path)
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}} for name in names
    ]


def _query_parameter(name: str, schema: dict[str, Any], what: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": what}


def _responses(path: str) -> dict[str, Any]:
    problems = PROBLEMS.get(path, {}) | ({} if path in OPEN_ROUTES else GUARDED)
    found = {status: _content(what, PROBLEM, _build_ref("Problem")) for status, what in problems.items()}
    if path == "/tag":
        labels = {"type": "array", "items": _build_ref("Label")}
        answer = _content("labels by score, or the record", JSON, {"oneOf": [labels, _build_ref("Record")]})
        return {"200": answer | {"headers": STATUS_HEADERS}, **found}
    return found | {status: _content(*answer) for status, answer in ANSWERS.get(path, {}).items()}


def _content(what: str, kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": what, "content": {kind: {"schema": schema}}}


def _build_ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _photo() -> dict[str, Any]:
    form = {"type": "object", "required": ["file"], "properties": {"file": IMAGE}}
    return {"required": True, "content": {"multipart/form-data": {"schema": form}, "*/*": {"schema": IMAGE}}}
