"""Acceptance, and that nothing follows from a change of a notification before it is durable (sections 2, 6, 14)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeAlias

from actors.messages import (
    DuplicateIgnored,
    NotificationEvent,
    NotificationMovedToDeadLetter,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    Priority,
    SendNotification,
)
from simulation.reference.addresses import host_of
from simulation.reference.channel import Way
from simulation.reference.loop import Loop, Timeline
from simulation.reference.notifications import Commit, Notification
from simulation.reference.unrecorded import Refused

_ENDS = (NotificationSent, NotificationSuppressed, NotificationMovedToDeadLetter)
Then: TypeAlias = Callable[[Notification], None] | None


class Accepting(Loop):
    """The first part of the handler: what it has, and what becomes durable of it."""

    prepare: Callable[[Notification], None]
    go_on_with: Callable[[Iterable[Notification]], None]
    cancel: Callable[[Collection[str]], None]
    take_up_next_redrive: Callable[[], None]
    """What the rest of the handler does: look whether one may go, go on with what another node had, and so on."""

    def __init__(self, timeline: Timeline, node: int | None = None) -> None:
        super().__init__(timeline, node)
        self.ways: dict[str, Way] = {}
        """By channel, that of its attempts to its providers."""

    def forget_all_accepted(self) -> None:
        """Begin as a process that starts, without anything that is not durable."""
        self.commits.clear()
        self.cancels: set[str] = set()
        """Of those that are being made durable, which are to be cancelled then."""
        self.overtaken.clear()
        self.taken_over: dict[str, Notification] = {}
        """Of those that are being accepted, which this node has taken over meanwhile."""

    def accept(self, command: SendNotification, asks_for_room: bool, instead_of: Notification | None = None) -> None:
        """ "The same `notification_id` is sent once; the same id with a different payload is a conflict, reported" (6).

        "Room is asked once, at the door": what an event or a fallback gives rise to is never refused (14).
        """
        name, now_ns = command.notification_id, self.now_ns
        known = self.known(name)
        if known is not None:
            again = self.event(DuplicateIgnored, command, conflict=known != command)
            self.expect(again, "its id is known (remember_ids is {} s)", self.world.remember_ids)
            return
        if asks_for_room and not self.has_room(command.priority):
            why = "max_pending is {}, and {} are pending"
            self.expect(Refused(now_ns, "overloaded"), why, self.world.max_pending, len(self.admitted))
            return
        way = self.ways[command.channel]
        way.arrivals.add(None, now_ns)
        if way.is_per_host:
            way.arrivals.add(host_of(command.recipient), now_ns)
        since_ns = now_ns if instead_of is None else instead_of.waited_since_ns
        self.admitted[name] = notification = Notification(command, since_ns, now_ns)
        fields: dict[str, Any] = {"user_id": command.user, "priority": command.priority}
        if instead_of is not None:
            fields |= {"instead_of": instead_of.command.notification_id, "waited_since_ns": since_ns}
        notification.schedule(self.epoch_ns)
        if notification.due_ns is not None:
            fields["waited_since_ns"] = notification.waited_since_ns
        event = self.event(NotificationRequested, command, **fields)
        self.happens(event, notification, self.prepare, "it has come, and its id is new")

    def known(self, name: str) -> SendNotification | None:
        """Return the command that has an id, as it was accepted; None: the id is new, or forgotten."""
        if name in self.admitted:
            return self.admitted[name].known_as
        return self.store.known(name, self.now_ns + self.epoch_ns)

    def has_room(self, priority: Priority) -> bool:
        """ "`max_pending` bounds what is accepted and has not ended": bulk gets 80% of it, what is normal 95%."""
        most = self.world.max_pending
        if most is None:
            return True
        kept = {Priority.CRITICAL: 0, Priority.NORMAL: most // 20, Priority.BULK: most // 5}
        return len(self.admitted) < most - kept[priority]

    def happens(self, event: NotificationEvent, notification: Notification, then: Then, why: str, *about: Any) -> None:
        """ "Record first, announce afterwards" (2): nothing follows from a change before it is durable."""
        name = event.notification_id
        self.commits[name] = Commit(event, notification, then, why, about)
        self.make_durable("commit", event, notification.command)

    def is_durable(self, name: str) -> None:
        """Record what is durable, and go on."""
        event, notification, then, why, about = self.commits.pop(name)
        if isinstance(event, _ENDS):
            self.admitted.pop(name, None)
            self.take_up_next_redrive()
        self.expect(event, why, *about)
        if then is not None:
            then(notification)
        if name in self.cancels:
            self.cancels.remove(name)
            self.cancel([name])

    def is_overtaken(self, name: str) -> None:
        """Leave a notification to the node that was faster, unless it has come over from there since."""
        commit = self.commits.pop(name)
        event, notification = commit.event, commit.notification
        first, taken_over = self.overtaken.pop(name), self.taken_over.pop(name, None)
        self.cancels.discard(name)
        del self.admitted[name]
        if taken_over is not None:
            self.admitted[name] = taken_over
            self.go_on_with([taken_over])
        else:
            self.take_up_next_redrive()
        is_new = isinstance(event, NotificationRequested) and event.instead_of is None
        conflict = is_new and first != notification.command
        again = self.event(DuplicateIgnored, notification.command, conflict=conflict)
        self.expect(again, "another node was faster with it")
