"""The overview, with metrics by channel, and the audit trail."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from starlette.responses import Response

from actors.domain.audit import AuditEntry
from actors.formatting import counted
from actors.messages import NotificationChannel
from actors.pipeline.wiring import Stages
from actors.service.console.breaker_words import because, keeping_back
from actors.service.console.breakers import CHANGES_NOTHING_BY_ITSELF
from actors.service.console.gate import Visit
from actors.service.console.rendering import address, render
from actors.service.observability.metrics import Metrics
from actors.service.operations.breakers import BreakerNow

TRANSITIONS_SHOWN = 10
ENTRIES_SHOWN = 500
ENTRIES_MAX = 10_000
"""Earlier entries of the audit trail are for the command line."""

_SEVERITY = ("forced-open", "open", "half-open", "disabled", "metrics-only", "closed")
"""States of breakers, by how much they need attention, the most urgent first."""


@dataclass(frozen=True)
class _Run:
    """Equal actions of one operator in a row, as in a bulk run; mostly it is only one."""

    latest: AuditEntry
    earliest: AuditEntry
    count: int


async def overview_page(visit: Visit) -> Response:
    service = visit.service
    breakers = service.breakers.now(service.notifier.pipeline, service.config.notifier)
    started = service.status.started_at
    figures = figures_of(service.metrics)
    channels = [
        {"name": channel.value, "figures": figures[channel], "breaker": _worst(channel, stages, breakers, started)}
        for channel, stages in service.notifier.pipeline.wiring.stages.items()
    ]
    total: Counter[str] = Counter()
    for channel in service.notifier.pipeline.wiring.stages:
        figures[channel]["failed"] -= figures[channel]["refused"]
        total.update(figures[channel])
    return render(
        visit,
        "overview.html",
        is_live=visit.query.get("live") != "off",
        figures=total,
        channels=channels,
        started=started,
        troubles=[*_troubles(total, breakers, len(visit.letters.endpoints.disabled))],
        transitions=service.breakers.history(limit=TRANSITIONS_SHOWN),
        because=because,
    )


async def audit_page(visit: Visit) -> Response:
    limit = _limit(visit.query.get("limit", ""))
    entries = await visit.letters.audit(limit + 1)
    is_cut, next_limit = len(entries) > limit and limit < ENTRIES_MAX, min(limit * 10, ENTRIES_MAX)
    runs = ([*alike] for _, alike in groupby(entries[:limit], _kind))
    rows = [_Run(alike[0], alike[-1], len(alike)) for alike in runs]
    return render(visit, "audit.html", rows=rows, is_cut=is_cut, next_limit=next_limit)


def _kind(entry: AuditEntry) -> tuple[Any, ...]:
    stands_alone = entry.notification_id is None or entry.edit
    return (id(entry),) if stands_alone else (entry.by, entry.action, entry.why)


def figures_of(metrics: Metrics) -> dict[str, Counter[str]]:
    names = {
        "notifications_in_flight": "in_flight",
        "notifications_sent_total": "sent",
        "notifications_suppressed_total": "suppressed",
        "notifications_failed_total": "failed",
        "attempts_refused_total": "refused",
        "notifications_in_dlq": "dead_letters",
    }
    figures: dict[str, Counter[str]] = defaultdict(Counter)
    for metric in metrics.registry.collect():
        for sample in metric.samples:
            if (name := names.get(sample.name)) is not None:
                figures[sample.labels["channel"]][name] += int(sample.value)
    return figures


def _worst(
    channel: NotificationChannel, stages: Stages, breakers: list[BreakerNow], started: datetime
) -> dict[str, Any]:
    own = sorted(
        (breaker for breaker in breakers if breaker.channel == channel),
        key=lambda breaker: _SEVERITY.index(breaker.state),
    )
    if not own:
        return {"state": stages.lanes[0].breakers.begins, "since": started, "which": "no host yet"}
    worst = own[0]
    alike = sum(breaker.state == worst.state for breaker in own)
    which = f"{alike} of {len(own)}" if len(own) > 1 else ""
    return {"state": worst.state, "since": worst.since or started, "which": which}


def _troubles(total: Counter[str], breakers: list[BreakerNow], disabled: int) -> Iterator[tuple[str, str, str]]:
    for what in keeping_back(breakers):
        yield what, address("/breakers"), "Look at the breakers"
    stays = [breaker for breaker in breakers if breaker.state in CHANGES_NOTHING_BY_ITSELF]
    for overridden, text in (
        (True, "Overridden, until an operator changes it or the service restarts"),
        (False, "So in the settings"),
    ):
        named = dict.fromkeys(f"{each.name} ({each.state})" for each in stays if each.overridden is overridden)
        if named:
            yield f"{text}: {', '.join(named)}.", address("/breakers"), "Look at the breakers"
    if disabled:
        what = f"{counted(disabled, 'endpoint is', 'endpoints are')} disabled: every attempt has failed for too long."
        yield what, address("/breakers"), "Look at the endpoints"
    if total["dead_letters"]:
        what = f"{counted(total['dead_letters'], 'notification waits', 'notifications wait')} in the dead letter queue."
        yield what, address("/dead-letters", by="reason"), "See why"


def _limit(text: str) -> int:
    try:
        return max(1, min(int(text), ENTRIES_MAX))
    except ValueError:
        return ENTRIES_SHOWN
