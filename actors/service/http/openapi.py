"""The description of all that is asked over HTTP, by the OpenAPI Specification 3.1: ``GET /openapi.json``.

Bodies are described by the models that read them, so they cannot differ from what is taken. It needs no token, as it
says nothing of what the service holds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, get_args

import msgspec
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from actors.domain.notification_state import State
from actors.domain.user_preferences import UserPreferences
from actors.messages import DomainEvent, NotificationChannel, Priority, SendNotification
from actors.service.http import routes as api, settings_routes as settings
from actors.service.tokens import Role

PATH = "/openapi.json"

_REF = "#/components/schemas/{}"
_EVENTS: tuple[type[Any], ...] = get_args(DomainEvent)
_TIME: dict[str, Any] = {"type": ["string", "null"], "format": "date-time"}


@dataclass(frozen=True, kw_only=True)
class Described:
    """What is to be said of one operation."""

    does: str
    """A sentence."""
    roles: tuple[Role, ...] = (Role.READER,)
    """Who may; none: anyone."""
    body: type[BaseModel] | dict[str, Any] | None = None
    """The model, or the schema, of the JSON that it takes."""
    content_type: str = "application/json"
    """Of that body."""
    query: type[BaseModel] | tuple[str, ...] = ()
    """The model of its query, or the names in it."""
    codes: Mapping[int, str] = field(default_factory=dict)
    """What further answers mean, beside that of success, 401 and 403."""
    success: int = 200
    answer: dict[str, Any] | None = None
    """The schema of the answer; None: it is described where the route is."""


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": _REF.format(name)}


def _one_or_several(schema: dict[str, Any]) -> dict[str, Any]:
    return {"oneOf": [schema, {"type": "array", "items": schema, "maxItems": 1_000}]}


_ANY = {
    431: "wanted a head of at most 16 KiB and 100 headers",
    503: "not now, such as while four large answers are being sent; `Retry-After` says when",
}
_UNKNOWN = {404: "the id is unknown, or no longer known"}
_INVALID = {422: "it cannot be read; `problems` says what is wrong"}
_TAKES = {
    207: "a list of which not all is accepted: each item has its own `code`",
    409: "the id came before, with other content",
    413: "too long, or too many items",
    422: "invalid; `problems` says which fields, and what was wanted",
    429: "as many are pending as may be; Retry-After says when to send the same again",
    503: "it is shutting down, or cannot write to its store now; send the same again",
}
_INGEST, _OPERATOR = (Role.INGEST,), (Role.OPERATOR,)

OPERATIONS: Mapping[tuple[str, str], Described] = {
    ("POST", "/events"): Described(
        does="Hand in an event, or a list of them; the settings may name further types.",
        roles=_INGEST,
        body=_one_or_several(_ref("Event")),
        success=202,
        codes=_TAKES,
        answer=_one_or_several(_ref("EventResult")),
    ),
    ("POST", "/notifications"): Described(
        does="Hand in a notification, or a list of them.",
        roles=_INGEST,
        body=_one_or_several(_ref("SendNotification")),
        success=202,
        codes=_TAKES,
        answer=_one_or_several(_ref("Result")),
    ),
    ("GET", "/notifications/{id}"): Described(
        does="Say where a notification is.",
        roles=(Role.INGEST, Role.READER),
        codes=_UNKNOWN,
        answer=_ref("NotificationState"),
    ),
    ("POST", "/notifications/{id}/cancel"): Described(
        does="Cancel a notification that waits.",
        roles=_INGEST,
        codes=_UNKNOWN | {409: "it does not wait"},
    ),
    ("POST", "/callbacks/twilio"): Described(
        does="Take a status callback of Twilio's, which is signed.",
        roles=(),
        body={"type": "object", "additionalProperties": {"type": "string"}},
        content_type="application/x-www-form-urlencoded",
        success=204,
        codes={400: "no form, or no id or address in it", 403: "the signature is wrong", 413: "too long"},
    ),
    ("POST", "/callbacks/bounces"): Described(
        does="Take a delivery status notification (RFC 3464).",
        roles=_INGEST,
        body={"type": "string"},
        content_type="message/rfc822",
        codes={413: "too long"},
    ),
    ("GET", "/healthz"): Described(does="Say how it is, for people.", roles=(), codes={503: "it is not well"}),
    ("GET", "/healthz/live"): Described(does="Say that it lives.", roles=()),
    ("GET", "/healthz/ready"): Described(
        does="Say whether it takes anything.", roles=(), codes={503: "not now, such as while it shuts down"}
    ),
    ("GET", "/metrics"): Described(does="Give the metrics, for Prometheus.", roles=()),
    ("GET", PATH): Described(does="Give this document.", roles=()),
    ("GET", "/api/dead-letters"): Described(does="List dead letters.", query=api._ListQuery, codes=_INVALID),
    ("GET", "/api/dead-letters/groups"): Described(does="Count them.", query=api._GroupsQuery, codes=_INVALID),
    ("GET", "/api/dead-letters/{id}"): Described(does="The same, but for the id `groups`.", codes=_UNKNOWN),
    ("GET", "/api/notifications/{id}"): Described(
        does="Give all that is known of a notification, whatever its id.", codes=_UNKNOWN
    ),
    ("POST", "/api/dead-letters/{id}/retry"): Described(
        does="Try a dead letter again.",
        roles=_OPERATOR,
        body=api._Retry,
        codes=_UNKNOWN | _INVALID | {409: "it is no dead letter (any more), or is served"},
    ),
    ("POST", "/api/dead-letters/{id}/discard"): Described(
        does="Remove a dead letter for good.",
        roles=_OPERATOR,
        body=api._Discard,
        codes=_UNKNOWN | _INVALID | {409: "it is no dead letter (any more)"},
    ),
    ("POST", "/api/dead-letters/bulk"): Described(
        does="Retry or discard all that fit; with `dry_run`, say which these are.",
        roles=_OPERATOR,
        body=api._Bulk,
        success=202,
        codes=_INVALID | {200: "of a dry run"},
    ),
    ("GET", "/api/bulks"): Described(does="List the bulk runs of this process."),
    ("GET", "/api/bulks/{id}"): Described(does="Give a bulk run.", codes=_UNKNOWN),
    ("POST", "/api/bulks/{id}/cancel"): Described(
        does="Cancel a bulk run.", roles=_OPERATOR, codes=_UNKNOWN | {409: "it has ended already"}
    ),
    ("GET", "/api/breakers"): Described(
        does="Give breakers, and their history.", query=api._BreakersQuery, codes=_INVALID
    ),
    ("POST", "/api/breakers/{channel}"): Described(
        does="Override the breakers of a channel.",
        roles=_OPERATOR,
        body=api._BreakerOverride,
        codes=_INVALID | {404: "the channel is not configured"},
    ),
    ("GET", "/api/endpoints"): Described(
        does="List endpoints of which every attempt fails; first those that are disabled for it.",
        query=api._EndpointsQuery,
        codes=_INVALID,
    ),
    ("POST", "/api/endpoints/enable"): Described(
        does="Send to an endpoint again that is disabled.",
        roles=_OPERATOR,
        body=api._Enable,
        codes=_INVALID | {404: "it is not disabled"},
    ),
    ("GET", "/api/audit"): Described(does="Say who did what.", query=api._AuditQuery, codes=_INVALID),
    ("POST", "/api/users/{user}/erase"): Described(
        does="Erase what is kept of a user.", roles=_OPERATOR, body=api._Erase, codes=_INVALID
    ),
    ("GET", "/api/preferences/{user}"): Described(does="Say what a user has set."),
    ("PUT", "/api/preferences/{user}"): Described(
        does="Set what a user wants.", roles=_OPERATOR, body=UserPreferences, query=("why",), codes=_INVALID
    ),
    ("DELETE", "/api/preferences/{user}"): Described(
        does="Remove what the store has of a user.", roles=_OPERATOR, query=("why",), success=204, codes=_UNKNOWN
    ),
    ("GET", "/api/suppressions"): Described(
        does="List suppressions.", query=("channel", "address", "source", "limit", "after"), codes=_INVALID
    ),
    ("GET", "/api/suppressions.csv"): Described(does="Give all of them, as a table."),
    ("POST", "/api/suppressions"): Described(
        does="Send nothing to an address; or, as text/csv, to those of a table.",
        roles=_OPERATOR,
        body=settings._NewSuppression,
        success=201,
        codes=_INVALID | {200: "of a table"},
    ),
    ("DELETE", "/api/suppressions"): Described(
        does="Lift the suppression of an address.",
        roles=_OPERATOR,
        query=("channel", "address", "why"),
        success=204,
        codes=_INVALID | {404: "it is not suppressed", 409: "it is in a file"},
    ),
    ("GET", "/api/templates"): Described(does="List templates, and what is wrong with them."),
    ("POST", "/api/templates/{name}/preview"): Described(
        does="Fill a template in.", roles=_OPERATOR, body=settings._Preview, codes=_INVALID
    ),
    ("GET", "/api/settings-files"): Described(does="List the files that are watched."),
    ("POST", "/api/settings-files/reload"): Described(does="Read them now.", roles=_OPERATOR),
}
"""All there is but the console, which is for browsers."""


def routes() -> list[BaseRoute]:
    """Return the route."""
    return [Route(PATH, _show, methods=["GET"])]


async def _show(_request: Request) -> Response:
    return JSONResponse(document())


@cache
def document() -> dict[str, Any]:
    """Return the whole document."""
    paths: dict[str, dict[str, Any]] = {}
    for (method, path), described in OPERATIONS.items():
        paths.setdefault(path, {})[method.lower()] = _operation(method, path, described)
    return {
        "openapi": "3.1.0",
        "info": {"title": "retrylab serve", "version": _version()},
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _version() -> str:
    try:
        return version("retrylab")
    except PackageNotFoundError:
        return "unknown"


def _operation(method: str, path: str, described: Described) -> dict[str, Any]:
    answers = {described.success: "it is done", **_ANY, **described.codes}
    if described.roles:
        answers |= {401: "wanted a known token", 403: f"wanted the role {' or '.join(described.roles)}"}
        answers[429] = described.codes.get(429, "too many unknown tokens came from this address")
    operation: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{method.lower()}{path}").strip("_"),
        "summary": described.does,
        "security": [{"token": []}] if described.roles else [],
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"\{(\w+)\}", path)
        ]
        + _query(described.query),
        "responses": {str(code): {"description": text} for code, text in sorted(answers.items())},
    }
    if described.answer is not None:
        content = {"application/json": {"schema": described.answer}}
        operation["responses"][str(described.success)]["content"] = content
    if described.body is not None:
        schema = described.body if isinstance(described.body, dict) else _ref(_name_of(described.body))
        operation["requestBody"] = {"content": {described.content_type: {"schema": schema}}}
    return operation


def _query(query: type[BaseModel] | tuple[str, ...]) -> list[dict[str, Any]]:
    if isinstance(query, tuple):
        return [{"name": name, "in": "query", "schema": {"type": "string"}} for name in query]
    own = query.model_json_schema(by_alias=True, ref_template=_REF.format("{model}"))
    return [{"name": name, "in": "query", "schema": schema} for name, schema in own["properties"].items()]


def _name_of(model: type[BaseModel]) -> str:
    return model.__name__.removeprefix("_")


def _schemas() -> dict[str, Any]:
    _, schemas = msgspec.json.schema_components((SendNotification, *_EVENTS), ref_template=_REF.format("{name}"))
    required = schemas["SendNotification"]["required"]
    schemas["SendNotification"]["required"] = [name for name in required if name != "type"]
    models = [each.body for each in OPERATIONS.values() if isinstance(each.body, type)]
    models += [each.query for each in OPERATIONS.values() if isinstance(each.query, type)]
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
        "Event": {"oneOf": [*map(_ref, known), _ref("OwnEvent")]},
        "Result": result,
        "EventResult": {
            "allOf": [result, {"properties": {"notifications": {"type": "array", "items": _ref("Result")}}}]
        },
        "NotificationState": {
            "type": "object",
            "required": ["notification_id", "state", "channel", "priority"],
            "properties": {
                "notification_id": {"type": "string"},
                "state": {"enum": list(get_args(State))},
                "channel": {"enum": [each.value for each in NotificationChannel]},
                "priority": {"enum": [each.value for each in Priority]},
                "attempts": {"type": ["integer", "null"]},
                "requested_at": _TIME,
                "resumes_at": _TIME,
                "reason": {"type": ["string", "null"]},
            },
        },
    }


def _renamed(schema: Any, renamed: Mapping[str, str]) -> Any:
    """Return a schema whose references have the names that these have here."""
    if isinstance(schema, dict):
        references = {_REF.format(old): _REF.format(new) for old, new in renamed.items()}
        return {
            key: references.get(value, value) if key == "$ref" else _renamed(value, renamed)
            for key, value in schema.items()
        }
    return [_renamed(each, renamed) for each in schema] if isinstance(schema, list) else schema
