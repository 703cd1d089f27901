"""The series of a run that studio draws, by channel and node, folded from its history while it goes on."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain
from math import ceil
from typing import Any, Literal

from actors.event_words import what_happened
from actors.instants import NS_PER_S
from actors.messages import (
    BreakerTransitioned,
    DeadLetterDiscarded,
    NodeTookOver,
    NotificationChannel,
    NotificationDeferred,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
)
from simulation.results.ledger import is_unwanted
from simulation.results.waiting import WAITS
from simulation.scenario import Scenario
from simulation.scenario.expected_arrivals import expected_notifications

WANTED = 480
"""Buckets for the time in which notifications arrive, where that is short."""

MOST = 1024
"""Buckets of a run. A longer one begins with narrow ones, so that its first part can be drawn at once; each time the
run reaches this number, two buckets become one."""

_ROUND_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1)

COUNTS = ("arrived", "sent", "failed", "refused", "requests", "dead", "suppressed")
"""Counts of events in each bucket. Attempts that were refused on our side are not failed ones. Requests to providers
count as in the metric `requests`, in the bucket of their start, once their outcome is known."""

LEVELS = (*WAITS, "under_way", "dead_letters")
"""Counts of notifications at the end of each bucket, by the cause of their wait."""

NEVER = -1
"""Stands in a frame for a delivery time that is infinite: JSON has no word for it."""

IN_A_STEP, STEPS_MIN = 200, 24
"""Quantiles of delivery times are over so many requests, as of 100 a single one is the 99th percentile; but a run that
is long enough has at least `STEPS_MIN` steps."""

TRANSITIONS_MAX = 5_000
"""Changes of breakers that are sent: a breaker for each host can have any number."""

NODES_MAX = 48
"""Nodes that are shown one by one; more are shown together."""


def nodes_shown(scenario: Scenario) -> int:
    """Return how many nodes of a scenario can be looked at alone; 1 where there is one, or too many."""
    return scenario.nodes_at_most if scenario.nodes_at_most <= NODES_MAX else 1


_FOLLOWED = {
    *(NotificationRequested, NotificationSent, NotificationFailed, NotificationDeferred, NotificationSuppressed),
    *(NotificationMovedToDeadLetter, NotificationRedriven, DeadLetterDiscarded),
}


class _Counter:
    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.length = 1
        self.rows: dict[str, list[int]] = defaultdict(lambda: [0] * self.length)
        """By the names in :data:`COUNTS` and :data:`LEVELS`, levels as changes in each bucket; without names that have
        no count."""
        self.requests: dict[int, _Requests] = defaultdict(_Requests)
        """By the bucket in which they were accepted."""
        self.changed: set[int] = set()
        """The buckets with requests that have changed since the last frame."""


class _Requests:
    __slots__ = ("dead", "number", "times")

    def __init__(self) -> None:
        self.number = 0
        """How many are wanted, and were not handed on to another channel."""
        self.dead = 0
        """How many of these are dead-lettered."""
        self.times = array("d")
        """The delivery times of the delivered ones, in seconds."""


class Series:
    """Counts by bucket of time; :meth:`frame` returns their changes."""

    def __init__(self, scenario: Scenario) -> None:
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
        self._steps_s = _steps_s(scenario, self._groups)
        self._length = 1
        self._changed = 0
        """The first bucket that has changed since the last frame."""
        self._places: dict[str, tuple[_Counter, str, int]] = {}
        """The counter, the cause and the begin (ns, past or future) of the wait of each notification not ended."""
        self._dead: dict[str, _Counter] = {}
        """Where each dead letter was counted."""
        self._undelivered: dict[str, tuple[_Counter, int, bool]] = {}
        """Where each request was accepted that is not delivered so far, since when its user waits (ns), and whether it
        is dead-lettered."""
        self._transitions: list[dict[str, Any]] = []
        self._transitions_sent = 0

    def fold(self, events: Sequence[Any]) -> None:
        if not events:
            return
        self._reach(events[-1].at_ns)
        width, places, at_node = self.width_ns, self._places, self._at_node
        earliest = events[0].at_ns
        for event in events:
            kind = type(event)
            at_ns = event.at_ns
            bucket = at_ns // width
            if kind is BreakerTransitioned:
                self._transition(event)
                continue
            if kind is NodeTookOver:
                earliest = min(earliest, self._take_over(event))
                continue
            if kind not in _FOLLOWED:
                continue
            counter, id_ = at_node[event.node][event.channel], event.notification_id
            if kind is NotificationSent:
                earliest = min(earliest, self._attempted(counter, event))
                counter.rows["requests"][event.started_ns // width] += 1 + event.hedges
                counter.rows["sent"][bucket] += 1
                self._deliver(id_, at_ns)
            elif kind is NotificationRequested:
                counter.rows["arrived"][bucket] += 1
                counter.rows["turn"][bucket] += 1
                places[id_] = (counter, "turn", at_ns)
                self._accept(counter, event)
            elif kind is NotificationFailed:
                earliest = min(earliest, self._attempted(counter, event))
                counter.rows["refused" if event.refused else "failed"][bucket] += 1
                counter.rows["requests"][event.started_ns // width] += (not event.refused) + event.hedges
                retry_ns = event.next_retry_at_ns
                if retry_ns is not None:
                    counter.rows["backoff"][bucket] += 1
                    places[id_] = (counter, "backoff", max(retry_ns, at_ns))
            elif kind is NotificationDeferred:
                earliest = min(earliest, self._leave(id_, at_ns))
                counter.rows[event.cause][bucket] += 1
                places[id_] = (counter, event.cause, at_ns)
            elif kind is NotificationMovedToDeadLetter:
                earliest = min(earliest, self._leave(id_, at_ns))
                counter.rows["dead"][bucket] += 1
                counter.rows["dead_letters"][bucket] += 1
                self._dead[id_] = counter
                self._bury(id_, 1)
            elif kind is NotificationSuppressed:
                earliest = min(earliest, self._leave(id_, at_ns))
                counter.rows["suppressed"][bucket] += 1
                if is_unwanted(event):
                    self._withdraw(id_)
                else:
                    self._bury(id_, 1)
            else:
                self._take_out(id_, bucket)
                if kind is NotificationRedriven:
                    counter.rows["turn"][bucket] += 1
                    places[id_] = (counter, "turn", at_ns)
                    self._bury(id_, -1)
        self._changed = min(self._changed, earliest // width)
        self.latest_ns = events[-1].at_ns

    def interrupt(self, interrupted_ns: Mapping[tuple[NotificationChannel, int | None], Iterable[int]]) -> None:
        """Take in when the requests began whose answers were lost, by channel and node: no event tells of them."""
        for (channel, node), begun_ns in interrupted_ns.items():
            for bucket in (each // self.width_ns for each in begun_ns):
                self._at_node[node][channel].rows["requests"][bucket] += 1
                self._changed = min(self._changed, bucket)

    def waiting_at(self, at_ns: int, name: str = "") -> dict[str, str]:
        """Return the cause of each notification's wait at an instant, of those not ended: one of :data:`WAITS`.

        Args:
            at_ns: not before the last event that was taken in, and before the next one.
            name: the name of rows, as :meth:`frame` has them: only notifications that wait there.
        """
        counters = self._groups.get(name, ())
        return {
            notification_id: _due(place, since_ns, at_ns)
            for notification_id, (counter, place, since_ns) in self._places.items()
            if counter in counters
        }

    # ── delivery times ──────────────────────────────────────────────────────────────────────────────────────────────

    def _accept(self, counter: _Counter, event: NotificationRequested) -> None:
        since_ns = event.at_ns if event.waited_since_ns is None else event.waited_since_ns
        if event.instead_of is not None:
            since_ns = self._withdraw(event.instead_of, since_ns)
        elif event.notification_id in self._undelivered:
            return  # accepted again
        self._undelivered[event.notification_id] = (counter, since_ns, False)
        self._requests(counter, since_ns).number += 1

    def _requests(self, counter: _Counter, since_ns: int) -> _Requests:
        counter.changed.add(since_ns // self.width_ns)
        return counter.requests[since_ns // self.width_ns]

    def _deliver(self, notification_id: str, at_ns: int) -> None:
        found = self._undelivered.pop(notification_id, None)
        if found is not None:  # else it had been delivered before
            counter, since_ns, is_dead = found
            requests = self._requests(counter, since_ns)
            requests.times.append((at_ns - since_ns) / NS_PER_S)
            requests.dead -= is_dead

    def _withdraw(self, notification_id: str, since_ns: int = 0) -> int:
        """Note that a request has left its channel; return since when its user has waited."""
        found = self._undelivered.pop(notification_id, None)
        if found is None:
            return since_ns
        counter, since_ns, is_dead = found
        requests = self._requests(counter, since_ns)
        requests.number -= 1
        requests.dead -= is_dead
        return since_ns

    def _bury(self, notification_id: str, by: Literal[1, -1]) -> None:
        found = self._undelivered.get(notification_id)
        if found is not None and found[2] is not (by == 1):
            counter, since_ns, _ = found
            self._undelivered[notification_id] = (counter, since_ns, by == 1)
            self._requests(counter, since_ns).dead += by

    # ── waits ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _attempted(self, counter: _Counter, event: NotificationSent | NotificationFailed) -> int:
        first, last = event.started_ns // self.width_ns, event.at_ns // self.width_ns
        if first != last:
            counter.rows["under_way"][first] += 1
            counter.rows["under_way"][last] -= 1
        return min(self._leave(event.notification_id, event.started_ns), event.started_ns)

    def _leave(self, notification_id: str, at_ns: int) -> int:
        """Note that a notification's wait is over; return the earliest instant whose counts this changes."""
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
        """Note that a dead letter has left the queue; a second time, after a crash, changes nothing."""
        counter = self._dead.pop(notification_id, None)
        if counter is not None:
            counter.rows["dead_letters"][bucket] -= 1

    def _take_over(self, event: NodeTookOver) -> int:
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
        while at_ns // self.width_ns >= MOST:
            self._halve()
        more = at_ns // self.width_ns + 1 - self._length
        if more > 0:
            for counter in self._all:
                for row in counter.rows.values():
                    row.extend([0] * more)
                counter.length += more
            self._length += more

    def _halve(self) -> None:
        for counter in self._all:
            for name, row in counter.rows.items():
                counter.rows[name] = [sum(row[at : at + 2]) for at in range(0, self._length, 2)]
            halves, counter.requests = counter.requests, defaultdict(_Requests)
            for bucket, half in halves.items():
                whole = counter.requests[bucket // 2]
                whole.number, whole.dead = whole.number + half.number, whole.dead + half.dead
                whole.times.extend(half.times)
            counter.changed = set(counter.requests)
            counter.length = (self._length + 1) // 2
        self.width_ns *= 2
        self._length = (self._length + 1) // 2
        self._changed = 0

    def frame(self, *, end_ns: int | None = None) -> dict[str, Any]:
        """Return the changes since the last frame in the buckets that are over, as plain data.

        `from` is the first bucket of the rows, of `width_s` each. `rows` has by name the values of a channel, and of
        one at a node, as ``email@3``; levels are at the end of each bucket. Rows without a count so far are left out.
        `times` has by the same names, and under an empty name for all channels and ``@3`` for all at a node, the
        buckets of a `step`, and as `found` each step that has changed: its number, and the median and the 99th
        percentile of the delivery times of requests accepted in it, :data:`NEVER` where that is never, and None while
        it is unknown. `transitions` are the changes of breakers since the last frame.

        Args:
            end_ns: when the run has ended, so that the last bucket is over too; None: it goes on.
        """
        is_over = end_ns is not None
        if end_ns is not None:
            self._reach(end_ns)
            for counter in self._all:  # what is not delivered now never is
                counter.changed.update(counter.requests)
        start = self._changed
        # Of the first bucket, which may be long, there is something to see before it is over.
        stop = self._length if is_over else max(start, self.latest_ns // self.width_ns or 1)
        steps = {name: max(1, round(step_s * NS_PER_S / self.width_ns)) for name, step_s in self._steps_s.items()}
        times = {
            name: {"step": steps[name], "found": _found(counters, steps[name], is_over)}
            for name, counters in self._groups.items()
        }
        rows = {
            name: self._rows_of(counters, start, stop)
            for name, counters in self._groups.items()
            if name and not name.startswith("@")  # a page can add those up
        }
        for counter in self._all:
            counter.changed.clear()
        self._changed = stop
        news = self._transitions[self._transitions_sent :]
        self._transitions_sent = len(self._transitions)
        return {
            "type": "frame",
            "width_s": self.width_ns / NS_PER_S,
            "from": start,
            "to": stop,
            "rows": rows,
            "times": times,
            "transitions": news,
        }

    def _rows_of(self, counters: Sequence[_Counter], start: int, stop: int) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for kind in (*COUNTS, *LEVELS):
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
    """Return the cause of a notification's wait at an instant: its turn, once the time of its retry has come."""
    return "turn" if place == "backoff" and since_ns <= at_ns else place


_KINDS = {"open": "opens", "forced-open": "opens", "closed": "closes", "half-open": "probes"}
"""The words for a breaker that changes into a state."""


def _steps_s(scenario: Scenario, groups: Mapping[str, Sequence[_Counter]]) -> dict[str, float]:
    """Return for each group the length of a step, in seconds, with enough requests for its quantiles."""
    lasts_s, counts = scenario.arrivals_end_ns / NS_PER_S, defaultdict[str, float](float)
    for entry in scenario.workload:
        for channel in entry.channels:
            counts[channel.value] += expected_notifications(scenario, entry)
    nodes = nodes_shown(scenario)
    return {
        name: lasts_s * min(1 / STEPS_MIN, IN_A_STEP / (sum(counts[each.channel] for each in counters) / nodes or 1))
        for name, counters in groups.items()
    }


def _found(counters: Sequence[_Counter], step: int, is_over: bool) -> list[list[float | None]]:
    changed = sorted({bucket // step for each in counters for bucket in each.changed})
    return [
        [
            number,
            *_quantiles(
                [
                    each.requests[bucket]
                    for each in counters
                    for bucket in range(number * step, (number + 1) * step)
                    if bucket in each.requests
                ],
                is_over,
            ),
        ]
        for number in changed
    ]


def _quantiles(requests: Sequence[_Requests], is_over: bool) -> list[float | None]:
    """Return the median and the 99th percentile of delivery times; requests in flight take longer than delivered
    ones."""
    number = sum(each.number for each in requests)
    times = sorted(chain.from_iterable(each.times for each in requests))
    never_from = len(times) if is_over else number - sum(each.dead for each in requests)
    found: list[float | None] = []
    for share in (0.5, 0.99):
        place = ceil(number * share) - 1
        found.append(round(times[place], 4) if 0 <= place < len(times) else NEVER if place >= never_from else None)
    return found if number else [None, None]
