"""The description of all HTTP endpoints, by the OpenAPI Specification 3.1: ``GET /openapi.json``.

Bodies are described by the models that read them, so description and reading cannot differ. The document needs no
token, as it shows no data of the service.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from inspect import cleandoc
from typing import Any, get_args

import msgspec
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from actors.channel_names import CHANNEL_NAME_SCHEMA
from actors.domain.notification_state import State
from actors.messages import DomainEvent, Priority, SendNotification
from actors.service.http import callbacks, dead_letters, health, ingest, operating, settings
from actors.service.http.endpoints import Call, Document, HttpEndpoint, HttpEndpoints, named

_REF = "#/components/schemas/{}"
_EVENTS: tuple[type[Any], ...] = get_args(DomainEvent)
_TIME: dict[str, Any] = {"type": ["string", "null"], "format": "date-time"}


OWN = HttpEndpoints()


@OWN("GET /openapi.json", "Give this document.", roles=())
async def _show(_call: Call) -> Document:
    return document()


ENDPOINTS = (
    *ingest.ENDPOINTS,
    *callbacks.ENDPOINTS,
    *health.ENDPOINTS,
    *OWN,
    *dead_letters.ENDPOINTS,
    *operating.ENDPOINTS,
    *settings.ENDPOINTS,
)
_ANY = {
    431: "wanted a head of at most 16 KiB and 100 headers",
    503: "not now, such as while four large answers are being sent; `Retry-After` says when",
}


@cache
def document() -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ENDPOINTS:
        path = re.sub(r"\{(\w+):\w+\}", r"{\1}", endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(path, endpoint)
    return {
        "openapi": "3.1.0",
        "info": {"title": "retrylab serve", "version": _version()},
        "paths": paths,
        "components": {"schemas": _schemas(), "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _version() -> str:
    try:
        return version("retrylab")
    except PackageNotFoundError:
        return "unknown"


def _operation(path: str, endpoint: HttpEndpoint) -> Document:
    answers = {int(endpoint.success): "it is done", **_ANY, **endpoint.codes}
    if endpoint.roles:
        answers |= {401: "wanted a known token", 403: f"wanted the role {' or '.join(endpoint.roles)}"}
        answers[429] = endpoint.codes.get(429, "too many unknown tokens came from this address")
    operation: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{endpoint.method.lower()}{path}").strip("_"),
        "summary": endpoint.does,
        "security": [{"token": []}] if endpoint.roles else [],
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"\{(\w+)\}", path)
        ]
        + _query(endpoint.query),
        "responses": {str(code): {"description": text} for code, text in sorted(answers.items())},
    }
    if endpoint.schema is not None:
        content = {"application/json": {"schema": endpoint.schema}}
        operation["responses"][str(endpoint.success)]["content"] = content
    if endpoint.body is not None:
        schema = endpoint.body if isinstance(endpoint.body, dict) else named(endpoint.body.__name__.removeprefix("_"))
        operation["requestBody"] = {"content": {endpoint.content_type: {"schema": schema}}}
    return operation


def _query(query: type[BaseModel] | tuple[str, ...]) -> list[dict[str, Any]]:
    if isinstance(query, tuple):
        return [{"name": name, "in": "query", "schema": {"type": "string"}} for name in query]
    own = query.model_json_schema(by_alias=True, ref_template=_REF.format("{model}"))
    return [{"name": name, "in": "query", "schema": schema} for name, schema in own["properties"].items()]


def _schemas() -> dict[str, Any]:
    _, schemas = msgspec.json.schema_components((SendNotification, *_EVENTS), ref_template=_REF.format("{name}"))
    for schema in schemas.values():
        if "description" in schema:  # a docstring, which Python indents as it stands in the file before 3.13
            schema["description"] = cleandoc(schema["description"])
    required = schemas["SendNotification"]["required"]
    schemas["SendNotification"]["required"] = [name for name in required if name != "type"]
    models = [each.body for each in ENDPOINTS if isinstance(each.body, type)]
    models += [each.query for each in ENDPOINTS if isinstance(each.query, type)]
    _, found = models_json_schema([(model, "validation") for model in models], ref_template=_REF.format("{model}"))
    renamed = {name: name.removeprefix("_") for name in found["$defs"]}
    for name, schema in found["$defs"].items():
        schemas[renamed[name]] = _renamed(schema, renamed)
    problems = {"type": "array", "items": {"type": "object", "required": ["field", "problem"]}}
    status = {"enum": ["accepted", "duplicate", "conflict", "overloaded", "busy", "invalid"]}
    result = {
        "type": "object",
        "required": ["status"],
        "properties": {
            "status": status,
            "code": {"type": "integer"},
            "notification_id": {"type": "string"},
            "problems": problems,
            "retry_after": {"type": "integer"},
        },
    }
    own = {"type": "object", "required": ["type"], "properties": {"type": {"type": "string"}}}
    known = [kind.__name__ for kind in _EVENTS]
    own["properties"] = {"type": {"type": "string", "not": {"enum": known}}}
    return schemas | {
        "OwnEvent": own,
        "Event": {"oneOf": [*map(named, known), named("OwnEvent")]},
        "Result": result,
        "EventResult": {
            "allOf": [result, {"properties": {"notifications": {"type": "array", "items": named("Result")}}}]
        },
        "NotificationState": {
            "type": "object",
            "required": ["notification_id", "state", "channel", "priority"],
            "properties": {
                "notification_id": {"type": "string"},
                "state": {"enum": list(get_args(State))},
                "channel": CHANNEL_NAME_SCHEMA,
                "priority": {"enum": [each.value for each in Priority]},
                "attempts": {"type": ["integer", "null"]},
                "requested_at": _TIME,
                "resumes_at": _TIME,
                "reason": {"type": ["string", "null"]},
            },
        },
    }


def _renamed(schema: Any, renamed: Mapping[str, str]) -> Any:
    if isinstance(schema, dict):
        references = {_REF.format(old): _REF.format(new) for old, new in renamed.items()}
        return {
            key: references.get(value, value) if key == "$ref" else _renamed(value, renamed)
            for key, value in schema.items()
        }
    return [_renamed(each, renamed) for each in schema] if isinstance(schema, list) else schema
