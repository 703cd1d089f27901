"""No more notifications are pending than may be."""

from __future__ import annotations

from actors.messages import (
    NodeTookOver,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    Priority,
    SendNotification,
)
from actors.pipeline.handler import Handler
from actors.pipeline.orders import Submit
from actors.policies.admission import Admission
from simulation.invariants.base import Context, Invariant, Objection, observes
from simulation.invariants.observations import MessageSent


class Room(Invariant):
    """No notification is accepted, and no dead letter redriven, while as many are pending as may be.

    What an event leads to, and what is sent in place of another, is accepted all the same.
    """

    name = "room"
    of_one_process = True
    settings = ("max_pending",)
    receivers = frozenset({Handler})
    watches_actors = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._admission = Admission(context.max_pending)
        self._pending = 0
        self._at_the_door: dict[str, Priority] = {}
        """What has been sent by itself and not accepted yet, and of which class it is."""

    @classmethod
    def applies(cls, context: Context) -> bool:
        return context.max_pending is not None

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> Objection:
        submit = sent.message
        if type(submit) is SendNotification:
            self._at_the_door[submit.notification_id] = submit.priority
        elif type(submit) is Submit and not submit.follows_event:
            self._at_the_door[submit.command.notification_id] = submit.command.priority
        return None

    @observes(NodeTookOver)
    def on_takeover(self, takeover: NodeTookOver) -> Objection:
        self._pending += self.context.gained(takeover)
        return None

    @observes(NotificationRequested)
    def on_requested(self, requested: NotificationRequested) -> Objection:
        priority = self._at_the_door.pop(requested.notification_id, None)
        self._pending += 1
        if priority is None or self._admission.has_room(self._pending - 1, priority):
            return None
        return (
            f"{requested.notification_id} is accepted as number {self._pending:,} of those that are pending, of which "
            f"there may be {self.context.max_pending:,}"
        )

    @observes(NotificationRedriven)
    def on_redriven(self, redriven: NotificationRedriven) -> Objection:
        self._pending += 1
        if self._admission.has_room(self._pending - 1, Priority.CRITICAL):
            return None
        return f"{redriven.notification_id} is redriven while as many are pending as may be"

    @observes(NotificationSent, NotificationSuppressed, NotificationMovedToDeadLetter)
    def on_end(self, event: NotificationSent | NotificationSuppressed | NotificationMovedToDeadLetter) -> Objection:
        self._pending -= 1
        return None
