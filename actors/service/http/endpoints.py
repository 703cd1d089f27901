"""HTTP endpoints: by its one declaration the service routes, checks, reads, answers and describes an endpoint.

::

    ENDPOINTS = HttpEndpoints()

    @ENDPOINTS("POST /api/dead-letters/{id:text}/discard", "Remove a dead letter for good.", codes={409: "…"})
    async def _discard(call: Call, body: _Discard) -> Document:
        ...

The caller needs the role reader for a GET and operator for other methods, unless `roles` says otherwise. The models of
`query` and `body` in the signature read and check the request, and describe it in ``/openapi.json``; a refused request
is answered by 422 and ``{"problems": ["limit: wanted …, got 'many'"]}``. A document is answered as JSON, None by the
status alone. A new subject of endpoints goes into the list in :mod:`actors.service.http.openapi`.

An id may be any text. A client writes it as one part of the path, percent-encoded, so that an encoded slash is a
character of the id (RFC 3986, section 2.2). A plain slash belongs to the id too, unless the path then ends like an
action's path: ``POST /notifications/a/cancel`` cancels ``a``, ``GET /notifications/a%2Fcancel`` shows ``a/cancel``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeAlias, TypeVar, get_type_hints
from urllib.parse import unquote

import msgspec
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

from actors.errors import ConfigurationError
from actors.service.http.access import Principal, Role, require
from actors.service.http.bodies import Refusal, content_or_nothing
from actors.service.operations.dead_letters import DeadLetters
from actors.service.reloading.live_settings import LiveSettings
from actors.settings.base import Settings, validated

Document: TypeAlias = dict[str, Any]
F = TypeVar("F", bound=Callable[..., Awaitable[Document | list[Document] | Response | None]])

NO_ONE = Principal("", Role.INGEST)
"""The caller of an endpoint that needs no role."""

UNKNOWN_ID = "no notification with this id is known, or it is no longer known"

UNKNOWN = {404: "the id is unknown, or no longer known"}
INVALID = {422: "it cannot be read; `problems` says what is wrong"}


def named(schema: str) -> Document:
    """Return the reference to a schema by its name in :mod:`actors.service.http.openapi`."""
    return {"$ref": f"#/components/schemas/{schema}"}


def one_or_several(schema: str) -> Document:
    return {"oneOf": [named(schema), {"type": "array", "items": named(schema), "maxItems": 1_000}]}


def as_json(document: Any, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
    # `str` for values of metadata that JSON does not have.
    return Response(msgspec.json.encode(document, enc_hook=str), status, headers, media_type="application/json")


@dataclass(frozen=True)
class Call:
    """An authorised request."""

    request: Request
    who: Principal

    @property
    def id(self) -> str:
        """The id, user, channel or name that stands in the path."""
        (text,) = self.request.path_params.values()
        return str(text)

    @property
    def service(self) -> Any:
        """The service as it is now: while a body came, other settings may have been read."""
        return self.request.app.service

    @property
    def letters(self) -> DeadLetters:
        letters: DeadLetters = self.service.dead_letters
        return letters

    @property
    def live(self) -> LiveSettings:
        live: LiveSettings = self.service.live_settings
        return live


@dataclass(frozen=True, kw_only=True)
class HttpEndpoint:
    """One endpoint, as it is declared. 401, 403, 404 of an id and 422 of a model need no mention in `codes`."""

    method: str
    path: str
    """With ``{id:text}`` where an id stands, and nothing or the word of an action behind it."""
    does: str
    roles: tuple[Role, ...]
    """The roles that may call it: one of them suffices. (): anyone, without a token."""
    success: int = 200
    """The status of a document, or of None."""
    codes: Mapping[int, str]
    """The meanings of further statuses."""
    query: type[Settings] | tuple[str, ...] = ()
    """The model of its query, or the names of parameters that `answer` reads by itself."""
    body: type[Settings] | Document | None = None
    """The model of its body, or the schema of a body that `answer` reads by itself."""
    content_type: str = "application/json"
    """The media type of the body."""
    schema: Document | None = None
    """The schema of the answer's document; None: it is not described."""
    exact: bool
    models: Mapping[str, type[Settings]]
    """The models of `query` and `body` that are read before `answer` is called."""
    read: Callable[[Request], Awaitable[Any]]
    answer: Callable[..., Awaitable[Any]]

    async def respond(self, request: Request) -> Response:
        who = require(request, *self.roles) if self.roles else NO_ONE
        given: dict[str, Any] = {}
        try:
            if (query := self.models.get("query")) is not None:
                # An empty value counts as left out, as an empty field of a form does.
                said = {name: value for name, value in request.query_params.items() if value}
                given["query"] = validated(query, said)
            if (body := self.models.get("body")) is not None:
                given["body"] = validated(body, await self.read(request))
            answer = await self.answer(Call(request, who), **given)
        except ConfigurationError as error:
            return as_json({"problems": error.problems}, HTTPStatus.UNPROCESSABLE_ENTITY)
        except Refusal as refusal:
            return as_json({"problems": [refusal.problem]}, refusal.status)
        if isinstance(answer, Response):
            return answer
        return Response(status_code=self.success) if answer is None else as_json(answer, self.success)


class HttpEndpoints(list[HttpEndpoint]):
    """The endpoints of a subject, in the order in which they are described."""

    def __init__(self, read: Callable[[Request], Awaitable[Any]] = content_or_nothing, *, exact: bool = False) -> None:
        """Declare none yet.

        Args:
            read: returns what a body says, for its model to check.
            exact: whether a path without an id is refused as well with a further or an encoded slash.
        """
        super().__init__()
        self._read = read
        self._exact = exact

    def __call__(self, path: str, does: str, **said: Any) -> Callable[[F], F]:
        """Declare the endpoint that the decorated function answers.

        Args:
            path: its method and path, such as ``GET /api/bulks/{id:text}``.
            does: a sentence about it.
            said: other fields of :class:`HttpEndpoint`.
        """
        method, _, own_path = path.partition(" ")

        def declare(answer: F) -> F:
            models = {name: model for name, model in get_type_hints(answer).items() if name in ("query", "body")}
            codes = {**(UNKNOWN if "{id:" in path else {}), **(INVALID if models else {}), **said.get("codes", {})}
            given: dict[str, Any] = {"roles": (Role.READER if method == "GET" else Role.OPERATOR,), **said, **models}
            given |= {"codes": codes, "models": models, "exact": self._exact or "{" in path, "read": self._read}
            self.append(HttpEndpoint(method=method, path=own_path, does=does, answer=answer, **given))
            return answer

        return declare


def routes_of(endpoints: Sequence[HttpEndpoint]) -> list[BaseRoute]:
    """Return the routes of all endpoints: ids come last, so that no other path is one."""
    return [_route(each, endpoints) for each in sorted(endpoints, key=lambda each: each.path.endswith("}"))]


def _route(endpoint: HttpEndpoint, endpoints: Sequence[HttpEndpoint]) -> BaseRoute:
    if not endpoint.exact:
        return Route(endpoint.path, endpoint.respond, methods=[endpoint.method])
    before = f"{endpoint.path}/"
    actions = {each.path.removeprefix(before) for each in endpoints if each.path.startswith(before)}
    return _ExactRoute(endpoint, actions if endpoint.path.endswith("}") else set())


class _Text(Convertor[str]):
    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value


register_url_convertor("text", _Text())


class _ExactRoute(Route):
    """A route whose path ends with an id, or with a word, such as an action's after an id.

    `actions` are the last words of other paths that begin like this one.
    """

    def __init__(self, endpoint: HttpEndpoint, actions: set[str]) -> None:
        super().__init__(endpoint.path, endpoint.respond, methods=[endpoint.method])
        self._actions = actions
        *before, last = endpoint.path.split("/")
        self._word = None if last.startswith("{") else last
        self._parts = len(before) + 1

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child = super().matches(scope)
        return (match, child) if match is not Match.NONE and self._is_meant(scope) else (Match.NONE, {})

    def _is_meant(self, scope: Scope) -> bool:
        parts = scope.get("raw_path", scope["path"].encode()).split(b"/")
        last = unquote(parts[-1].decode("ascii", "replace"))
        if self._word is not None:
            return last == self._word
        return last not in self._actions or len(parts) <= self._parts
