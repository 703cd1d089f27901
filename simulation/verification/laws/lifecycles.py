"""The lifecycles of notifications as the history tells them: what state each is in, and what has happened to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import msgspec

from actors.domain.attempts import Attempt
from actors.instants import NEVER_NS, wait_ns
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
from actors.pipeline.channel import Channel
from actors.pipeline.circuit_breaker import CircuitBreakerActor
from actors.pipeline.deduplicating import DeduplicatingBreaker, DeduplicatingLimiter
from actors.pipeline.handler import Handler
from actors.pipeline.hedging_channel import HedgingChannel
from actors.pipeline.rate_limiter import RateLimiterActor
from simulation.verification.laws.observations import AttemptMade

ENDED_KEPT = 20_000
"""The lifecycles of so many notifications that have ended are remembered, the latest."""


class State(StrEnum):
    UNKNOWN = "not accepted"
    IN_FLIGHT = "in flight"
    SENT = "sent"
    SUPPRESSED = "suppressed"
    DEAD = "dead-lettered"
    DISCARDED = "discarded"


NEXT: dict[State, dict[type[NotificationEvent], State]] = {
    State.UNKNOWN: {NotificationRequested: State.IN_FLIGHT},
    State.IN_FLIGHT: {
        NotificationFailed: State.IN_FLIGHT,
        NotificationDeferred: State.IN_FLIGHT,
        NotificationSent: State.SENT,
        NotificationSuppressed: State.SUPPRESSED,
        NotificationMovedToDeadLetter: State.DEAD,
    },
    State.DEAD: {NotificationRedriven: State.IN_FLIGHT, DeadLetterDiscarded: State.DISCARDED},
    # With the same id again, once it has been forgotten:
    State.SENT: {NotificationRequested: State.IN_FLIGHT},
    State.SUPPRESSED: {NotificationRequested: State.IN_FLIGHT},
    State.DISCARDED: {NotificationRequested: State.IN_FLIGHT},
}
"""State, event, next state: every step there is in the lifecycle of a notification. A duplicate is no step."""

OPENING = frozenset({NotificationRequested, NotificationRedriven})

PROCESS = "process"
"""The actor in the event of a failure of the whole process."""

ON_THE_WAY = frozenset(
    {
        PROCESS,
        *(each.__name__ for each in (Handler, RateLimiterActor, CircuitBreakerActor)),
        *(each.__name__ for each in (DeduplicatingLimiter, DeduplicatingBreaker)),
        *(each.__name__ for each in (Channel, HedgingChannel)),
    }
)
"""The actors whose crash has attempts sent anew, and delays the messages in a mailbox. The queue of dead letters, the
alert and subscribers stand beside the way."""
STEPS = frozenset(kind for steps in NEXT.values() for kind in steps)


class Lifecycle:
    __slots__ = (
        "attempt", "copies", "crashes_before", "delivered", "first_started_ns", "fresh_since_ns", "history",
        "latest_failure", "owes_death", "state", "state_since_ns", "undelivered_answers", "used_up", "user_id",
    )  # fmt: skip

    def __init__(self, crashes_before: int) -> None:
        self.state = State.UNKNOWN
        self.state_since_ns = 0
        self.fresh_since_ns = 0
        """When it was accepted or last redriven, or what it is scheduled for: its age counts from here."""
        self.history: list[Any] = []
        self.owes_death = False
        """Whether its node has to record its death yet, as its handler is down; another node has taken the letter."""
        self.latest_failure: NotificationFailed | None = None
        """The latest failure since it was accepted or redriven."""
        self.used_up = 0
        """How many attempts have failed since then, but for faults of the channel."""
        self.first_started_ns = NEVER_NS
        """When the first of the failed attempts that were not refused here has started since then."""
        self.crashes_before = crashes_before
        """How many actors had failed, and were surely running again, when it was accepted."""
        self.user_id = ""
        self.attempt: Attempt | None = None
        """The latest attempt that came to a provider, with what has been edited since."""
        self.copies = 0
        """Further copies of attempts, made by a channel that hedges."""
        self.delivered = 0
        self.undelivered_answers = 0
        """How many of the answers that it was delivered never came back, or came too late."""

    def began_ns(self, attempt: Attempt) -> int | None:
        """Return when an attempt has come to a provider first; None: it has not yet."""
        made = (each.at_ns for each in self.history if type(each) is AttemptMade and each.attempt is attempt)
        return next(made, None)


class Lifecycles:
    """The lifecycles of all that are in flight, and of the latest that have ended."""

    def __init__(self, ended_kept: int = ENDED_KEPT) -> None:
        self.restarted_within_ns = 0
        """How long after a crash an actor, or the process, is restarted at the latest."""
        self.crashes = 0
        """How many actors have failed of those :data:`ON_THE_WAY`."""
        self.up_at_ns = -1
        """When all runs again that has crashed, be it on the way or not; -1 while nothing has."""
        self.settled_at_ns = -1
        """When what lay in the mailbox of one that had crashed has gone, or has been flushed; -1 while nothing has
        crashed on the way."""
        self._recent_crashes_ns: deque[int] = deque()
        """When those failed that may not have been settled yet."""
        self.forgotten = 0
        self._lifecycles: dict[str, Lifecycle] = {}
        self._ended: deque[tuple[str, Lifecycle, int]] = deque()
        self._ended_kept = ended_kept
        self.get = self._lifecycles.get

    def is_settled(self, now_ns: int) -> bool:
        """Tell whether nothing that a crash has held up can still be late, or be sent beside what replaced it."""
        return now_ns > self.settled_at_ns

    def in_flight(self) -> list[str]:
        return self.in_state(State.IN_FLIGHT)

    def is_in_flight_on(self, channel: NotificationChannel) -> bool:
        """Tell whether a notification is in flight whose latest attempt was on a channel."""
        latest = (each.attempt for each in self._lifecycles.values() if each.state is State.IN_FLIGHT)
        return any(attempt is not None and attempt.command.channel is channel for attempt in latest)

    def in_state(self, state: State) -> list[str]:
        """Return the ids of what is in a state, as far as it is remembered."""
        return [notification_id for notification_id, lifecycle in self._lifecycles.items() if lifecycle.state is state]

    def take_over(self, ids: Iterable[str], gone: Lifecycles) -> None:
        """Have those of notifications that another node had, and that are this one's now."""
        for notification_id in ids:
            if (lifecycle := gone._lifecycles.pop(notification_id, None)) is not None:
                lifecycle.crashes_before = -1  # of another process, so none of them is settled
                self._lifecycles[notification_id] = lifecycle

    def follow(self, event: Any) -> None:
        kind = type(event)
        if kind not in STEPS and kind is not DuplicateIgnored:
            if kind is AttemptMade:
                self._attempted(event)
            elif kind is ActorFailed:
                self._crashed(event)
            return
        lifecycle = self._lifecycles.get(event.notification_id)
        if lifecycle is None or (kind is NotificationRequested and lifecycle.state is not State.IN_FLIGHT):
            lifecycle = self._lifecycles[event.notification_id] = Lifecycle(self._crashes_settled(event.at_ns))
        if kind is NotificationRequested:
            lifecycle.user_id = event.user_id
        lifecycle.history.append(event)
        if kind is NotificationFailed:
            lifecycle.latest_failure = event
            lifecycle.used_up += event.kind != ChannelFault.__name__
            if not event.refused:
                lifecycle.first_started_ns = min(lifecycle.first_started_ns, event.started_ns)
        state = lifecycle.state
        if kind is NotificationMovedToDeadLetter and lifecycle.owes_death:
            lifecycle.owes_death = False
            return
        if kind in NEXT[State.DEAD] and state is State.IN_FLIGHT:
            lifecycle.owes_death, state = True, State.DEAD
        after = NEXT[state].get(kind, state)  # what is no step is for an invariant to say
        if after is state:
            return
        lifecycle.state, lifecycle.state_since_ns = after, event.at_ns
        if kind in OPENING:
            lifecycle.fresh_since_ns, lifecycle.first_started_ns = event.at_ns, NEVER_NS
            lifecycle.latest_failure, lifecycle.used_up = None, 0
            if kind is NotificationRequested and event.waited_since_ns is not None:
                lifecycle.fresh_since_ns = max(event.at_ns, event.waited_since_ns)
            if kind is NotificationRedriven and event.edit and lifecycle.attempt is not None:
                edited = msgspec.structs.replace(lifecycle.attempt.command, **event.edit)
                lifecycle.attempt = msgspec.structs.replace(lifecycle.attempt, command=edited)
        else:
            self._ended.append((event.notification_id, lifecycle, event.at_ns))
            if len(self._ended) > self._ended_kept:
                self._forget()

    def _crashed(self, event: ActorFailed) -> None:
        self.up_at_ns = event.at_ns + self.restarted_within_ns
        if event.actor not in ON_THE_WAY:
            return
        self.crashes += 1
        # A message about one restart may lie in the mailbox of an actor that is waiting for its own.
        self.settled_at_ns = event.at_ns + 2 * self.restarted_within_ns
        self._recent_crashes_ns.append(event.at_ns)

    def _attempted(self, made: AttemptMade) -> None:
        lifecycle = self._lifecycles.get(made.notification_id)
        if lifecycle is None:
            lifecycle = self._lifecycles[made.notification_id] = Lifecycle(self._crashes_settled(made.at_ns))
        lifecycle.history.append(made)
        lifecycle.attempt = made.attempt
        if made.is_copy:
            lifecycle.copies += 1
        if made.delivered:
            lifecycle.delivered += 1
            if not made.answered:
                lifecycle.undelivered_answers += 1

    def _crashes_settled(self, now_ns: int) -> int:
        recent_ns = self._recent_crashes_ns
        while recent_ns and recent_ns[0] + 2 * self.restarted_within_ns < now_ns:
            recent_ns.popleft()
        return self.crashes - len(recent_ns)

    def _forget(self) -> None:
        notification_id, lifecycle, ended_ns = self._ended.popleft()
        if self._lifecycles.get(notification_id) is lifecycle and lifecycle.state_since_ns == ended_ns:
            del self._lifecycles[notification_id]
            self.forgotten += 1


def cut_ns(lifecycle: Lifecycle | None, deadline: float, started_ns: int) -> int:
    """Return when a deadline of so many seconds cuts what started at an instant, or the first attempt before it did."""
    earliest_ns = started_ns if lifecycle is None else min(started_ns, lifecycle.first_started_ns)
    return earliest_ns + wait_ns(deadline)
