"""How a run goes over time, by channel, folded from its history while it goes on: what studio draws."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from math import ceil
from typing import Any

from actors.event_words import what_happened
from actors.instants import NS_PER_S
from actors.messages import (
    BreakerTransitioned,
    DeadLetterDiscarded,
    NotificationDeferred,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
)
from simulation.scenario import Scenario

WANTED = 480
"""Buckets for the time in which notifications arrive, where that is short."""

MOST = 1024
"""Buckets of a run. A longer one begins with narrow ones, so that its first part can be drawn at once; each time that
there are so many, two become one."""

_ROUND_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1)

COUNTS = ("arrived", "sent", "failed", "dead", "suppressed")
"""How many in each bucket."""

WAITS = ("turn", "backoff", "rate_limit", "circuit_breaker", "quiet_hours")
"""How many wait at the end of each bucket, and for what: `turn` is a slot, a quota, or the way there."""

LEVELS = (*WAITS, "under_way", "dead_letters")
"""How many there are at the end of each bucket."""

TRANSITIONS_MAX = 5_000
"""Changes of breakers that are sent: a breaker for each host can have any number."""


class _Channel:
    """What is counted of one channel."""

    def __init__(self) -> None:
        self.rows = {name: [0] for name in (*COUNTS, *LEVELS)}
        """Of levels the changes in each bucket."""
        self.times: list[array[float] | None] = [None]
        """The delivery times in seconds, by the bucket in which they ended."""


class Series:
    """Counts by bucket of time, of which :meth:`frame` returns what has changed."""

    def __init__(self, scenario: Scenario) -> None:
        """Count the events of a run of a scenario."""
        wanted_ns = scenario.arrivals_end_ns / WANTED
        self.width_ns = int(NS_PER_S * next((each for each in _ROUND_S if each * NS_PER_S >= wanted_ns), _ROUND_S[-1]))
        self.latest_ns = 0
        self._channels = {channel.value: _Channel() for channel in scenario.channels_used}
        self._length = 1
        self._changed = 0
        """The first bucket that has changed since the last frame."""
        self._places: dict[str, tuple[str, int]] = {}
        """What each notification that has not ended waits for, and since when or from when on (ns)."""
        self._transitions: list[dict[str, Any]] = []
        self._transitions_sent = 0

    def fold(self, events: Sequence[Any]) -> None:
        """Take in the next events of the history, in order."""
        if not events:
            return
        self._reach(events[-1].at_ns)
        width, places, channels = self.width_ns, self._places, self._channels
        earliest = events[0].at_ns
        for event in events:
            kind = type(event)
            at_ns = event.at_ns
            bucket = at_ns // width
            if kind is NotificationSent:
                rows = (channel := channels[event.channel]).rows
                earliest = min(earliest, self._attempted(rows, event.notification_id, event.started_ns, at_ns))
                places.pop(event.notification_id, None)
                rows["sent"][bucket] += 1
                times = channel.times[bucket]
                if times is None:
                    times = channel.times[bucket] = array("d")
                times.append((at_ns - event.requested_at_ns) / NS_PER_S)
            elif kind is NotificationRequested:
                rows = channels[event.channel].rows
                rows["arrived"][bucket] += 1
                rows["turn"][bucket] += 1
                places[event.notification_id] = ("turn", at_ns)
            elif kind is NotificationFailed:
                rows = channels[event.channel].rows
                earliest = min(earliest, self._attempted(rows, event.notification_id, event.started_ns, at_ns))
                rows["failed"][bucket] += 1
                retry_ns = event.next_retry_at_ns
                if retry_ns is None:
                    places.pop(event.notification_id, None)
                else:
                    rows["backoff"][bucket] += 1
                    places[event.notification_id] = ("backoff", max(retry_ns, at_ns))
            elif kind is NotificationDeferred:
                rows = channels[event.channel].rows
                self._leave(rows, event.notification_id, at_ns)
                rows[event.cause][bucket] += 1
                places[event.notification_id] = (event.cause, at_ns)
            elif kind is NotificationMovedToDeadLetter:
                rows = channels[event.channel].rows
                self._leave(rows, event.notification_id, at_ns)
                rows["dead"][bucket] += 1
                rows["dead_letters"][bucket] += 1
            elif kind is NotificationSuppressed:
                rows = channels[event.channel].rows
                self._leave(rows, event.notification_id, at_ns)
                rows["suppressed"][bucket] += 1
            elif kind is NotificationRedriven:
                rows = channels[event.channel].rows
                rows["dead_letters"][bucket] -= 1
                rows["turn"][bucket] += 1
                places[event.notification_id] = ("turn", at_ns)
            elif kind is DeadLetterDiscarded:
                channels[event.channel].rows["dead_letters"][bucket] -= 1
            elif kind is BreakerTransitioned:
                self._transition(event)
        self._changed = min(self._changed, earliest // width)
        self.latest_ns = events[-1].at_ns

    def waiting_at(self, at_ns: int) -> dict[str, str]:
        """Return what each notification that has not ended waits for at an instant: one of :data:`WAITS`.

        Args:
            at_ns: not before the last event that was taken in, and before the next one.
        """
        return {
            notification_id: "turn" if place == "backoff" and since_ns <= at_ns else place
            for notification_id, (place, since_ns) in self._places.items()
        }

    def _attempted(self, rows: dict[str, list[int]], notification_id: str, started_ns: int, at_ns: int) -> int:
        """Note an attempt from its start to its end; return the earliest instant that this changes."""
        first, last = started_ns // self.width_ns, at_ns // self.width_ns
        if first != last:
            rows["under_way"][first] += 1
            rows["under_way"][last] -= 1
        return min(self._leave(rows, notification_id, started_ns), started_ns)

    def _leave(self, rows: dict[str, list[int]], notification_id: str, at_ns: int) -> int:
        """Note that a notification waits no longer; return the earliest instant that this changes."""
        place, since_ns = self._places.pop(notification_id, ("", 0))
        if not place:
            return at_ns
        if place == "backoff" and since_ns < at_ns:  # then it waited for its turn
            rows["backoff"][since_ns // self.width_ns] -= 1
            rows["turn"][since_ns // self.width_ns] += 1
            rows["turn"][at_ns // self.width_ns] -= 1
            return since_ns
        rows[place][at_ns // self.width_ns] -= 1
        return at_ns

    def _transition(self, event: BreakerTransitioned) -> None:
        if len(self._transitions) < TRANSITIONS_MAX:
            self._transitions.append(
                {
                    "at": event.at_ns / NS_PER_S,
                    "kind": _KINDS.get(event.to_state, "other"),
                    "breaker": event.breaker,
                    "host": event.host,
                    "to": str(event.to_state),
                    "cause": event.cause.replace("_", " "),
                    "text": what_happened(event),
                }
            )

    def _reach(self, at_ns: int) -> None:
        """Have a bucket for each instant up to this one."""
        while at_ns // self.width_ns >= MOST:
            self._halve()
        more = at_ns // self.width_ns + 1 - self._length
        if more > 0:
            for channel in self._channels.values():
                for row in channel.rows.values():
                    row.extend([0] * more)
                channel.times.extend([None] * more)
            self._length += more

    def _halve(self) -> None:
        """Make each two buckets one."""
        for channel in self._channels.values():
            channel.rows = {
                name: [sum(row[at : at + 2]) for at in range(0, self._length, 2)] for name, row in channel.rows.items()
            }
            pairs = [channel.times[at : at + 2] for at in range(0, self._length, 2)]
            channel.times = [_joined(each for each in pair if each is not None) for pair in pairs]
        self.width_ns *= 2
        self._length = (self._length + 1) // 2
        self._changed = 0

    def frame(self, *, end_ns: int | None = None) -> dict[str, Any]:
        """Return what has changed since the last frame, of the buckets that are over, as plain data.

        `from` is the first bucket of the rows, of `width_s` each; `rows` has by channel and name the values, of levels
        those at the end of each bucket, and the quantiles ``p50`` and ``p99`` of delivery times (null where none
        ended), those of all channels together under an empty name. `transitions` are the changes of breakers since the
        last frame.

        Args:
            end_ns: when the run has ended, of which the last bucket is then one too; None: it goes on.
        """
        if end_ns is not None:
            self._reach(end_ns)
        start = self._changed
        is_over = self.latest_ns // self.width_ns or 1  # of the first one, which may be long, there is something to see
        stop = self._length if end_ns is not None else max(start, is_over)
        rows = {name: self._rows_of(channel, start, stop) for name, channel in self._channels.items()}
        together = zip(*(channel.times[start:stop] for channel in self._channels.values()), strict=True)
        rows[""] = _quantiles([_joined(each for each in times if each is not None) for times in together])
        self._changed = stop
        news = self._transitions[self._transitions_sent :]
        self._transitions_sent = len(self._transitions)
        return {
            "type": "frame",
            "width_s": self.width_ns / NS_PER_S,
            "from": start,
            "to": stop,
            "rows": rows,
            "transitions": news,
        }

    def _rows_of(self, channel: _Channel, start: int, stop: int) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {name: channel.rows[name][start:stop] for name in COUNTS}
        for name in LEVELS:
            changes = channel.rows[name]
            level = sum(changes[:start])
            levels = found[name] = []
            for change in changes[start:stop]:
                level += change
                levels.append(level)
        return found | _quantiles(channel.times[start:stop])


_KINDS = {"open": "opens", "forced-open": "opens", "closed": "closes", "half-open": "probes"}
"""What a breaker does that goes into a state."""


def _joined(parts: Iterable[array[float]]) -> array[float] | None:
    whole: array[float] | None = None
    for part in parts:
        if whole is None:
            whole = array("d")
        whole.extend(part)
    return whole


def _quantiles(times: Sequence[array[float] | None]) -> dict[str, list[float | None]]:
    """Return the quantiles of delivery times in each of some buckets."""
    return {
        name: [None if each is None else _quantile(each, share) for each in times]
        for name, share in (("p50", 0.5), ("p99", 0.99))
    }


def _quantile(values: array[float], share: float) -> float:
    """Return the smallest value that at least this share of the values do not exceed."""
    ordered = sorted(values)
    return round(ordered[ceil(len(ordered) * share) - 1], 4)
