"""The notifications to look at first, each with its steps, where its time went, and its messages."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup

from actors.instants import NS_PER_S
from actors.messages import NotificationChannel, NotificationRequested, OwnActorMessage
from simulation.reporting.html.course import Span, histories_of, spans_of, totals
from simulation.reporting.html.messages import messages_of, parts_of
from simulation.reporting.html.sequence_chart import sequence_chart
from simulation.reporting.html.steps import Cut, Interrupted, cut, steps_of
from simulation.reporting.html.time_strip import spent_class, time_strip
from simulation.reporting.html.words import duration
from simulation.reporting.html.worst import Chosen, choose
from simulation.scenario import EventWorkload, Scenario
from simulation.sheets import share_text

if TYPE_CHECKING:
    from simulation.reporting.html.happenings import Broken
    from simulation.results.result import Result

_KEBAB = re.compile(r"(?<=[a-z])(?=[A-Z])")

OUTCOMES = {
    "sent": ("delivered", "fine"),
    "dead_lettered": ("dead-lettered", "bad"),
    "suppressed": ("suppressed", "care"),
    "in_flight": ("in flight at the end", "care"),
}


class Spending(NamedTuple):
    name: str
    class_: str
    took: Markup
    share: str


class Details(NamedTuple):
    key: str
    """The prefix of the ids of its elements."""

    notification_id: str
    why: str
    channel: str
    user: str
    outcome: str
    kind: str
    attempts: int
    requested_ns: int
    took: Markup
    steps: Cut
    steps_id: str
    spending: list[Spending]
    strip: Markup | None
    """None where no time passed."""
    chart: Markup


def worst_notifications(result: Result, found: Sequence[Broken] = ()) -> list[Details]:
    """Return the notifications of a run to look at first, in the order of
    :data:`simulation.reporting.html.worst.RULES`."""
    chosen = choose(result, found)
    histories = histories_of(result.history, [each.notification_id for each in chosen])
    for each in _interrupted(result, histories):
        histories[each.notification_id].append(each)
        histories[each.notification_id].sort(key=lambda event: event.at_ns)
    rows = result.notifications.drop_duplicates("id", keep="last").set_index("id") if chosen else None
    return [
        _details(result, number, each, histories[each.notification_id], None if rows is None else rows.loc[each[0]])
        for number, each in enumerate(chosen, 1)
    ]


def _interrupted(result: Result, ids: Container[str]) -> Iterator[Interrupted]:
    for row in result.interrupted.to_dict("records"):
        if row["id"] in ids:
            has_several = len(result.scenario.providers_used[row["channel"]]) > 1
            at_ns, started_ns = (round(row[at] * NS_PER_S) for at in ("end_s", "start_s"))
            yield Interrupted(at_ns, row["id"], started_ns, row["provider"] if has_several else None, row["delivered"])


def _details(result: Result, number: int, chosen: Chosen, events: Sequence[Any], row: Any) -> Details:
    key, notification_id = f"worst-{number}", chosen.notification_id
    channel = NotificationChannel(row["channel"])
    end_ns = round(result.summary["simulated_s"] * NS_PER_S)
    spans = spans_of(events, notification_id, end_ns)
    requested = next(event for event in events if type(event) is NotificationRequested)
    senders = [event.actor for event in events if isinstance(event, OwnActorMessage) and event.is_sent]
    sender = senders[0] if senders else _sender(result.scenario, notification_id, requested)
    parts = parts_of(channel, result.scenario.channel_config(channel), events, sender)
    messages = messages_of(events, notification_id, parts, end_ns)
    outcome, kind = OUTCOMES[row["outcome"]]
    return Details(
        key=key,
        notification_id=notification_id,
        why=chosen.why,
        channel=str(channel),
        user=row["user"],
        outcome=outcome,
        kind=kind,
        attempts=int(row["attempts"]),
        requested_ns=requested.at_ns,
        took=duration(sum(span.to_ns - span.from_ns for span in spans) / NS_PER_S),
        steps=cut(steps_of(events, notification_id)),
        steps_id=f"{key}-steps",
        spending=list(_spending(spans)),
        strip=time_strip(spans, events, f"{key}-strip") if spans else None,
        chart=sequence_chart(messages, parts, f"{key}-chart", f"{key}-steps"),
    )


def _spending(spans: Sequence[Span]) -> Iterator[Spending]:
    sums = totals(spans)
    whole_ns = sum(sums.values())
    for spent, total_ns in sums.items():
        yield Spending(str(spent), spent_class(spent), duration(total_ns / NS_PER_S), share_text(total_ns / whole_ns))


def _sender(scenario: Scenario, notification_id: str, requested: NotificationRequested) -> str:
    if requested.instead_of is not None:
        return "fallback"
    events = [_KEBAB.sub("-", entry.event).lower() for entry in scenario.workload if isinstance(entry, EventWorkload)]
    from_event = any(notification_id.startswith(f"{requested.channel}-{event}-") for event in events)
    return "event bus" if from_event else "sender"
