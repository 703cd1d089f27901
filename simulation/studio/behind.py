"""The notifications behind a point of a curve, each with its history."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from operator import attrgetter
from typing import Any

from actors.instants import NS_PER_S
from actors.messages import (
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
)
from actors.settings.quantities import LONGEST_S
from simulation.reporting.html.course import histories_of
from simulation.reporting.html.steps import cut, steps_of
from simulation.results.backlogs import instant_of
from simulation.results.result import Result
from simulation.studio.series import Series

SHOWN = 12
"""Notifications; those that took the longest come first."""

_WHO = {
    "arrived": "that arrived",
    "sent": "that were delivered",
    "failed": "with a failed attempt",
    "refused": "with an attempt that was refused on our side",
    "requests": "with a request to a provider that started",
    "dead": "dead-lettered",
    "suppressed": "not wanted",
    "under_way": "under way",
    "turn": "that wait for a slot or a quota",
    "backoff": "that wait between retries",
    "rate_limit": "that wait for the rate limit",
    "circuit_breaker": "that wait behind the breaker",
    "quiet_hours": "that wait for the end of quiet hours",
}
_EVENTS: dict[str, Any] = {
    "arrived": NotificationRequested,
    "sent": NotificationSent,
    "failed": NotificationFailed,
    "refused": NotificationFailed,
    "requests": (NotificationSent, NotificationFailed),
    "dead": NotificationMovedToDeadLetter,
    "suppressed": NotificationSuppressed,
}


def behind(result: Result, from_s: float, to_s: float, kind: str, place: str) -> dict[str, Any]:
    """Return the notifications behind a point of a curve, for a template: `who` they are, their `number`, and some.

    Args:
        result: of a run; one that kept no rows has none.
        from_s: where the bucket begins, in seconds from the start.
        to_s: where it ends.
        kind: a name of :data:`simulation.studio.series.COUNTS`: notifications to which it happened meanwhile; of
            :data:`simulation.results.waiting.WAITS`: notifications that wait for it at the end; or ``under_way``.
        place: only of a channel, at a node, or both, as ``email``, ``@3`` and ``email@3``; empty for all.
    """
    if result.scenario.record != "full":
        return {"kept": False}
    start_ns, stop_ns = (round(max(0.0, min(each, LONGEST_S)) * NS_PER_S) for each in (from_s, to_s))
    history = [event for event in result.history if isinstance(event, NotificationEvent)]
    channel, _, node = place.partition("@")
    if kind in _EVENTS:
        when = attrgetter("started_ns" if kind == "requests" else "at_ns")
        within = (each for each in history if isinstance(each, _EVENTS[kind]) and start_ns <= when(each) < stop_ns)
        of_kind = (each for each in within if getattr(each, "refused", None) in (None, kind == "refused"))
        ids = [event.notification_id for event in of_kind if _is_at(event.channel, event.node, place)]
        if kind == "requests":  # those whose answers were lost are in no event
            begun = (each for each in result._recorder.interrupted if start_ns <= each.started_ns < stop_ns)
            ids += [each.notification_id for each in begun if _is_at(each.channel, each.attempt.node, place)]
        ids = list(dict.fromkeys(ids))
    else:
        ids = [each for each, waits in _waits(result, stop_ns - 1, place).items() if waits == kind]
    lasted = _lasted(history, set(ids), stop_ns)
    chosen = sorted(ids, key=lambda each: -lasted[each])[:SHOWN]
    histories = histories_of(result.history, chosen)
    shown = [
        {
            "id": each,
            "channel": str(histories[each][0].channel),
            "lasted_s": lasted[each] / NS_PER_S,
            "steps": cut(steps_of(histories[each], each)),
        }
        for each in chosen
    ]
    of = (f" on {channel}" if channel else "") + (f" at node {node}" if node else "")
    times = {"from_ns": start_ns, "to_ns": stop_ns}
    return {"who": f"{_WHO.get(kind, kind)}{of}", **times, "number": len(ids), "shown": shown, "kept": True}


def _is_at(of_channel: str, at_node: int | None, place: str) -> bool:
    channel, _, node = place.partition("@")
    return channel in ("", of_channel) and node in ("", str(at_node))


def _waits(result: Result, at_ns: int, place: str) -> dict[str, str]:
    series, history = Series(result.scenario), result.history
    later = bisect_right(history, at_ns, key=instant_of)
    series.fold(history[:later])
    waits = series.waiting_at(at_ns, place)
    for event in history[later:]:
        if isinstance(event, (NotificationSent, NotificationFailed)) and event.started_ns <= at_ns:
            waits.pop(event.notification_id, None)  # it may have waited at another node
            if _is_at(event.channel, event.node, place):
                waits[event.notification_id] = "under_way"
    return waits


def _lasted(history: Iterable[NotificationEvent], ids: set[str], stop_ns: int) -> dict[str, int]:
    begins: dict[str, int] = {}
    ends: dict[str, int] = {}
    for event in history:
        if event.notification_id in ids:
            begins.setdefault(event.notification_id, event.at_ns)
            ends[event.notification_id] = event.at_ns
    return {each: max(ends.get(each, stop_ns) - begins.get(each, stop_ns), 0) for each in ids}
