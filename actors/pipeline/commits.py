"""Commits: the handler's changes that are not durable yet, and the callers waiting for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from actors.messages import (
    NotificationEvent,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
)

if TYPE_CHECKING:
    from actors.domain.delivery import Delivery
    from actors.pipeline.orders import CancelNotification, ReplyTo

_OPENING = frozenset({NotificationRequested, NotificationRedriven})


@dataclass(slots=True, eq=False)
class Commit:
    """A change that the store has been given and has not finished."""

    event: NotificationEvent
    delivery: Delivery
    go_on: Callable[[Delivery], None] | None
    """Called when it is done."""
    sender: ReplyTo | None = None
    """The answer to the caller that sent, redrives or cancels its notification and waits until that is durable."""
    duplicates: list[ReplyTo] = field(default_factory=list)
    """The answers to callers that sent the same command while its acceptance was under way."""
    cancels: list[CancelNotification] = field(default_factory=list)
    """The orders to cancel it that have come meanwhile."""
    taken_over: Delivery | None = None
    """The notification, if this node has taken it over meanwhile: it resumes when the commit fails."""
    opens: bool = False
    """Whether the commit accepts or redrives its notification, which then is not in flight before it is done."""

    @property
    def waiting(self) -> list[ReplyTo]:
        """The answers of those waiting for its outcome, the sender's first."""
        return [answer for answer in (self.sender, *self.duplicates) if answer is not None]

    def meets(self, taken_over: Delivery) -> None:
        """Note that this node has taken the same notification over meanwhile."""
        self.taken_over = taken_over

    def cannot_be_cancelled(self) -> None:
        """Answer the orders to cancel it: it is not, or no longer, this handler's."""
        for order in self.cancels:
            order.reply(False)

    def fail(self, error: Exception) -> None:
        cancels = [order.answer for order in self.cancels if order.answer is not None]
        for answer in (*self.waiting, *cancels):
            if not answer.done:
                answer.set_exception((type(error), error, error.__traceback__))


class Commits:
    """The commits under way, at most one for each notification: nothing follows before the commit is done."""

    def __init__(self) -> None:
        self.under_way: dict[str, Commit] = {}
        """By notification; to be read."""
        self.opening_count = 0
        """How many commits under way are acceptances and redrives."""
        self.dying_count = 0
        """How many commits under way are moves to the dead letter queue."""

    def begin(
        self,
        event: NotificationEvent,
        delivery: Delivery,
        go_on: Callable[[Delivery], None] | None,
        sender: ReplyTo | None,
    ) -> Commit:
        opens = type(event) in _OPENING
        commit = self.under_way[event.notification_id] = Commit(event, delivery, go_on, sender, opens=opens)
        self.opening_count += opens
        self.dying_count += type(event) is NotificationMovedToDeadLetter
        return commit

    def end(self, commit: Commit) -> None:
        del self.under_way[commit.event.notification_id]
        self.opening_count -= commit.opens
        self.dying_count -= type(commit.event) is NotificationMovedToDeadLetter

    def opening(self, notification_id: str) -> Commit | None:
        """Return the acceptance or redrive of a notification, if it is under way."""
        commit = self.under_way.get(notification_id)
        return commit if commit is not None and commit.opens else None
