"""The page of the circuit breakers: their states, their transitions, and overrides; and of disabled endpoints."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from starlette.responses import RedirectResponse, Response

from actors.messages import BreakerState, NotificationChannel
from actors.service.console.gate import Visit
from actors.service.console.letters import Done, done_of
from actors.service.console.rendering import address, render
from actors.service.operations.breakers import BreakerNow

TRANSITIONS_SHOWN = 200
BREAKERS_SHOWN = 200
"""Where each host has its own there may be thousands; then those that are closed come last."""

ORDERS = (
    ("force-open", "Force open", "Nothing is sent; what arrives waits, until an operator closes it."),
    ("close", "Close", "Start again with all counts at zero; what waits resumes at a limited rate."),
    ("disable", "Disable", "Let everything through, and count nothing."),
    ("metrics-only", "Metrics only", "Let everything through and count, but never open."),
)
"""The overrides: the word for it, its label, and what it means."""

CAUSES = {
    "trip": "too many failures",
    "wait-over": "its open time has passed: a probe may go",
    "recover": "the probe succeeded",
    "others-open": "other nodes say that theirs is open",
    "probes-overdue": "the probe gave no result in time",
    "benefit-of-the-doubt": "the probe gave no result in time",
    "force-open": "an operator's override",
    "disable": "an operator's override",
    "close": "an operator's override",
    "metrics-only": "an operator's override",
}
"""What the causes of transitions mean."""

CHANGES_NOTHING_BY_ITSELF = frozenset({BreakerState.FORCED_OPEN, BreakerState.DISABLED, BreakerState.METRICS_ONLY})
"""The states in which a breaker stays until an operator overrides it."""

_DONE = {
    "ordered": Done("The breaker is overridden."),
    "same": Done("The override changed nothing: it was in this state already.", "care"),
    "enabled": Done("The endpoint is enabled. Its dead letters stay until they are retried."),
    "not-disabled": Done("That endpoint is not disabled.", "care"),
}


@dataclass(frozen=True)
class _Row:
    name: str
    host: str | None
    state: str
    since: datetime
    next: str
    next_at: datetime | None


async def breakers_page(visit: Visit) -> Response:
    """Show the breakers."""
    return _page(visit, {}, {})


async def order(visit: Visit) -> Response:
    """Override one, or all of a channel."""
    service = visit.request.app.state.service
    texts = {name: visit.form.get(name, "").strip() for name in ("breaker", "order", "why")}
    problems = {}
    if texts["breaker"] not in dict(_choices(visit)):
        problems["breaker"] = "Choose a breaker."
    if texts["order"] not in {name for name, *_ in ORDERS}:
        problems["order"] = "Choose an override."
    if not texts["why"]:
        problems["why"] = "Say why, for the audit trail."
    if problems:
        return _page(visit, texts, problems)
    channel, _, provider = texts["breaker"].partition("/")
    changed = await service.dead_letters.operate_breaker(
        channel, texts["order"], provider or None, by=visit.who.name, why=texts["why"]
    )
    return RedirectResponse(address("/breakers", done="ordered" if changed else "same"), 303)


async def enable(visit: Visit) -> Response:
    """Enable an endpoint."""
    letters, form = visit.request.app.state.service.dead_letters, visit.form
    channel, recipient = form.get("channel", ""), form.get("address", "")
    is_known = channel in list(NotificationChannel)
    enabled = is_known and await letters.enable_endpoint(NotificationChannel(channel), recipient, by=visit.who.name)
    return RedirectResponse(address("/breakers", done="enabled" if enabled else "not-disabled"), 303)


def _page(visit: Visit, texts: dict[str, str], problems: dict[str, str]) -> Response:
    service = visit.request.app.state.service
    started = service.status.started_at
    breakers = service.breakers.now(service.notifier.pipeline, service.config.notifier)
    if len(breakers) > BREAKERS_SHOWN:
        breakers.sort(key=lambda breaker: breaker.state == BreakerState.CLOSED)
    return render(
        visit,
        "breakers.html",
        status_code=422 if problems else 200,
        breakers=[_row(breaker, started) for breaker in breakers[:BREAKERS_SHOWN]],
        breakers_left=max(0, len(breakers) - BREAKERS_SHOWN),
        endpoints=list(islice(service.dead_letters.endpoints.disabled.values(), BREAKERS_SHOWN)),
        endpoints_left=max(0, len(service.dead_letters.endpoints.disabled) - BREAKERS_SHOWN),
        choices=_choices(visit),
        orders=ORDERS,
        texts={"breaker": "", "order": "", "why": ""} | texts,
        problems={"breaker": "", "order": "", "why": ""} | problems,
        transitions=service.breakers.history(limit=TRANSITIONS_SHOWN),
        causes=CAUSES,
        done=done_of(visit, _DONE),
    )


def _row(breaker: BreakerNow, started: datetime) -> _Row:
    next_at = None
    match breaker.state:
        case BreakerState.OPEN:
            what, next_at = "a probe may go", breaker.retry_at
        case BreakerState.HALF_OPEN:
            what = "the probe's answer decides"
        case BreakerState.CLOSED if breaker.ramping_until is not None:
            what, next_at = "lets a growing share through, all", breaker.ramping_until
        case BreakerState.CLOSED:
            what = "by an operator's override; the settings say otherwise" if breaker.overridden else ""
        case _ if breaker.overridden:
            what = "by an operator's override, until the next one"
        case _:
            what = "so in the settings; an operator may override it"
    return _Row(breaker.name, breaker.host, breaker.state, breaker.since or started, what, next_at)


def _choices(visit: Visit) -> list[tuple[str, str]]:
    """Return what may be overridden: each channel, and each provider of those that have several."""
    choices = []
    for channel, stages in visit.request.app.state.service.notifier.pipeline.wiring.stages.items():
        choices.append((channel.value, channel.value))
        if len(stages.lanes) > 1:
            choices[-1] = (channel.value, f"{channel.value}, all its providers")
            choices += [
                (f"{channel.value}/{lane.provider_name}", f"{channel.value}, only {lane.provider_name}")
                for lane in stages.lanes
            ]
    return choices
