"""What waits for the store: the handler's changes that are not durable yet, and whoever wants to know when they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from actors.messages import NotificationEvent, NotificationRedriven, NotificationRequested

if TYPE_CHECKING:
    from actors.domain.delivery import Delivery
    from actors.kernel.futures import Future

_OPENING = frozenset({NotificationRequested, NotificationRedriven})


@dataclass(slots=True, eq=False)
class Commit:
    """A change that the store has been handed and is not done with."""

    event: NotificationEvent
    delivery: Delivery
    go_on: Callable[[Delivery], None] | None
    """What follows when it is done."""
    sender: Future[Any] | None = None
    """Who sent the command, or redrives it, and waits for that to be durable, to be told when that fails; `go_on` tells
    when it is done."""
    duplicates: list[Future[Any]] = field(default_factory=list)
    """Those who sent the same command while its acceptance was under way; they are told when it is durable."""
    taken_over: Delivery | None = None
    """What this node has taken over of the same notification meanwhile, to go on with when this comes to nothing."""

    @property
    def opens(self) -> bool:
        """Whether its notification is accepted or redriven by it, and so not in flight before it is done."""
        return type(self.event) in _OPENING

    @property
    def waiting(self) -> list[Future[Any]]:
        """Those who are to be told what becomes of it, the sender first."""
        return [answer for answer in (self.sender, *self.duplicates) if answer is not None]

    def fail(self, error: Exception) -> None:
        """Tell those who wait, and have no answer yet, that it came to nothing."""
        for answer in self.waiting:
            if not answer.done:
                answer.set_exception((type(error), error, error.__traceback__))


class Commits:
    """Those that are under way, at most one at a time for each notification: nothing follows before it is done."""

    def __init__(self) -> None:
        self.under_way: dict[str, Commit] = {}
        """By notification; to be read."""
        self.opening_count = 0
        """How many of them are acceptances and redrives."""

    def begin(self, event: NotificationEvent, delivery: Delivery, go_on: Callable[[Delivery], None] | None) -> Commit:
        """Return a new one."""
        commit = self.under_way[event.notification_id] = Commit(event, delivery, go_on)
        self.opening_count += commit.opens
        return commit

    def end(self, commit: Commit) -> None:
        """Take note that the store is done with one."""
        del self.under_way[commit.event.notification_id]
        self.opening_count -= commit.opens

    def opening(self, notification_id: str) -> Commit | None:
        """Return the acceptance or redrive of a notification, if it is under way."""
        commit = self.under_way.get(notification_id)
        return commit if commit is not None and commit.opens else None
