"""The summary adds up: its metrics are those that the history gives, counted one event after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from actors.instants import NS_PER_S
from actors.messages import (
    ActorFailed,
    DeadLetterDiscarded,
    DuplicateIgnored,
    NotificationChannel,
    NotificationDeferred,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
)
from actors.outcomes import ChannelFault
from actors.pipeline.readiness import ADDRESS_GONE
from simulation.invariants.base import Context, Invariant, Objection, observes
from simulation.invariants.lifecycles import PROCESS, Lifecycle, State
from simulation.invariants.observations import AttemptMade

_ADDS: dict[type[NotificationEvent], dict[str, int]] = {
    NotificationRequested: {"accepted": 1, "in_flight": 1},
    NotificationSent: {"sent": 1, "attempts": 1, "in_flight": -1},
    NotificationSuppressed: {"suppressed": 1, "in_flight": -1},
    NotificationMovedToDeadLetter: {"dead_lettered": 1, "in_flight": -1, "dlq.final": 1},
    NotificationRedriven: {"dead_lettered": -1, "in_flight": 1, "dlq.final": -1},
    DeadLetterDiscarded: {"dlq.final": -1},
    NotificationFailed: {"attempts": 1},
    NotificationDeferred: {"deferred": 1},
    DuplicateIgnored: {"duplicates": 1},
}
"""What each event adds to the metrics; which attempts are retries it takes more to know."""

_OUTCOMES_AND_ENDS = NotificationSent, NotificationFailed, NotificationMovedToDeadLetter, NotificationSuppressed
"""With these no one waits any more for what was asked before."""


class _Request:
    """A notification, and those in its place."""

    def __init__(self, channel: NotificationChannel) -> None:
        self.channel = channel
        """The one that has delivered it first, or else that has taken it over last."""
        self.has_others = False
        """Whether it has gone on to another channel."""
        self.is_wanted = True
        self.sent = 0
        self.took_ns = 0


class _Books:
    """The metrics of one channel, or of all."""

    def __init__(self) -> None:
        names = ("retries", "requests", *(name for adds in _ADDS.values() for name in adds))
        self.counts = Counter(dict.fromkeys(names, 0))
        self.requests: list[_Request] = []
        """Those that ended here."""

    def enter(self, event: NotificationEvent) -> None:
        """Take in an event."""
        self.counts.update(_ADDS[type(event)])
        if isinstance(event, NotificationSent):
            self.counts["retries"] += event.attempt > 1
        elif isinstance(event, NotificationFailed):
            self.counts["retries"] += event.attempt != 1 or event.kind == ChannelFault.__name__

    def compare(self, summary: Mapping[str, Any], of: str, more_requests: int) -> str | None:
        """Return what a summary says that is not so, where there may have been more requests by so many."""
        refused = sum(summary["refused"].values())
        delivered = [request.took_ns for request in self.requests if request.sent]
        slowest_s = max(delivered) / NS_PER_S if delivered else None
        sent = {**summary, "dlq.final": summary["dlq"]["final"], "never": summary["delivery_time_s"]["never"]}
        counted: dict[str, float | None] = dict(self.counts)
        offered = sum(request.is_wanted for request in self.requests) + refused
        counted["offered"], counted["delivered"] = offered, len(delivered)
        counted["never"] = offered - len(delivered)
        counted["sent_fraction"] = len(delivered) / offered if offered else None
        if not _is_near(slowest_s, shown_s := summary["sent_time_s"]["max"]):
            return f"the summary of {of} says sent_time_s.max {shown_s}, and by the history it is {slowest_s}"
        for name, value in counted.items():
            if name == "requests" and 0 <= sent[name] - self.counts[name] <= more_requests:
                continue
            if sent[name] != value:
                return f"the summary of {of} says {name} {sent[name]}, and by the history it is {value}"
        return None


class Summary(Invariant):
    """The summary of a run has the metrics that its history gives, all in all and for each channel."""

    name = "summary"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._all = _Books()
        self._by_channel: dict[NotificationChannel, _Books] = {channel: _Books() for channel in context.channels}
        self._requests: dict[str, _Request] = {}
        """By the id of each of its notifications."""
        self._asked: Counter[tuple[str, NotificationChannel]] = Counter()
        """By notification and channel: how often a provider was asked of which there is no outcome, and may be one."""
        self._may_be_lost: Counter[NotificationChannel] = Counter()
        """Of these, those of what is in flight at the end, for which no one may wait after a crash."""
        self._asked_by: dict[tuple[str, NotificationChannel], int | None] = {}
        """The node of a fleet that has done so last."""

    @observes(*_ADDS)
    def on_event(self, event: NotificationEvent) -> Objection:
        self._all.enter(event)
        self._by_channel[event.channel].enter(event)
        self._follow(event)
        if isinstance(event, _OUTCOMES_AND_ENDS):
            self._count_asked([(event.notification_id, event.channel)])
        return None

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Objection:
        key = made.notification_id, made.channel
        self._asked[key] += 1
        self._asked_by[key] = made.node
        return None

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> Objection:
        if event.actor == PROCESS:
            self._count_asked([key for key in self._asked if self._asked_by[key] == event.node])
        return None

    def _count_asked(self, keys: Iterable[tuple[str, NotificationChannel]]) -> None:
        """Count the requests that have an outcome, and those that will have none any more."""
        for key in keys:
            for books in (self._all, self._by_channel[key[1]]):
                books.counts["requests"] += self._asked.get(key, 0)
            self._asked.pop(key, None)
            self._asked_by.pop(key, None)

    def _follow(self, event: NotificationEvent) -> None:
        request = self._requests.get(event.notification_id)
        if isinstance(event, NotificationRequested):
            if event.instead_of is not None:
                request = self._requests[event.instead_of]
                request.has_others = True
                if not request.sent:
                    request.channel = event.channel
            elif request is not None:
                request.is_wanted = True  # as far as is known: it comes again
            self._requests[event.notification_id] = request or _Request(event.channel)
        elif isinstance(event, NotificationSent) and request is not None:
            request.sent += 1
            if request.sent == 1:
                request.took_ns, request.channel = event.at_ns - event.requested_at_ns, event.channel
        elif isinstance(event, NotificationSuppressed) and request is not None:
            request.is_wanted = event.reason == ADDRESS_GONE or request.has_others or request.sent > 0

    def at_end(self, now_ns: int) -> Objection:
        lifecycles = self.context.lifecycles
        under_way = [key for key in self._asked if _is_under_way(lifecycles.get(key[0]))]
        self._count_asked([key for key in self._asked if key not in under_way])  # these no one waits for
        if self.context.mixes_messages_up or lifecycles.crashes:
            for key in under_way:
                self._may_be_lost[key[1]] += self._asked[key]
        return None

    def at_summary(self, summary: Mapping[str, Any]) -> Objection:
        for request in {id(each): each for each in self._requests.values()}.values():
            self._all.requests.append(request)
            self._by_channel[request.channel].requests.append(request)
        wrong = self._all.compare(summary, "the run", self._may_be_lost.total())
        for channel, books in self._by_channel.items():
            wrong = wrong or books.compare(summary["channels"][channel], str(channel), self._may_be_lost[channel])
        return wrong


def _is_under_way(lifecycle: Lifecycle | None) -> bool:
    """Tell whether a notification is in flight; of one that is not remembered, it has ended."""
    return lifecycle is not None and lifecycle.state is State.IN_FLIGHT


def _is_near(one: float | None, other: float | None) -> bool:
    """Tell whether two durations are the same, but for the digits that a sketch of many of them loses."""
    if one is None or other is None:
        return one is other
    return abs(one - other) <= 1e-9 + 0.02 * one
