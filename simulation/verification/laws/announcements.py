"""Beside the way of a notification: nothing is announced that is not recorded, and no actor fails by itself."""

from __future__ import annotations

from collections import deque

from actors.messages import ActorFailed, NotificationEvent
from actors.pipeline.subscriber_calls import AsyncSubscriber, PlainSubscriber, SubscriberCall
from simulation.verification.laws.base import Context, Invariant, Objection, observes
from simulation.verification.laws.lifecycles import STEPS
from simulation.verification.laws.observations import MessageSent

INJECTED = ("InjectedCrash", "Stopped", "LostLease")
"""The name of the error of a crash that a scenario asks for."""

_KEPT = 10_000


class RecordedFirst(Invariant):
    """What happens to a notification is recorded first, and announced to subscribers afterwards."""

    name = "recorded-first"
    receivers = frozenset({PlainSubscriber, AsyncSubscriber})
    watches_actors = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._recorded: set[int] = set()
        self._latest: deque[NotificationEvent] = deque()
        """Kept, so that no other event has the identity of one of them."""

    @observes(*STEPS)
    def on_recorded(self, event: NotificationEvent) -> None:
        self._latest.append(event)
        self._recorded.add(id(event))
        if len(self._latest) > _KEPT:
            self._recorded.discard(id(self._latest.popleft()))

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> Objection:
        if type(sent.message) is not SubscriberCall or type(sent.message.event) not in STEPS:
            return None
        event = sent.message.event
        if id(event) in self._recorded:
            return None
        return f"{type(event).__name__} of {event.notification_id} is announced, and not recorded before"


class NoErrors(Invariant):
    """No actor fails but by a crash that the scenario asks for."""

    name = "no-errors"

    @observes(ActorFailed)
    def on_failure(self, failure: ActorFailed) -> Objection:
        if failure.error.startswith(INJECTED):
            return None
        return f"{failure.actor} raised {failure.error}"
