"""The journal: each change of a notification is made durable, recorded and announced before anything follows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from actors.domain.delivery import Delivery
from actors.domain.store import Store
from actors.errors import StoreFailed
from actors.kernel.actor import Actor
from actors.messages import (
    DuplicateIgnored,
    NotificationEvent,
    NotificationMovedToDeadLetter,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    SendNotification,
)
from actors.pipeline.commits import Commit
from actors.pipeline.deliveries import Deliveries
from actors.pipeline.orders import Acceptance, ReplyTo
from actors.pipeline.wiring import Wiring

E = TypeVar("E", bound=NotificationEvent)

_ENDING = frozenset({NotificationSent, NotificationSuppressed, NotificationMovedToDeadLetter})


class Journal:
    """Writes down the changes of the handler's notifications, and takes ended notifications out of `deliveries`."""

    def __init__(self, handler: Actor, store: Store, wiring: Wiring, deliveries: Deliveries) -> None:
        self._handler = handler
        self._system = handler.system
        self._record = handler.process.record
        self._store = store
        self._commits = wiring.commits
        self._redrives = wiring.redrives
        self._announce = wiring.announce
        self._subscribed = wiring.subscribed
        self._deliveries = deliveries.by_id

    def event(self, kind: type[E], command: SendNotification, /, **fields: Any) -> E:
        return kind(
            at_ns=self._system.now_ns,
            epoch_ns=self._system.epoch_ns,
            notification_id=command.notification_id,
            channel=command.channel,
            **fields,
        )

    def commit(
        self,
        event: NotificationEvent,
        delivery: Delivery,
        go_on: Callable[[Delivery], None] | None,
        answer: ReplyTo | None = None,
        is_durable: bool = False,
    ) -> None:
        """Make an event durable if it is not, record it, announce it, answer, and then go on.

        `answer` gets ACCEPTED for an acceptance and True for any other event, or StoreFailed.
        """
        if not is_durable:
            try:
                effect = self._store.commit(event, delivery.command)
            except StoreFailed:
                if answer is not None:
                    answer.set_exception()
                raise
            if effect is not None:
                self._handler.perform(effect, self._commits.begin(event, delivery, go_on, answer))
                return
        kind = type(event)
        if kind in _ENDING:
            self._deliveries.pop(event.notification_id, None)
            if self._redrives:
                self.take_up_next_redrive()
        self._record(event)
        if kind in self._subscribed:
            self._announce(event)
        if answer is not None:
            answer.set(Acceptance.ACCEPTED if kind is NotificationRequested else True)
        if go_on is not None:
            go_on(delivery)

    def take_up_next_redrive(self) -> None:
        """Take up a redrive that waits, if any does, as there is room for one again."""
        if self._redrives:
            self._handler.actor_ref.tell(self._redrives.take())

    def is_done(self, commit: Commit) -> None:
        """Go on after a change that the store has made durable."""
        self._commits.end(commit)
        self.commit(commit.event, commit.delivery, commit.go_on, commit.sender, is_durable=True)
        for answer in commit.duplicates:
            answer.set(Acceptance.DUPLICATE)

    def has_failed(self, error: Exception) -> NoReturn:
        """Fail all answers that wait for a durable change, and end the system."""
        for commit in self._commits.under_way.values():
            commit.fail(error)
        raise error

    def ignore_duplicate(self, command: SendNotification, conflict: bool) -> None:
        """Record and announce that a command came again; that need not be durable."""
        event = self.event(DuplicateIgnored, command, conflict=conflict)
        self._record(event)
        self._announce(event)
