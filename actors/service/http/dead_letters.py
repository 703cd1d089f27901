"""JSON over HTTP for dead letters and bulk runs.

Times are written as in RFC 3339, or as an age (``2h``). An answer of 200 or 202 comes when the change is durable. A
retry or discard of a notification that is no dead letter (any more) is answered by 409. A dead letter with ``"served":
true`` has a fallback that was delivered or is under way: its retry is answered by 409, and a bulk retry leaves it out
(``"left_out"`` says how many), unless the request has ``"served": "include"``. The filter ``{}`` of a bulk run fits all
dead letters.
"""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any, ClassVar, Literal

from starlette.exceptions import HTTPException
from starlette.responses import Response

from actors.errors import ConfigurationError, EditRefused, LetterServed
from actors.pipeline.orders import Served
from actors.service.http.endpoints import UNKNOWN_ID, Call, Document, HttpEndpoints, as_json
from actors.service.operations import json as documents
from actors.service.operations.bulk import RATE_MAX_PER_S, Bulk
from actors.service.operations.queries import FilterSettings, grouped, read_cursor, worked_out
from actors.settings.base import Settings
from actors.settings.quantities import Rate, Text, Wanted, parse_rate

ENDPOINTS = HttpEndpoints(exact=True)


def _limit(value: Any, _unit_required: bool) -> int | None:
    text = str(value)
    return int(text) if text.isdecimal() and len(text) < 6 and 1 <= int(text) <= LIMIT_MAX else None


def _page(value: Any, _unit_required: bool) -> str | None:
    return value if isinstance(value, str) and read_cursor(value) is not None else None


def _rate(value: Any, _unit_required: bool) -> Rate | None:
    rate = parse_rate(value)
    return rate if rate is not None and 0 < rate.per_second <= RATE_MAX_PER_S else None


LIMIT_MAX = 1_000

Limit = Annotated[
    int,
    Wanted(f"a whole number from 1 to {LIMIT_MAX}", _limit, {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX}),
]
_Cursor = Annotated[str, Wanted("the `next` of a page", _page, {"type": "string"})]
_Pace = Annotated[Rate, Wanted(f"a rate such as 10/s, of at most {RATE_MAX_PER_S:,.0f}/s", _rate, {"type": "string"})]


class _ListQuery(FilterSettings):
    limit: Limit = 50
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


@ENDPOINTS("GET /api/dead-letters", "List dead letters.")
async def _list(call: Call, query: _ListQuery) -> Document:
    newest_first = query.order == "newest"
    page = await call.letters.page(query.filter, limit=query.limit, after=query.after, newest_first=newest_first)
    return {"dead_letters": [documents.of_letter(letter) for letter in page.letters], "next": page.next}


@ENDPOINTS("GET /api/dead-letters/groups", "Count them.")
async def _groups(call: Call, query: _GroupsQuery) -> Response:
    found = await call.letters.find(query.filter)

    def answer() -> Response:
        return as_json({"by": query.by, "groups": [documents.of_group(group) for group in grouped(found, query.by)]})

    return await worked_out(found, answer)


@ENDPOINTS("GET /api/notifications/{id:text}", "Give all that is known of a notification, whatever its id.")
@ENDPOINTS("GET /api/dead-letters/{id:text}", "The same, but for the id `groups`.")
async def _show(call: Call) -> Document:
    timeline = await call.letters.show(call.id)
    if timeline is None:
        raise HTTPException(404, UNKNOWN_ID)
    return documents.of_timeline(timeline)


@ENDPOINTS(
    "POST /api/dead-letters/{id:text}/retry",
    "Try a dead letter again.",
    codes={409: "it is no dead letter (any more), or is served"},
)
async def _retry(call: Call, body: _Retry) -> Document:
    try:
        done = await call.letters.retry(call.id, by=call.who.name, edit=body.edit, why=body.why, served=body.served)
    except LetterServed as served:
        raise HTTPException(409, str(served)) from None
    except EditRefused as refused:
        problems = [f"edit.{field}: {problem}" for field, problem in refused.problems.items()]
        raise ConfigurationError(problems) from None
    return await _done(call, "retried", done)


@ENDPOINTS(
    "POST /api/dead-letters/{id:text}/discard",
    "Remove a dead letter for good.",
    codes={409: "it is no dead letter (any more)"},
)
async def _discard(call: Call, body: _Discard) -> Document:
    return await _done(call, "discarded", await call.letters.discard(call.id, by=call.who.name, why=body.why))


async def _done(call: Call, what: str, done: bool) -> Document:
    if done:
        return {"id": call.id, what: True}
    timeline = await call.letters.show(call.id)
    if timeline is None:
        raise HTTPException(404, UNKNOWN_ID)
    state = _IN_WORDS.get(timeline.state, f"was {timeline.state}")
    raise HTTPException(409, f"wanted a dead letter, got a notification that {state}")


_IN_WORDS = {"in flight": "is in flight", "ended": "has ended", "dead letter": "was none a moment ago"}


@ENDPOINTS(
    "POST /api/dead-letters/bulk",
    "Retry or discard all that fit; with `dry_run`, say which these are.",
    success=HTTPStatus.ACCEPTED,
    codes={200: "of a dry run"},
)
async def _start_bulk(call: Call, body: _Bulk) -> Document | Response:
    letters, filter = call.letters, body.filter.filter
    if body.dry_run:
        # With this filter a run is about the letters that were shown, and not about later ones.
        now = call.service.notifier.system.present
        bounded = filter if filter.until is not None else replace(filter, until=now)
        found = await letters.find(bounded)

        def answer() -> Response:
            dry = letters.dry_run(bounded, body.action, served=body.served, found=found)
            return as_json(documents.of_dry_run(dry, bounded))

        return await worked_out(found, answer)
    if body.action == "discard" and body.why is None:
        raise ConfigurationError(["why: wanted the reason of a discard, got nothing"])
    if body.action == "discard" and body.served == "include":
        raise ConfigurationError(["served: wanted it only with the action retry; a discard takes served letters too"])
    bulk = letters.start_bulk(
        body.action,
        filter,
        by=call.who.name,
        why=body.why,
        rate_per_s=body.rate.per_second,
        served=body.served,
        found=await letters.find(filter),
    )
    return documents.of_bulk(bulk)


@ENDPOINTS("GET /api/bulks", "List the bulk runs of this process.")
async def _list_bulks(call: Call) -> Document:
    return {"bulks": [documents.of_bulk(bulk) for bulk in reversed(call.letters.bulks())]}


@ENDPOINTS("GET /api/bulks/{id:text}", "Give a bulk run.")
async def _show_bulk(call: Call) -> Document:
    return documents.of_bulk(_bulk_of(call))


@ENDPOINTS("POST /api/bulks/{id:text}/cancel", "Cancel a bulk run.", codes={409: "it has ended already"})
async def _cancel_bulk(call: Call) -> Document:
    bulk = _bulk_of(call)
    if not bulk.cancel(call.who.name):
        raise HTTPException(409, f"it is {bulk.state} already")
    return documents.of_bulk(bulk)


def _bulk_of(call: Call) -> Bulk:
    bulk = call.letters.bulk(call.id)
    if bulk is None:
        raise HTTPException(404, "no bulk run of this name since the service started")
    return bulk
