"""The overview, with metrics by channel, and the audit trail."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from starlette.responses import Response

from actors.domain.audit import AuditEntry
from actors.formatting import counted
from actors.messages import NotificationChannel
from actors.policies.breaker.states import NOT_CLOSED
from actors.service.console.breakers import CAUSES, CHANGES_NOTHING_BY_ITSELF
from actors.service.console.gate import Visit
from actors.service.console.rendering import address, render
from actors.service.observability.metrics import Metrics
from actors.service.operations.breakers import BreakerNow

TRANSITIONS_SHOWN = 10
ENTRIES_SHOWN = 500
ENTRIES_MAX = 10_000
"""What is in the audit trail beyond these is for the command line."""

_SEVERITY = ("forced-open", "open", "half-open", "disabled", "metrics-only", "closed")
"""States of breakers, the one that most needs attention first."""


@dataclass
class Figures:
    """The metrics of a channel, or of all of them together."""

    in_flight: int = 0
    sent: int = 0
    """Since the service started."""
    failed: int = 0
    """Attempts, since the service started."""
    dead_letters: int = 0

    def add(self, other: Figures) -> None:
        """Add those of another channel."""
        self.in_flight += other.in_flight
        self.sent += other.sent
        self.failed += other.failed
        self.dead_letters += other.dead_letters


@dataclass(frozen=True)
class Trouble:
    """A problem that needs an operator's attention."""

    text: str
    path: str
    link: str


@dataclass(frozen=True)
class _Run:
    """Equal actions of one operator in a row, as in a bulk run; mostly it is only one."""

    latest: AuditEntry
    earliest: AuditEntry
    count: int


@dataclass(frozen=True)
class _Worst:
    """The breaker of a channel that most needs attention."""

    state: str
    since: datetime
    which: str


@dataclass(frozen=True)
class _Row:
    name: str
    figures: Figures
    breaker: _Worst


async def overview_page(visit: Visit) -> Response:
    """Show the metrics of every channel as they are now, and the problems."""
    service = visit.request.app.state.service
    breakers = service.breakers.now(service.notifier.pipeline, service.config.notifier)
    started = service.status.started_at
    by_channel = figures_of(service.metrics)
    total = Figures()
    rows = []
    for channel in service.notifier.pipeline.wiring.stages:
        figures = by_channel.get(channel, Figures())
        total.add(figures)
        rows.append(_Row(channel.value, figures, _worst(channel, breakers, started)))
    return render(
        visit,
        "overview.html",
        is_live=visit.query.get("live") != "off",
        figures=total,
        channels=rows,
        started=started,
        troubles=_troubles(total, breakers, len(service.dead_letters.endpoints.disabled)),
        transitions=service.breakers.history(limit=TRANSITIONS_SHOWN),
        causes=CAUSES,
    )


async def audit_page(visit: Visit) -> Response:
    """Show who did what, when and why."""
    limit = _limit(visit.query.get("limit", ""))
    entries = await visit.request.app.state.service.dead_letters.audit(limit + 1)
    return render(
        visit,
        "audit.html",
        rows=_in_runs(entries[:limit]),
        is_cut=len(entries) > limit and limit < ENTRIES_MAX,
        next_limit=min(limit * 10, ENTRIES_MAX),
    )


def _in_runs(entries: list[AuditEntry]) -> list[_Run]:
    """Return entries, newest first, with those in one that differ in nothing but the notification and the time."""
    runs: list[_Run] = []
    for entry in entries:
        if runs and _is_alike(entry, runs[-1].latest):
            runs[-1] = replace(runs[-1], earliest=entry, count=runs[-1].count + 1)
        else:
            runs.append(_Run(entry, entry, 1))
    return runs


def _is_alike(one: AuditEntry, other: AuditEntry) -> bool:
    return (
        (one.by, one.action, one.why) == (other.by, other.action, other.why)
        and one.notification_id is not None
        and other.notification_id is not None
        and not one.edit
        and not other.edit
    )


def figures_of(metrics: Metrics) -> dict[str, Figures]:
    """Return the metrics of each channel: those that ``/metrics`` has."""
    fields = {
        "notifications_in_flight": "in_flight",
        "notifications_sent_total": "sent",
        "notifications_failed_total": "failed",
        "notifications_in_dlq": "dead_letters",
    }
    by_channel: dict[str, Figures] = {}
    for metric in metrics.registry.collect():
        for sample in metric.samples:
            if (field := fields.get(sample.name)) is not None:
                figures = by_channel.setdefault(sample.labels["channel"], Figures())
                setattr(figures, field, getattr(figures, field) + int(sample.value))
    return by_channel


def _worst(channel: NotificationChannel, breakers: list[BreakerNow], started: datetime) -> _Worst:
    own = sorted(
        (breaker for breaker in breakers if breaker.channel == channel),
        key=lambda breaker: _SEVERITY.index(breaker.state),
    )
    if not own:
        return _Worst("closed", started, "no host yet")
    worst = own[0]
    which = ""
    if len(own) > 1:
        alike = sum(breaker.state == worst.state for breaker in own)
        which = f"{alike} of {len(own)}"
    return _Worst(worst.state, worst.since or started, which)


def _troubles(total: Figures, breakers: list[BreakerNow], disabled: int) -> list[Trouble]:
    troubles = []
    shut = [breaker for breaker in breakers if breaker.state in NOT_CLOSED]
    if shut:
        names = ", ".join(dict.fromkeys(breaker.name for breaker in shut))
        what = f"{counted(len(shut), 'circuit breaker keeps', 'circuit breakers keep')} notifications back: {names}."
        troubles.append(Trouble(what, address("/breakers"), "Look at the breakers"))
    stays = [breaker for breaker in breakers if breaker.state in CHANGES_NOTHING_BY_ITSELF]
    for overridden, text in ((True, "Overridden, until an operator changes it"), (False, "So in the settings")):
        named = dict.fromkeys(f"{each.name} ({each.state})" for each in stays if each.overridden is overridden)
        if named:
            troubles.append(Trouble(f"{text}: {', '.join(named)}.", address("/breakers"), "Look at the breakers"))
    if disabled:
        what = f"{counted(disabled, 'endpoint is', 'endpoints are')} disabled: every attempt has failed for too long."
        troubles.append(Trouble(what, address("/breakers"), "Look at the endpoints"))
    if total.dead_letters:
        what = f"{counted(total.dead_letters, 'notification waits', 'notifications wait')} in the dead letter queue."
        troubles.append(Trouble(what, address("/dead-letters", by="reason"), "See why"))
    return troubles


def _limit(text: str) -> int:
    try:
        return max(1, min(int(text), ENTRIES_MAX))
    except ValueError:
        return ENTRIES_SHOWN
