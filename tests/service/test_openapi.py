"""The description by OpenAPI is of what there is, and what is asked and answered is as it says."""

import json
import re
from hashlib import sha256

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from served import OTTO, PLACED, SHOP, email, service
from starlette.routing import Route

from actors.service.app import make_app
from actors.service.http.openapi import ENDPOINTS, document

DOCUMENT = document()
REVIEWED = "1f9701f9c6754e7a59c3b9025ec414db93f8e6cad1630d0b41baf8c218da00f1"
"""The digest of the whole description but for the version. A change that is meant puts another one here."""


def validator(schema):
    resource = Resource.from_contents(DOCUMENT, default_specification=DRAFT202012)
    rooted = {"$ref": schema["$ref"].replace("#", "urn:openapi#")} if "$ref" in schema else schema
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **DOCUMENT, **rooted}
    return Draft202012Validator(whole, registry=Registry().with_resource("urn:openapi", resource))


def schema_of(method, path, code=None):
    operation = DOCUMENT["paths"][path][method]
    holder = operation["requestBody"] if code is None else operation["responses"][str(code)]
    return holder["content"]["application/json"]["schema"]


def test_every_route_but_those_of_the_console_is_described():
    there = {
        (method, re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path))
        for route in make_app().routes
        if isinstance(route, Route) and not route.path.startswith("/console")
        for method in route.methods - {"HEAD"}
    }
    described = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert described == there


def references(part):
    if isinstance(part, dict):
        yield from [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def test_every_reference_is_to_a_schema_and_every_schema_is_one():
    schemas = DOCUMENT["components"]["schemas"]
    assert {reference.rpartition("/")[2] for reference in references(DOCUMENT)} <= set(schemas)
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)


def test_the_description_is_the_one_that_was_reviewed():
    found = sha256(json.dumps(DOCUMENT | {"info": None}).encode()).hexdigest()
    assert found == REVIEWED, f"review the change of the description, then put {found} into REVIEWED"


def test_operations_have_names_of_their_own():
    names = [operation["operationId"] for path in DOCUMENT["paths"].values() for operation in path.values()]
    assert len(set(names)) == len(names) == len(ENDPOINTS)


@pytest.mark.parametrize(
    ("path", "body", "is_valid"),
    [
        ("/events", PLACED, True),
        ("/events", [PLACED, PLACED], True),
        ("/events", PLACED | {"order_id": 7}, False),
        ("/events", {"type": "PasswordResetRequested", "id": 1}, True),
        ("/events", {"order_id": "7"}, False),
        ("/notifications", email(1), True),
        ("/notifications", email(1, priority="bulk", not_before="2026-01-31T12:00:00Z", metadata={"lang": "de"}), True),
        ("/notifications", email(1, channel="pigeon"), False),
        ("/notifications", {"channel": "email"}, False),
    ],
)
async def test_what_is_described_is_what_is_taken(path, body, is_valid, tmp_path, autojump_clock):
    assert validator(schema_of("post", path)).is_valid(body) == is_valid
    if "PasswordReset" not in str(body):  # the settings name none
        async with service(tmp_path) as served:
            answer = await served.post(path, body)
        assert (answer.status_code == 202) == is_valid


async def test_answers_are_as_described(tmp_path, autojump_clock):
    async with service(tmp_path) as served:
        accepted = await served.post("/notifications", [email(1)])
        event = await served.post("/events", PLACED)
        states = [await served.get("/notifications/n-1", token) for token in (SHOP, OTTO)]
        shown = await served.get("/openapi.json", None)
    assert shown.json() == DOCUMENT
    for answer, method, path in [
        (accepted, "post", "/notifications"),
        (event, "post", "/events"),
        *((state, "get", "/notifications/{id}") for state in states),
    ]:
        assert answer.status_code < 300
        validator(schema_of(method, path, answer.status_code)).validate(answer.json())
