"""How events and notifications come in: ``POST /events`` and ``POST /notifications``, one or a list of them, in JSON.

::

    POST /events            {"type": "OrderPlaced", "order_id": "7", …}     or a list
    POST /notifications     {"notification_id": "n-1", "channel": "email", "recipient": …, "message": …}     or a list

The answer comes when what is accepted is durable. Each item has a result, in order: its `status`, the HTTP `code` that
it would have alone, and what is wrong with it.

============  ====  =====================================================================================
status        code
============  ====  =====================================================================================
accepted      202   it is in the store
duplicate     202   the same was accepted before; nothing happens
conflict      409   the id was accepted before, with something else in it
invalid       422   `problems` says which fields, and what was wanted
============  ====  =====================================================================================

An item alone is answered with its own code, a list with 202 when all its items are, else with 207. An event leads
to several notifications; its result lists them.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeAlias, TypeVar, get_args

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from actors.errors import IdempotencyConflict, UnknownChannel, Unstorable
from actors.messages import DomainEvent, NotificationChannel, SendNotification, in_words
from actors.notifier import Notifier
from actors.pipeline.event_bus import Submission
from actors.pipeline.orders import Acceptance
from actors.service.http.access import Role, require
from actors.service.http.surrogates import NO_TEXT, is_why_it_cannot_be_read
from actors.settings.base import nearest, unknown

BODY_MAX = 2**20
"""Bytes of a request's body."""

ITEMS_MAX = 1_000
"""Items of a list."""

_CODES = {"accepted": 202, "duplicate": 202, "conflict": 409, "invalid": 422}
_EVENTS: dict[str, type[Any]] = {event.__name__: event for event in get_args(DomainEvent)}

T = TypeVar("T")
Result: TypeAlias = dict[str, Any]
_Answer: TypeAlias = Callable[[], Awaitable[Result]]


def routes() -> list[BaseRoute]:
    """Return the routes."""
    return [
        Route("/events", receive_events, methods=["POST"]),
        Route("/notifications", receive_notifications, methods=["POST"]),
    ]


async def receive_events(request: Request) -> Response:
    """Take domain events."""
    return await _receive(request, _event, _submit_event)


async def receive_notifications(request: Request) -> Response:
    """Take notifications."""
    return await _receive(request, _notification, _submit_notification)


async def _receive(request: Request, read: Callable[[Any], T], submit: Callable[[Notifier, T], _Answer]) -> Response:
    require(request, Role.INGEST)
    service = request.app.state.service
    if service.status.draining:
        raise HTTPException(503, "the service is shutting down", {"Retry-After": str(service.status.retry_after_s)})
    content = await content_of(request)
    is_list = isinstance(content, list)
    items = content if is_list else [content]
    if len(items) > ITEMS_MAX:
        raise HTTPException(413, f"wanted at most {ITEMS_MAX:,} items, got {len(items):,}")
    # All are on their way before any is waited for: so they are made durable together.
    answers: list[_Answer] = []
    for item in items:
        try:
            answers.append(submit(service.notifier, read(item)))
        except _Invalid as invalid:
            answers.append(_already(_result("invalid", problems=invalid.problems)))
    results = [await answer() for answer in answers]
    for result in results:
        result["code"] = _CODES[result["status"]]
    if not is_list:
        return JSONResponse(results[0], results[0]["code"])
    return JSONResponse(results, 202 if all(result["code"] == 202 for result in results) else 207)


async def content_of(request: Request) -> Any:
    """Return what the body says.

    Raises:
        HTTPException: it is too long, or no JSON.
    """
    too_long = HTTPException(413, f"wanted a body of at most {BODY_MAX:,} bytes")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > BODY_MAX:
        raise too_long
    body = await body_of(request, BODY_MAX, too_long)
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        reason = str(error) if isinstance(error, msgspec.DecodeError) else "not UTF-8, or too deep"
        if is_why_it_cannot_be_read(body):
            reason = NO_TEXT
        raise HTTPException(400, f"wanted JSON: {reason}") from None


async def body_of(request: Request, at_most: int, too_long: Exception) -> bytes:
    """Return the body of a request; raise the error where it has more bytes, without reading them all."""
    body = bytearray()
    async with aclosing(request.stream()) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > at_most:
                raise too_long
    return bytes(body)


# ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Invalid(Exception):
    """An item that is none; never with a value of it, since this may be logged."""

    def __init__(self, *problems: tuple[str, str]) -> None:
        super().__init__()
        self.problems = [{"field": field, "problem": text} for field, text in problems]


def _event(item: Any) -> Any:
    if not isinstance(item, dict):
        raise _Invalid(("", "wanted an event, which is an object"))
    kind = item.get("type")
    if not isinstance(kind, str) or kind not in _EVENTS:
        near = nearest(kind, _EVENTS) if isinstance(kind, str) else None
        hint = f"; did you mean {near}?" if near else ""
        raise _Invalid(("type", f"wanted one of {', '.join(_EVENTS)}{hint}"))
    event = _converted(item, _EVENTS[kind])
    _refuse_empty(event, [name for name in event.__struct_fields__ if isinstance(getattr(event, name), str)])
    for name in event.__struct_fields__:
        moment = getattr(event, name)
        if hasattr(moment, "tzinfo") and moment.tzinfo is None:
            raise _Invalid((name, "wanted a time with its offset from UTC, such as 2026-01-31T12:00:00Z"))
    return event


def _notification(item: Any) -> SendNotification:
    if not isinstance(item, dict):
        raise _Invalid(("", "wanted a notification, which is an object"))
    command = _converted(item, SendNotification)
    _refuse_empty(command, ["notification_id", "recipient"])
    return command


def _converted(item: dict[Any, Any], kind: type[T]) -> T:
    fields = msgspec.structs.fields(kind)  # type: ignore[arg-type]
    known = [field.encode_name for field in fields]
    given = set(item) - {"type"}
    problems = [(str(key)[:100], unknown(str(key), known, "field")) for key in sorted(given - set(known), key=str)]
    problems += [(field.name, "wanted, and not there") for field in fields if field.required and field.name not in item]
    try:
        converted = msgspec.convert(item, kind)
    except msgspec.ValidationError as error:
        problem = _of_msgspec(str(error))
        problems += [problem] if problem[0] else []
        raise _Invalid(*problems or [problem]) from None
    if problems:
        raise _Invalid(*problems)
    return converted


def _of_msgspec(text: str) -> tuple[str, str]:
    """Return the field and the problem of a message such as ``Expected `str`, got `int` - at `$.order_id```."""
    if (said_by_us := re.fullmatch(r"(\w+): (wanted .*)", text)) is not None:
        return said_by_us[1], said_by_us[2]
    what, at, path = text.rpartition(" - at ")  # the last one: a value before it may say the same
    path = path.removeprefix("`key` in ")
    if at and path.startswith("`$") and path.endswith("`"):
        field = path[2:-1].removeprefix(".")
    else:
        what, field = text, ""
    if "missing required field" in what:
        return "", what
    if field in ("channel", "addresses") and "Invalid enum value" in what:
        return field, f"wanted one of {', '.join(NotificationChannel)}"
    if (wrong := re.fullmatch(r"Expected `(.+)`, got `(.+)`", what)) is not None:
        return field, f"wanted {in_words(wrong[1])}, got {in_words(wrong[2])}"
    return field, what if "`" not in what and "'" not in what else "not a value that fits"


def _refuse_empty(item: Any, names: list[str]) -> None:
    problems = [(name, "wanted text that is not empty") for name in names if not getattr(item, name).strip()]
    if problems:
        raise _Invalid(*problems)


# ── handing over ────────────────────────────────────────────────────────────────────────────────────────────────────


def _result(status: str, **others: Any) -> Result:
    return {"status": status, **others}


def _already(result: Result) -> _Answer:
    async def answer() -> Result:
        return result

    return answer


def _submit_notification(notifier: Notifier, command: SendNotification) -> _Answer:
    accepted = notifier.send(command)

    async def answer() -> Result:
        outcome: Acceptance | Exception
        try:
            outcome = await accepted
        except (IdempotencyConflict, UnknownChannel, Unstorable) as error:
            outcome = error
        return _of(Submission(command, outcome))

    return answer


def _submit_event(notifier: Notifier, event: Any) -> _Answer:
    published = notifier.bus.submit(event)

    async def answer() -> Result:
        made = [_of(submission) for submission in await published]
        statuses = {one["status"] for one in made}
        worst = next((status for status in ("invalid", "conflict", "accepted") if status in statuses), None)
        return _result(worst or ("duplicate" if made else "accepted"), notifications=made)

    return answer


def _of(submission: Submission) -> Result:
    """Return the outcome of a command."""
    notification_id, answer = submission.command.notification_id, submission.answer
    match answer:
        case IdempotencyConflict():
            problems = [{"field": "notification_id", "problem": "known already, with something else in it"}]
            return _result("conflict", notification_id=notification_id, problems=problems)
        case UnknownChannel():
            problems = [{"field": "channel", "problem": "not a channel that this service has"}]
            return _result("invalid", notification_id=notification_id, problems=problems)
        case Unstorable():
            problems = [{"field": "", "problem": "not one that could be stored and read again as it is"}]
            return _result("invalid", notification_id=notification_id, problems=problems)
        case Exception():
            raise answer
        case _:
            return _result(str(answer), notification_id=notification_id)
