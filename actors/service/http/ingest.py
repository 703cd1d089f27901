"""Taking in events and notifications: ``POST /events`` and ``POST /notifications``, one item or a list, in JSON.

The settings may add types of events (:mod:`actors.service.own_events`). The answer comes when accepted items are
durable. Each item has a result, in order: its `status`, the HTTP `code` that it would have alone, and its problems.

============  ====  =====================================================================================
status        code
============  ====  =====================================================================================
accepted      202   it is in the store
duplicate     202   the same item was accepted before; nothing happens
conflict      409   the id was accepted before, with other content
overloaded    429   as many notifications are pending as may be; `Retry-After` says when to send the item again
busy          503   the store cannot be written now; `Retry-After` says when to send the item again: it is accepted once
invalid       422   `problems` names the fields, and the wanted values
============  ====  =====================================================================================

``GET /notifications/{id}`` returns the state of a notification: its `state` is ``in flight``, ``sent``, ``suppressed``,
``cancelled``, ``dead letter``, ``discarded`` or ``ended``, with `channel`, `priority`, and as far as they are kept
`attempts`, `requested_at` and, while it waits, `resumes_at`; readers and operators get the `reason` too. An id that is
not remembered is answered by 404. ``POST /notifications/{id}/cancel`` cancels a waiting notification: it waits for its
`not_before`, a retry, the end of quiet hours, or in line for a limit, a quota, a slot or a breaker. For a notification
that does not wait the answer is 409.

A single item is answered with its own code, a list with 202 if all its items have 202, else with 207. An event may lead
to several notifications; its result lists them, and has the worst of their statuses: one may be invalid, such as an SMS
to a text that is no phone number, while the others are accepted. An address is invalid if the transport of its channel
would refuse it without asking the provider.
"""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Iterator
from functools import cache
from heapq import nsmallest
from typing import Any, TypeAlias, TypeVar, cast, get_args

import msgspec
import trio
from starlette.exceptions import HTTPException
from starlette.responses import Response

from actors.channel_names import A_CHANNEL_NAME, channel_named
from actors.domain.ids import problem_of_id
from actors.errors import (
    NOT_ACCEPTED,
    IdempotencyConflict,
    InvalidRecipient,
    Overloaded,
    StoreBusy,
    UnknownChannel,
    Unstorable,
)
from actors.field_types import in_words
from actors.messages import DomainEvent, NotificationChannel, Priority, SendNotification
from actors.notifier import Notifier
from actors.pipeline.event_bus import Submission
from actors.pipeline.trace_context import trace_of
from actors.service.http.access import Role
from actors.service.http.bodies import content_of, problem_of_shape
from actors.service.http.endpoints import UNKNOWN_ID, Call, Document, HttpEndpoints, as_json, named, one_or_several
from actors.service.operations.json import parts_of
from actors.service.own_events import OwnEvent, OwnEvents
from actors.settings.hints import nearest, unknown

ITEMS_MAX = 1_000

ITEMS_AT_ONCE = 10
"""Items of a list after which others may go on: a piece of a few milliseconds."""

ITEM_VALUES_MAX = 10_000
"""How many values there may be in an item, its metadata included."""

PROBLEMS_MAX = 10
"""Problems that the result of an item lists."""

_A_CHANNEL = f"wanted {A_CHANNEL_NAME}"
_A_PRIORITY = f"wanted one of {', '.join(Priority)}"

HINTS_MAX = 10
"""Words of a request for which the nearest known one is looked for: that takes some 0.2 ms each."""

_CODES = {"accepted": 202, "duplicate": 202, "conflict": 409, "invalid": 422, "overloaded": 429, "busy": 503}
_EVENTS: dict[str, type[Any]] = {event.__name__: event for event in get_args(DomainEvent)}

T = TypeVar("T")
Result: TypeAlias = dict[str, Any]
_Answer: TypeAlias = Callable[[], Awaitable[Result]]
_Hints: TypeAlias = Iterator[int]
"""How many more near names are looked up for wrong ones: a bound, so that a long request is answered fast, too."""

ENDPOINTS = HttpEndpoints()

_TAKES = {
    207: "a list of which not all is accepted: each item has its own `code`",
    409: "the id came before, with other content",
    413: "too long, or too many items",
    422: "invalid; `problems` says which fields, and what was wanted",
    429: "as many are pending as may be; Retry-After says when to send the same again",
    503: "it is shutting down, or cannot write to its store now; send the same again",
}
_INGEST: dict[str, Any] = {"roles": (Role.INGEST,), "success": 202, "codes": _TAKES}


@ENDPOINTS(
    "POST /events",
    "Hand in an event, or a list of them; the settings may name further types.",
    body=one_or_several("Event"),
    schema=one_or_several("EventResult"),
    **_INGEST,
)
async def _receive_events(call: Call) -> Response:
    return await _receive(call, _event, _submit_event)


@ENDPOINTS(
    "POST /notifications",
    "Hand in a notification, or a list of them.",
    body=one_or_several("SendNotification"),
    schema=one_or_several("Result"),
    **_INGEST,
)
async def _receive_notifications(call: Call) -> Response:
    return await _receive(call, _notification, _submit_notification)


@ENDPOINTS(
    "GET /notifications/{id:text}",
    "Say where a notification is.",
    roles=(Role.INGEST, Role.READER),
    schema=named("NotificationState"),
)
async def _show_state(call: Call) -> Document:
    state = await call.service.notifier.state(call.id)
    if state is None:
        raise HTTPException(404, UNKNOWN_ID)
    document = parts_of(state, "notification_id", "state", "channel", "priority", "attempts")
    document |= parts_of(state, "requested_at", "resumes_at")
    if call.who.may(Role.READER):  # a provider may have answered with anything, an address too
        document |= parts_of(state, "reason")
    return document


@ENDPOINTS(
    "POST /notifications/{id:text}/cancel",
    "Cancel a notification that waits.",
    roles=(Role.INGEST,),
    codes={409: "it does not wait"},
)
async def _cancel(call: Call) -> Document:
    if await call.letters.cancel(call.id, by=call.who.name):
        return {"notification_id": call.id, "cancelled": True}
    state = await call.service.notifier.state(call.id)
    if state is None:
        raise HTTPException(404, UNKNOWN_ID)
    is_away = "is on its way, in line or at another node"
    said = is_away if state.state == "in flight" else f"is {state.state}"
    raise HTTPException(409, f"wanted a notification that waits, got one that {said}")


async def _receive(
    call: Call, read: Callable[[Any, _Hints, OwnEvents], T], submit: Callable[[Notifier, T, str | None], _Answer]
) -> Response:
    _taking(call)
    content = await content_of(call.request)
    service = _taking(call)  # while the body came another one may have taken over, or the last one may be ending
    is_list = isinstance(content, list)
    items = content if is_list else [content]
    if len(items) > ITEMS_MAX:
        raise HTTPException(413, f"wanted at most {ITEMS_MAX:,} items, got {len(items):,}")
    # All are on their way before any is waited for: so they are made durable together.
    answers: list[_Answer | Result] = []
    traceparent = trace_of(call.request.headers.get("traceparent"))
    hints = iter(range(HINTS_MAX))
    for number, item in enumerate(items, 1):
        try:
            if (problem := problem_of_shape(item, ITEM_VALUES_MAX)) is not None:
                raise _Invalid(("", problem))
            made = read(item, hints, service.own_events)
            answers.append(submit(service.notifier, made, traceparent))
        except _Invalid as invalid:
            answers.append(_result("invalid", problems=invalid.problems))
        except Overloaded as overloaded:
            answers.append(_later(overloaded, priority=service.notifier.bus.priority_of(made)))
        except StoreBusy as busy:
            answers.append(_later(busy))
        if number % ITEMS_AT_ONCE == 0:
            await trio.lowlevel.checkpoint()
    results = [answer if isinstance(answer, dict) else await answer() for answer in answers]
    for result in results:
        result["code"] = _CODES[result["status"]]
    refused = [result.pop("priority") for result in results if result["status"] == "overloaded"]
    waits = [result["retry_after"] for result in results if "retry_after" in result]
    service.metrics.count_overloaded(refused)
    service.overload.count(len(refused), service.config.max_pending)
    headers = {"Retry-After": str(max(waits))} if waits else None
    if not is_list:
        return as_json(results[0], results[0]["code"], headers)
    return as_json(results, 202 if all(result["code"] == 202 for result in results) else 207, headers)


def _taking(call: Call) -> Any:
    service = call.service
    if service.status.draining:
        raise HTTPException(503, "the service is shutting down", {"Retry-After": str(service.status.retry_after_s)})
    return service


class _Invalid(Exception):
    """An item is invalid; the error never contains its values, since it may be logged."""

    def __init__(self, *problems: tuple[str, str]) -> None:
        super().__init__()
        self.problems = [{"field": field, "problem": text} for field, text in problems]


def _event(item: Any, hints: _Hints, own_events: OwnEvents) -> Any:
    if not isinstance(item, dict):
        raise _Invalid(("", "wanted an event, which is an object"))
    kind = item.get("type")
    if isinstance(kind, str) and kind in own_events:
        read = own_events.read(kind, item)
        if isinstance(read, OwnEvent):
            return read
        raise _Invalid(*read[:PROBLEMS_MAX])
    if not isinstance(kind, str) or kind not in _EVENTS:
        known = [*own_events, *(name for name in _EVENTS if name not in own_events)]
        near = nearest(kind, known) if isinstance(kind, str) and next(hints, None) is not None else None
        hint = f"; did you mean {near}?" if near else ""
        raise _Invalid(("type", f"wanted one of {', '.join(known)}{hint}"))
    event = _converted(item, _EVENTS[kind], hints)
    names = event.__struct_fields__
    _refuse(event, [name for name in names if isinstance(getattr(event, name), str)], _problem_of_empty)
    _refuse(event, [name for name in names if name.endswith("_id")], problem_of_id)  # notification ids contain these
    for name in names:
        moment = getattr(event, name)
        if hasattr(moment, "tzinfo") and moment.tzinfo is None:
            raise _Invalid((name, "wanted a time with its offset from UTC, such as 2026-01-31T12:00:00Z"))
    return event


def _notification(item: Any, hints: _Hints, _own_events: OwnEvents) -> SendNotification:
    if not isinstance(item, dict):
        raise _Invalid(("", "wanted a notification, which is an object"))
    command = _converted(item, SendNotification, hints)
    _refuse(command, ["notification_id", "recipient"], _problem_of_empty)
    _refuse(command, ["notification_id"], problem_of_id)
    return command


def _converted(item: dict[Any, Any], kind: type[T], hints: _Hints) -> T:
    wrong = None
    try:
        converted = msgspec.convert(item, kind)
    except msgspec.ValidationError as error:
        wrong = _of_msgspec(str(error))
    if wrong is not None or not item.keys() <= _known(cast(Any, kind)):
        raise _Invalid(*_problems_of_fields(item, kind, wrong, hints))
    return converted


def _problems_of_fields(
    item: dict[Any, Any], kind: Any, wrong: tuple[str, str] | None, hints: _Hints
) -> list[tuple[str, str]]:
    fields = _fields(kind)
    known = [field.encode_name for field in fields]
    strange = item.keys() - _known(kind)
    problems = [
        (key[:100], unknown(key, known, "field") if next(hints, None) is not None else "unknown field")
        for key in nsmallest(PROBLEMS_MAX, strange)
    ]
    if len(strange) > PROBLEMS_MAX:
        problems.append(("", f"and {len(strange) - PROBLEMS_MAX:,} further unknown fields"))
    problems += [
        (field.name, f"{_wanted(field.type)}, got nothing")
        for field in fields
        if (field.required or (field.name == "recipient" and not _may_be_call(item))) and field.name not in item
    ]
    if wrong is not None and (wrong[0] or not problems):
        problems.append(wrong)
    return problems


def _may_be_call(item: dict[Any, Any]) -> bool:
    channel = channel_named(item.get("channel"))
    return channel is not None and channel.is_own


@cache
def _known(kind: Any) -> frozenset[str]:
    return frozenset({*(field.encode_name for field in _fields(kind)), "type"})


@cache
def _fields(kind: type[Any]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(kind)  # looks at every annotation each time, for a millisecond


@cache
def _wanted(kind: Any) -> str:
    if kind is NotificationChannel:
        return _A_CHANNEL
    if kind is Priority:
        return _A_PRIORITY
    try:
        msgspec.convert(object(), kind)
    except msgspec.ValidationError as error:
        found = re.match(r"Expected `([^`]+)`", str(error))
        return "wanted a value" if found is None else f"wanted {in_words(found[1])}"
    return "wanted a value"


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
        return field, _A_CHANNEL
    if field == "priority" and "Invalid enum value" in what:
        return field, _A_PRIORITY
    if what == "Invalid RFC3339 encoded datetime":
        return field, "wanted a time such as 2026-01-31T12:00:00Z"
    if what == "Invalid decimal string":
        return field, "wanted a number"
    if (wrong := re.fullmatch(r"Expected `(.+)`, got `(.+)`", what)) is not None:
        return field, f"wanted {in_words(wrong[1])}, got {in_words(wrong[2])}"
    return field, what if "`" not in what and "'" not in what else "not a value that fits"


def _refuse(item: Any, names: list[str], problem_of: Callable[[str], str | None]) -> None:
    problems = [(name, problem) for name in names if (problem := problem_of(getattr(item, name))) is not None]
    if problems:
        raise _Invalid(*problems)


def _problem_of_empty(text: str) -> str | None:
    return None if text.strip() else "wanted text that is not empty"


def _result(status: str, **others: Any) -> Result:
    return {"status": status, **others}


def _later(error: Overloaded | StoreBusy, **others: Any) -> Result:
    status = "overloaded" if isinstance(error, Overloaded) else "busy"
    return _result(status, retry_after=math.ceil(error.retry_after), **others)


def _submit_notification(notifier: Notifier, command: SendNotification, traceparent: str | None) -> _Answer:
    accepted = notifier.send(command, traceparent=traceparent)

    async def answer() -> Result:
        try:
            return _of(Submission(command, await accepted))
        except NOT_ACCEPTED as error:
            return _of(Submission(command, error))

    return answer


def _submit_event(notifier: Notifier, event: Any, traceparent: str | None) -> _Answer:
    published = notifier.bus.submit(event, traceparent=traceparent)

    async def answer() -> Result:
        try:
            made = [_of(submission) for submission in await published]
        except StoreBusy as busy:
            return _later(busy)
        statuses = {one["status"] for one in made}
        worst = next((status for status in ("invalid", "conflict", "accepted") if status in statuses), None)
        return _result(worst or ("duplicate" if made else "accepted"), notifications=made)

    return answer


_UNSTORABLE = (
    "cannot be stored so that it comes back unchanged; wanted text, numbers of at most 64 bits, true, false, null, and "
    "lists and objects of these"
)


def _of(submission: Submission) -> Result:
    notification_id, answer = submission.command.notification_id, submission.answer

    def refused(status: str, field: str, problem: str) -> Result:
        problems = [{"field": field, "problem": problem}]
        return _result(status, notification_id=notification_id, problems=problems)

    match answer:
        case IdempotencyConflict():
            others = f" ({', '.join(answer.differs)})" if answer.differs else ""
            what = f"accepted before with other content{others}; wanted the same as then, or a new id"
            return refused("conflict", "notification_id", what)
        case UnknownChannel():
            field = "addresses" if str(answer).startswith("addresses: ") else "channel"
            return refused("invalid", field, str(answer).removeprefix("addresses: "))
        case InvalidRecipient():
            return refused("invalid", "recipient", str(answer))
        case Overloaded():
            return _later(answer, notification_id=notification_id, priority=submission.command.priority)
        case StoreBusy():
            return _later(answer, notification_id=notification_id)
        case Unstorable():
            if (problem := problem_of_id(notification_id)) is not None:
                return refused("invalid", "notification_id", problem)
            return refused("invalid", "", _UNSTORABLE)
        case Exception():
            raise answer
        case _:
            return _result(str(answer), notification_id=notification_id)
