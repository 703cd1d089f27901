"""How a run goes over time, by channel and node, folded from its history while it goes on: what studio draws."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain
from math import ceil
from typing import Any

from actors.event_words import what_happened
from actors.instants import NS_PER_S
from actors.messages import (
    BreakerTransitioned,
    DeadLetterDiscarded,
    NodeTookOver,
    NotificationDeferred,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
)
from simulation.results.waiting import WAITS
from simulation.scenario import Scenario

WANTED = 480
"""Buckets for the time in which notifications arrive, where that is short."""

MOST = 1024
"""Buckets of a run. A longer one begins with narrow ones, so that its first part can be drawn at once; each time that
there are so many, two become one."""

_ROUND_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1)

COUNTS = ("arrived", "sent", "failed", "dead", "suppressed")
"""How many in each bucket."""

LEVELS = (*WAITS, "under_way", "dead_letters")
"""How many there are at the end of each bucket, and what they wait for."""

TRANSITIONS_MAX = 5_000
"""Changes of breakers that are sent: a breaker for each host can have any number."""


NODES_MAX = 48
"""Nodes that are shown one by one; more are shown together."""


def nodes_shown(scenario: Scenario) -> int:
    """Return how many nodes of a scenario can be looked at alone; 1 where there is one, or too many."""
    return scenario.nodes_at_most if scenario.nodes_at_most <= NODES_MAX else 1


class _Counter:
    """What is counted of one channel, at one node where there are several."""

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.times: list[array[float] | None] = [None]
        """The delivery times in seconds, by the bucket in which they ended."""
        self.rows: dict[str, list[int]] = defaultdict(lambda: [0] * len(self.times))
        """By the names in :data:`COUNTS` and :data:`LEVELS`, of levels the changes in each bucket; without those that
        nothing has been counted of."""


class Series:
    """Counts by bucket of time, of which :meth:`frame` returns what has changed."""

    def __init__(self, scenario: Scenario) -> None:
        """Count the events of a run of a scenario."""
        wanted_ns = scenario.arrivals_end_ns / WANTED
        self.width_ns = int(NS_PER_S * next((each for each in _ROUND_S if each * NS_PER_S >= wanted_ns), _ROUND_S[-1]))
        self.latest_ns = 0
        channels = [channel.value for channel in scenario.channels_used]
        nodes = range(1, nodes_shown(scenario) + 1)
        counters = [{channel: _Counter(channel) for channel in channels} for _ in nodes]
        self._at_node: Mapping[int | None, dict[str, _Counter]] = dict(zip(nodes, counters, strict=True))
        if len(nodes) == 1:  # or too many, which are counted as one
            self._at_node = defaultdict(lambda: counters[0])
        self._all = tuple(counter for of_node in counters for counter in of_node.values())
        self._groups = {channel: tuple(of_node[channel] for of_node in counters) for channel in channels}
        """The counters that are shown together, by the name of their rows; see :meth:`frame`."""
        if len(nodes) > 1:
            for node, of_node in zip(nodes, counters, strict=True):
                self._groups |= {f"{channel}@{node}": (counter,) for channel, counter in of_node.items()}
                self._groups[f"@{node}"] = tuple(of_node.values())
        self._groups[""] = self._all
        self._length = 1
        self._changed = 0
        """The first bucket that has changed since the last frame."""
        self._places: dict[str, tuple[_Counter, str, int]] = {}
        """Where each notification that has not ended waits, and for what, and since when or from when on (ns)."""
        self._dead: dict[str, _Counter] = {}
        """Where each dead letter was counted."""
        self._transitions: list[dict[str, Any]] = []
        self._transitions_sent = 0

    def fold(self, events: Sequence[Any]) -> None:
        """Take in the next events of the history, in order."""
        if not events:
            return
        self._reach(events[-1].at_ns)
        width, places, at_node = self.width_ns, self._places, self._at_node
        earliest = events[0].at_ns
        for event in events:
            kind = type(event)
            at_ns = event.at_ns
            bucket = at_ns // width
            if kind is NotificationSent:
                counter = at_node[event.node][event.channel]
                earliest = min(earliest, self._attempted(counter, event.notification_id, event.started_ns, at_ns))
                counter.rows["sent"][bucket] += 1
                times = counter.times[bucket]
                if times is None:
                    times = counter.times[bucket] = array("d")
                times.append((at_ns - event.requested_at_ns) / NS_PER_S)
            elif kind is NotificationRequested:
                counter = at_node[event.node][event.channel]
                counter.rows["arrived"][bucket] += 1
                counter.rows["turn"][bucket] += 1
                places[event.notification_id] = (counter, "turn", at_ns)
            elif kind is NotificationFailed:
                counter = at_node[event.node][event.channel]
                earliest = min(earliest, self._attempted(counter, event.notification_id, event.started_ns, at_ns))
                counter.rows["failed"][bucket] += 1
                retry_ns = event.next_retry_at_ns
                if retry_ns is not None:
                    counter.rows["backoff"][bucket] += 1
                    places[event.notification_id] = (counter, "backoff", max(retry_ns, at_ns))
            elif kind is NotificationDeferred:
                counter = at_node[event.node][event.channel]
                earliest = min(earliest, self._leave(event.notification_id, at_ns))
                counter.rows[event.cause][bucket] += 1
                places[event.notification_id] = (counter, event.cause, at_ns)
            elif kind is NotificationMovedToDeadLetter:
                counter = at_node[event.node][event.channel]
                earliest = min(earliest, self._leave(event.notification_id, at_ns))
                counter.rows["dead"][bucket] += 1
                counter.rows["dead_letters"][bucket] += 1
                self._dead[event.notification_id] = counter
            elif kind is NotificationSuppressed:
                earliest = min(earliest, self._leave(event.notification_id, at_ns))
                at_node[event.node][event.channel].rows["suppressed"][bucket] += 1
            elif kind is NotificationRedriven:
                counter = at_node[event.node][event.channel]
                self._take_out(event.notification_id, bucket)
                counter.rows["turn"][bucket] += 1
                places[event.notification_id] = (counter, "turn", at_ns)
            elif kind is DeadLetterDiscarded:
                self._take_out(event.notification_id, bucket)
            elif kind is BreakerTransitioned:
                self._transition(event)
            elif kind is NodeTookOver:
                earliest = min(earliest, self._take_over(event))
        self._changed = min(self._changed, earliest // width)
        self.latest_ns = events[-1].at_ns

    def waiting_at(self, at_ns: int, name: str = "") -> dict[str, str]:
        """Return what each notification that has not ended waits for at an instant: one of :data:`WAITS`.

        Args:
            at_ns: not before the last event that was taken in, and before the next one.
            name: of rows, as :meth:`frame` has them: only those that wait there.
        """
        counters = self._groups.get(name, ())
        return {
            notification_id: _due(place, since_ns, at_ns)
            for notification_id, (counter, place, since_ns) in self._places.items()
            if counter in counters
        }

    def _attempted(self, counter: _Counter, notification_id: str, started_ns: int, at_ns: int) -> int:
        """Note an attempt from its start to its end; return the earliest instant that this changes."""
        first, last = started_ns // self.width_ns, at_ns // self.width_ns
        if first != last:
            counter.rows["under_way"][first] += 1
            counter.rows["under_way"][last] -= 1
        return min(self._leave(notification_id, started_ns), started_ns)

    def _leave(self, notification_id: str, at_ns: int) -> int:
        """Note that a notification waits no longer; return the earliest instant that this changes."""
        found = self._places.pop(notification_id, None)
        if found is None:
            return at_ns
        counter, place, since_ns = found
        if place == "backoff" and since_ns < at_ns:  # then it waited for its turn
            counter.rows["backoff"][since_ns // self.width_ns] -= 1
            counter.rows["turn"][since_ns // self.width_ns] += 1
            counter.rows["turn"][at_ns // self.width_ns] -= 1
            return since_ns
        counter.rows[place][at_ns // self.width_ns] -= 1
        return at_ns

    def _take_out(self, notification_id: str, bucket: int) -> None:
        """Note that a dead letter has left the queue; one that does so again, after a crash, leaves nothing."""
        counter = self._dead.pop(notification_id, None)
        if counter is not None:
            counter.rows["dead_letters"][bucket] -= 1

    def _take_over(self, event: NodeTookOver) -> int:
        """Note that notifications wait at another node from now on; return the earliest instant that this changes."""
        earliest = at_ns = event.at_ns
        for notification_id in event.notification_ids:
            if notification_id not in self._places:
                continue
            counter, place, since_ns = self._places[notification_id]
            earliest = min(earliest, self._leave(notification_id, at_ns))
            heir, place = self._at_node[event.node][counter.channel], _due(place, since_ns, at_ns)
            heir.rows[place][at_ns // self.width_ns] += 1
            self._places[notification_id] = (heir, place, since_ns)
        return earliest

    def _transition(self, event: BreakerTransitioned) -> None:
        if len(self._transitions) < TRANSITIONS_MAX:
            self._transitions.append(
                {
                    "at": event.at_ns / NS_PER_S,
                    "kind": _KINDS.get(event.to_state, "other"),
                    "breaker": event.breaker,
                    "host": event.host,
                    "to": str(event.to_state),
                    "text": what_happened(event).removesuffix(f" ({event.cause})"),
                }
            )

    def _reach(self, at_ns: int) -> None:
        """Have a bucket for each instant up to this one."""
        while at_ns // self.width_ns >= MOST:
            self._halve()
        more = at_ns // self.width_ns + 1 - self._length
        if more > 0:
            for counter in self._all:
                for row in counter.rows.values():
                    row.extend([0] * more)
                counter.times.extend([None] * more)
            self._length += more

    def _halve(self) -> None:
        """Make each two buckets one."""
        for counter in self._all:
            for name, row in counter.rows.items():
                counter.rows[name] = [sum(row[at : at + 2]) for at in range(0, self._length, 2)]
            pairs = (counter.times[at : at + 2] for at in range(0, self._length, 2))
            counter.times = [array("d", chain.from_iterable(filter(None, pair))) or None for pair in pairs]
        self.width_ns *= 2
        self._length = (self._length + 1) // 2
        self._changed = 0

    def frame(self, *, end_ns: int | None = None) -> dict[str, Any]:
        """Return what has changed since the last frame, of the buckets that are over, as plain data.

        `from` is the first bucket of the rows, of `width_s` each. `rows` has by name the values of a channel; of one at
        a node, as ``email@3``; under an empty name those of all channels together, and as ``@3`` of all at a node. Of
        levels they are those at the end of each bucket, ``p50`` and ``p99`` are quantiles of delivery times (null where
        none ended). Rows of what has not happened yet are left out; so are all but the quantiles of what is together,
        which a page can add up. `transitions` are the changes of breakers since the last frame.

        Args:
            end_ns: when the run has ended, of which the last bucket is then one too; None: it goes on.
        """
        if end_ns is not None:
            self._reach(end_ns)
        start = self._changed
        is_over = self.latest_ns // self.width_ns or 1  # of the first one, which may be long, there is something to see
        stop = self._length if end_ns is not None else max(start, is_over)
        quantiles = {  # some groups are the same
            counters: _quantiles([counter.times[start:stop] for counter in counters])
            for counters in set(self._groups.values())
        }
        rows = {
            name: self._rows_of(name, counters, start, stop) | quantiles[counters]
            for name, counters in self._groups.items()
        }
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

    def _rows_of(self, name: str, counters: Sequence[_Counter], start: int, stop: int) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        is_together = not name or name.startswith("@")
        for kind in () if is_together else (*COUNTS, *LEVELS):
            rows = [counter.rows[kind] for counter in counters if kind in counter.rows]
            if not rows:
                continue
            changes = rows[0][start:stop] if len(rows) == 1 else _added(row[start:stop] for row in rows)
            if kind in LEVELS:
                before = sum(sum(row[:start]) for row in rows)
                changes = list(accumulate(changes, initial=before))[1:]
            found[kind] = changes
        return found


def _added(rows: Iterable[Sequence[int]]) -> list[int]:
    return list(map(sum, zip(*rows, strict=True)))


def _due(place: str, since_ns: int, at_ns: int) -> str:
    """Return what a notification waits for at an instant: when the time of its retry has come, for its turn."""
    return "turn" if place == "backoff" and since_ns <= at_ns else place


_KINDS = {"open": "opens", "forced-open": "opens", "closed": "closes", "half-open": "probes"}
"""What a breaker does that goes into a state."""


def _quantiles(times: Sequence[Sequence[array[float] | None]]) -> dict[str, list[float | None]]:
    """Return the quantiles of delivery times, of which several counters have some in each of some buckets."""
    in_buckets: Iterable[Iterable[float] | None] = times[0]
    if len(times) > 1:
        in_buckets = (chain.from_iterable(filter(None, each)) for each in zip(*times, strict=True))
    ordered = [None if each is None else sorted(each) for each in in_buckets]
    return {
        name: [round(each[ceil(len(each) * share) - 1], 4) if each else None for each in ordered]
        for name, share in (("p50", 0.5), ("p99", 0.99))
    }
