"""JSON over HTTP for the dead letter queue, bulk runs, breakers, endpoints and the audit trail. Readers look, operators
do.

::

    GET  /api/dead-letters                  ?reason= &reason_is= &channel= &recipient= &id= &since= &until=
                                            &limit= &after= &order=oldest|newest
    GET  /api/dead-letters/groups           ?by=reason|channel|recipient, and the filter
    GET  /api/notifications/{id}            all that is known of one notification, whatever its state and its id
    GET  /api/dead-letters/{id}             the same, but for the id `groups`
    POST /api/dead-letters/{id}/retry       {"why": …, "edit": {"recipient": …, "subject": …, "message": …,
                                            "metadata": {…}, "expires_after": seconds,
                                            "priority": …},
                                            "served": "exclude"|"include"}; all may be left out
    POST /api/dead-letters/{id}/discard     {"why": …}
    POST /api/dead-letters/bulk             {"action": "retry"|"discard", "filter": {…}, "rate": "10/s", "why": …,
                                            "served": "exclude"|"include", "dry_run": true}; the filter {} is for all
                                            of them
    GET  /api/bulks                         the runs of this process, newest first
    GET  /api/bulks/{id}
    POST /api/bulks/{id}/cancel
    GET  /api/breakers                      ?channel= &limit= of their history
    POST /api/breakers/{channel}            {"order": "force-open"|"disable"|"close"|"metrics-only",
                                            "provider": …, "why": …}
    GET  /api/endpoints                     ?channel= &state= &limit=: of which every attempt fails, the disabled first
    POST /api/endpoints/enable              {"channel": …, "address": …, "why": …}
    GET  /api/audit                         ?id= &limit=, newest first
    POST /api/users/{user}/erase            {"why": …}: erases what is kept of a user, and says how much

Times are as RFC 3339 has them, or say how long ago (``2h``). An answer of 200 or 202 comes when what was done is
durable. What cannot be read is answered by 422 and all that is wrong,
``{"problems": ["limit: wanted …, got 'many'"]}``; a retry or discard of what is no dead letter (any more) by 409, or by
404 where the id is unknown. A dead letter with ``"served": true`` has a fallback that was delivered or is under way:
its retry is answered by 409, and a bulk retry leaves it out (``"left_out"`` says how many), unless they ask for
``"served": "include"``.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from actors.endpoints import EndpointState
from actors.errors import ConfigurationError, EditRefused, LetterServed, UnknownChannel
from actors.messages import NotificationChannel
from actors.notifier import BreakerOverride
from actors.pipeline.orders import Served
from actors.service.http.access import Role, require
from actors.service.http.bodies import SETTINGS_VALUES_MAX, content_of
from actors.service.http.paths import IdRoute
from actors.service.operations import json as documents
from actors.service.operations.bulk import RATE_MAX_PER_S
from actors.service.operations.dead_letters import DeadLetters
from actors.service.operations.filters import FilterSettings
from actors.service.operations.queries import grouped, read_cursor, worked_out
from actors.settings.base import Settings, validated
from actors.settings.quantities import Rate, Text, Wanted, parse_rate

_Answer: TypeAlias = Callable[[Request], Awaitable[Response]]
S = TypeVar("S", bound=Settings)


def _limit(value: Any, _unit_required: bool) -> int | None:
    text = str(value)
    return int(text) if text.isdecimal() and len(text) < 6 and 1 <= int(text) <= LIMIT_MAX else None


def _page(value: Any, _unit_required: bool) -> str | None:
    return value if isinstance(value, str) and read_cursor(value) is not None else None


def _rate(value: Any, _unit_required: bool) -> Rate | None:
    rate = parse_rate(value)
    return rate if rate is not None and 0 < rate.per_second <= RATE_MAX_PER_S else None


LIMIT_MAX = 1_000

_Limit = Annotated[
    int,
    Wanted(f"a whole number from 1 to {LIMIT_MAX}", _limit, {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX}),
]
_Cursor = Annotated[str, Wanted("the `next` of a page", _page, {"type": "string"})]
_Pace = Annotated[Rate, Wanted(f"a rate such as 10/s, of at most {RATE_MAX_PER_S:,.0f}/s", _rate, {"type": "string"})]


class _ListQuery(FilterSettings):
    limit: _Limit = 50
    after: _Cursor | None = None
    order: Literal["oldest", "newest"] = "oldest"


class _GroupsQuery(FilterSettings):
    by: Literal["reason", "channel", "recipient"] = "reason"


class _Retry(Settings):
    wanted_text: ClassVar[str] = 'an object such as {"why": "the address is corrected", "edit": {"recipient": …}}'

    why: Text | None = None
    edit: dict[str, Any] | None = None
    served: Served = "exclude"


class _Discard(Settings):
    wanted_text: ClassVar[str] = 'an object such as {"why": "test data"}'

    why: Text


class _Bulk(Settings):
    action: Literal["retry", "discard"]
    filter: FilterSettings
    rate: _Pace = Rate(10, 1)
    why: Text | None = None
    served: Served = "exclude"
    dry_run: bool = False


class _BreakerOverride(Settings):
    order: BreakerOverride
    provider: Text | None = None
    why: Text | None = None


class _EndpointsQuery(Settings):
    channel: NotificationChannel | None = None
    state: EndpointState | None = None
    limit: _Limit = 100


class _Enable(Settings):
    wanted_text: ClassVar[str] = 'an object such as {"channel": "webhook", "address": "https://example.com/hook"}'

    channel: NotificationChannel
    address: Text
    why: Text | None = None


class _BreakersQuery(Settings):
    channel: NotificationChannel | None = None
    limit: _Limit = 100


class _Erase(Settings):
    wanted_text: ClassVar[str] = 'an object such as {"why": "asked for by letter"}'

    why: Text | None = None


class _AuditQuery(Settings):
    id: Text | None = None
    limit: _Limit = 100


def routes() -> list[BaseRoute]:
    """Return the routes."""
    return [
        _route("GET", "/api/dead-letters", _list),
        _route("GET", "/api/dead-letters/groups", _groups),
        _route("POST", "/api/dead-letters/bulk", _start_bulk),
        _route("POST", "/api/dead-letters/{id:text}/retry", _retry),
        _route("POST", "/api/dead-letters/{id:text}/discard", _discard),
        _route("GET", "/api/dead-letters/{id:text}", _show, "retry", "discard"),
        _route("GET", "/api/notifications/{id:text}", _show),
        _route("GET", "/api/bulks", _list_bulks),
        _route("GET", "/api/bulks/{id:text}", _show_bulk, "cancel"),
        _route("POST", "/api/bulks/{id:text}/cancel", _cancel_bulk),
        _route("GET", "/api/breakers", _list_breakers),
        _route("POST", "/api/breakers/{channel}", _override_breaker),
        _route("GET", "/api/endpoints", _list_endpoints),
        _route("POST", "/api/endpoints/enable", _enable_endpoint),
        _route("GET", "/api/audit", _audit),
        _route("POST", "/api/users/{user:text}/erase", _erase),
    ]


def _route(method: str, path: str, answer: _Answer, *actions: str) -> IdRoute:
    @functools.wraps(answer)
    async def answered(request: Request) -> Response:
        require(request, Role.READER if method == "GET" else Role.OPERATOR)
        try:
            return await answer(request)
        except ConfigurationError as error:
            return _json({"problems": error.problems}, HTTPStatus.UNPROCESSABLE_ENTITY)

    return IdRoute(path, answered, method=method, actions=actions)


# ── dead letters ────────────────────────────────────────────────────────────────────────────────────────────────────


async def _list(request: Request) -> Response:
    query = _query(request, _ListQuery)
    page = await _letters(request).page(
        query.filter, limit=query.limit, after=query.after, newest_first=query.order == "newest"
    )
    return _json({"dead_letters": [documents.of_letter(letter) for letter in page.letters], "next": page.next})


async def _groups(request: Request) -> Response:
    query = _query(request, _GroupsQuery)
    found = await _letters(request).find(query.filter)

    def answer() -> Response:
        groups = [documents.of_group(group) for group in grouped(found, query.by)]
        return _json({"by": query.by, "groups": groups})

    return await worked_out(found, answer)


async def _show(request: Request) -> Response:
    timeline = await _letters(request).show(request.path_params["id"])
    if timeline is None:
        raise HTTPException(404, "no notification with this id is known, or it is no longer known")
    return _json(documents.of_timeline(timeline))


async def _retry(request: Request) -> Response:
    who, body = require(request, Role.OPERATOR), await _body(request, _Retry)
    notification_id = request.path_params["id"]
    try:
        done = await _letters(request).retry(
            notification_id, by=who.name, edit=body.edit, why=body.why, served=body.served
        )
    except LetterServed as served:
        raise HTTPException(409, str(served)) from None
    except EditRefused as refused:
        problems = [f"edit.{field}: {problem}" for field, problem in refused.problems.items()]
        raise ConfigurationError(problems) from None
    return await _done(request, notification_id, "retried", done)


async def _discard(request: Request) -> Response:
    who, body = require(request, Role.OPERATOR), await _body(request, _Discard)
    notification_id = request.path_params["id"]
    done = await _letters(request).discard(notification_id, by=who.name, why=body.why)
    return await _done(request, notification_id, "discarded", done)


async def _done(request: Request, notification_id: str, what: str, done: bool) -> Response:
    if done:
        return _json({"id": notification_id, what: True})
    timeline = await _letters(request).show(notification_id)
    if timeline is None:
        raise HTTPException(404, "no notification with this id is known, or it is no longer known")
    state = _IN_WORDS.get(timeline.state, f"was {timeline.state}")
    raise HTTPException(409, f"wanted a dead letter, got a notification that {state}")


_IN_WORDS = {"in flight": "is in flight", "ended": "has ended", "dead letter": "was none a moment ago"}


# ── bulk runs ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def _start_bulk(request: Request) -> Response:
    who, body = require(request, Role.OPERATOR), await _body(request, _Bulk)
    letters, filter = _letters(request), body.filter.filter
    if body.dry_run:
        # With this filter a run is about those that were shown, and not about what has come since.
        bounded = filter if filter.until is not None else replace(filter, until=_now(request))
        found = await letters.find(bounded)

        def answer() -> Response:
            dry = letters.dry_run(bounded, body.action, served=body.served, found=found)
            return _json(documents.of_dry_run(dry, bounded))

        return await worked_out(found, answer)
    if body.action == "discard" and body.why is None:
        raise ConfigurationError(["why: wanted the reason of a discard, got nothing"])
    if body.action == "discard" and body.served == "include":
        raise ConfigurationError(["served: wanted it only with the action retry; a discard takes all that fit"])
    bulk = letters.start_bulk(
        body.action,
        filter,
        by=who.name,
        why=body.why,
        rate_per_s=body.rate.per_second,
        served=body.served,
        found=await letters.find(filter),
    )
    return _json(documents.of_bulk(bulk), HTTPStatus.ACCEPTED)


async def _list_bulks(request: Request) -> Response:
    return _json({"bulks": [documents.of_bulk(bulk) for bulk in reversed(_letters(request).bulks())]})


async def _show_bulk(request: Request) -> Response:
    return _json(documents.of_bulk(_bulk_of(request)))


async def _cancel_bulk(request: Request) -> Response:
    bulk = _bulk_of(request)
    if not bulk.cancel(require(request, Role.OPERATOR).name):
        raise HTTPException(409, f"it is {bulk.state} already")
    return _json(documents.of_bulk(bulk))


def _bulk_of(request: Request) -> Any:
    bulk = _letters(request).bulk(request.path_params["id"])
    if bulk is None:
        raise HTTPException(404, "no bulk run of this name has been started since this process was")
    return bulk


# ── breakers and audit ──────────────────────────────────────────────────────────────────────────────────────────────


async def _list_breakers(request: Request) -> Response:
    query, service = _query(request, _BreakersQuery), request.app.state.service
    now = service.breakers.now(service.notifier.pipeline, service.config.notifier)
    history = service.breakers.history(limit=query.limit, channel=query.channel)
    return _json(
        {
            "breakers": [documents.of_breaker(each) for each in now if query.channel in (None, each.channel)],
            "history": [documents.of_event(each) for each in history],
        }
    )


async def _override_breaker(request: Request) -> Response:
    who, body = require(request, Role.OPERATOR), await _body(request, _BreakerOverride)
    try:
        changed = await _letters(request).operate_breaker(
            request.path_params["channel"], body.order, body.provider, by=who.name, why=body.why
        )
    except UnknownChannel as error:
        raise HTTPException(404, str(error)) from None
    return _json({"changed": changed})


async def _list_endpoints(request: Request) -> Response:
    query = _query(request, _EndpointsQuery)
    endpoints = _letters(request).endpoints
    return _json(documents.of_endpoints(endpoints, query.limit, query.state, query.channel))


async def _enable_endpoint(request: Request) -> Response:
    who, body = require(request, Role.OPERATOR), await _body(request, _Enable)
    if not await _letters(request).enable_endpoint(body.channel, body.address, by=who.name, why=body.why):
        raise HTTPException(404, f"no endpoint {body.address} of channel {body.channel} is disabled")
    return _json({"enabled": True})


async def _audit(request: Request) -> Response:
    query = _query(request, _AuditQuery)
    entries = await _letters(request).audit(query.limit, query.id)
    return _json({"audit": [documents.of_audit(entry) for entry in entries]})


async def _erase(request: Request) -> Response:
    who, body = require(request, Role.OPERATOR), await _body(request, _Erase)
    erased = await _letters(request).erase(request.path_params["user"], by=who.name, why=body.why)
    return _json(erased._asdict())


# ── requests and answers ────────────────────────────────────────────────────────────────────────────────────────────


def _letters(request: Request) -> DeadLetters:
    letters: DeadLetters = request.app.state.service.dead_letters
    return letters


def _now(request: Request) -> Any:
    return request.app.state.service.notifier.system.present


def _query(request: Request, model: type[S]) -> S:
    """Return what the address asks for; what is empty is as if it were not there, as an empty field of a form."""
    return validated(model, {name: value for name, value in request.query_params.items() if value})


async def _body(request: Request, model: type[S]) -> S:
    """Return what the body asks for; none is as if it were an empty object."""
    headers = request.headers
    has_one = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
    return validated(model, await content_of(request, SETTINGS_VALUES_MAX) if has_one else {})


def _json(document: Any, status: int = HTTPStatus.OK) -> Response:
    # `str` for what metadata may hold beside what JSON has.
    return Response(msgspec.json.encode(document, enc_hook=str), status, media_type="application/json")
