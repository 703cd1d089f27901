"""The page of the circuit breakers: their states, their transitions, and overrides; and of disabled endpoints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from starlette.responses import Response

from actors.messages import BreakerState, NotificationChannel
from actors.service.console.breaker_words import ORDERS, arriving, because, meaning
from actors.service.console.gate import Visit
from actors.service.console.letters import Done, done_of
from actors.service.console.rendering import redirect, render
from actors.service.operations.breakers import BreakerNow

TRANSITIONS_SHOWN = 200
BREAKERS_SHOWN = 200
"""With a breaker per host there may be thousands; then closed breakers come last."""

CHANGES_NOTHING_BY_ITSELF = frozenset({BreakerState.FORCED_OPEN, BreakerState.DISABLED, BreakerState.METRICS_ONLY})
"""The states in which a breaker stays until an operator overrides it."""

_DONE = {
    "same": Done("The override changed nothing: it was in this state already.", "care"),
    "enabled": Done("The endpoint is enabled. Its dead letters stay until they are retried."),
    "not-disabled": Done("That endpoint is not disabled.", "care"),
}


async def breakers_page(visit: Visit) -> Response:
    return _page(visit, {}, {})


async def order(visit: Visit) -> Response:
    texts = {name: visit.said(name) for name in ("breaker", "order", "why")}
    override = next((name for name in ORDERS if name == texts["order"]), None)
    problems = {}
    if texts["breaker"] not in dict(_choices(visit)):
        problems["breaker"] = "Choose a breaker."
    if override is None:
        problems["order"] = "Choose an override."
    if not texts["why"]:
        problems["why"] = "Say why, for the audit trail."
    if problems or override is None:
        return _page(visit, texts, problems)
    channel, _, provider = texts["breaker"].partition("/")
    changed = await visit.letters.operate_breaker(
        channel, override, provider or None, by=visit.who.name, why=texts["why"]
    )
    return redirect("/breakers", done="ordered" if changed else "same", breaker=texts["breaker"])


async def enable(visit: Visit) -> Response:
    channel, recipient = visit.form.get("channel", ""), visit.form.get("address", "")
    is_known = channel in visit.channels
    enabled = is_known and await visit.letters.enable_endpoint(
        NotificationChannel(channel), recipient, by=visit.who.name
    )
    return redirect("/breakers", done="enabled" if enabled else "not-disabled")


def _page(visit: Visit, texts: dict[str, str], problems: dict[str, str]) -> Response:
    service = visit.service
    started = service.status.started_at
    breakers = service.breakers.now(service.notifier.pipeline, service.config.notifier)
    stages = service.notifier.pipeline.wiring.stages
    done = done_of(visit, _DONE)
    if done is None and visit.query.get("done") == "ordered":
        done = _ordered(visit, breakers)
    disabled = visit.letters.endpoints.disabled
    if len(breakers) > BREAKERS_SHOWN:
        breakers.sort(key=lambda breaker: breaker.state == BreakerState.CLOSED)
    return render(
        visit,
        "breakers.html",
        status_code=422 if problems else 200,
        breakers=[*(_row(breaker, started) for breaker in breakers[:BREAKERS_SHOWN]), *_without_hosts(visit, breakers)],
        breakers_left=max(0, len(breakers) - BREAKERS_SHOWN),
        endpoints=list(islice(disabled.values(), BREAKERS_SHOWN)),
        endpoints_left=max(0, len(disabled) - BREAKERS_SHOWN),
        choices=_choices(visit),
        orders=[(name, label, meaning(name, stages)) for name, label in ORDERS.items()],
        texts={"breaker": "", "order": "", "why": ""} | texts,
        problems={"breaker": "", "order": "", "why": ""} | problems,
        transitions=service.breakers.history(limit=TRANSITIONS_SHOWN),
        because=because,
        done=done,
    )


def _ordered(visit: Visit, breakers: Sequence[BreakerNow]) -> Done | None:
    chosen = visit.query.get("breaker", "")
    channel, _, provider = chosen.partition("/")
    own = [each for each in breakers if each.channel == channel and provider in ("", each.provider)]
    now = dict.fromkeys(f"{each.name} is {each.state}: what arrives {arriving(each)}." for each in own)
    if chosen not in dict(_choices(visit)):
        return None
    return Done(" ".join(now) or f"{chosen} is overridden: the breaker of each host begins in that state.")


def _row(breaker: BreakerNow, started: datetime) -> dict[str, Any]:
    next_at = None
    match breaker.state:
        case BreakerState.OPEN:
            is_due = breaker.admits == "probe"
            what, next_at = ("the next attempt is a probe", None) if is_due else ("a probe may go", breaker.retry_at)
        case BreakerState.HALF_OPEN:
            what = "the probe's answer decides"
        case BreakerState.CLOSED if breaker.ramping_until is not None:
            what, next_at = "all is let through", breaker.ramping_until
        case BreakerState.CLOSED:
            what = "by an operator's override; the settings say otherwise" if breaker.overridden else ""
        case _ if breaker.overridden:
            what = "by an operator's override, until the next one or a restart"
        case _:
            what = "so in the settings; an operator may override it"
    known = {"name": breaker.name, "host": breaker.host, "state": breaker.state, "since": breaker.since or started}
    return known | {"arriving": arriving(breaker), "next": what, "next_at": next_at}


def _without_hosts(visit: Visit, breakers: Sequence[BreakerNow]) -> Iterator[dict[str, Any]]:
    """Yield a row for each provider that has breakers per host, but no known host yet."""
    known = {each.name for each in breakers}
    for stages in visit.service.notifier.pipeline.wiring.stages.values():
        for lane in stages.lanes:
            if lane.name not in known:
                row = {"name": lane.name, "host": "no host yet", "state": lane.breakers.begins, "since": None}
                yield row | {"arriving": "", "next": "", "next_at": None}


def _choices(visit: Visit) -> list[tuple[str, str]]:
    choices = []
    for channel, stages in visit.service.notifier.pipeline.wiring.stages.items():
        choices.append((channel.value, channel.value))
        if len(stages.lanes) > 1:
            choices[-1] = (channel.value, f"{channel.value}, all its providers")
            choices += [
                (f"{channel.value}/{lane.provider_name}", f"{channel.value}, only {lane.provider_name}")
                for lane in stages.lanes
            ]
    return choices
