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
    NotificationSent,
    NotificationSuppressed,
    SendNotification,
)
from actors.pipeline.commits import Commit
from actors.pipeline.orders import Acceptance, Answer
from actors.pipeline.wiring import Wiring

E = TypeVar("E", bound=NotificationEvent)

_ENDING = frozenset({NotificationSent, NotificationSuppressed, NotificationMovedToDeadLetter})


class Journal:
    """What the handler writes down. It takes out of `deliveries` what has ended.

    Args:
        handler: whose journal it is; notified when the store has finished a commit.
        store: makes changes durable.
        wiring: of the pipeline.
        deliveries: what is in flight, by notification.
    """

    def __init__(self, handler: Actor, store: Store, wiring: Wiring, deliveries: dict[str, Delivery]) -> None:
        self._handler = handler
        self._system = handler.system
        self._record = handler.process.record
        self._store = store
        self._commits = wiring.commits
        self._redrives = wiring.redrives
        self._announce = wiring.announce
        self._subscribed = wiring.subscribed
        self._deliveries = deliveries

    def event(self, kind: type[E], command: SendNotification, /, **fields: Any) -> E:
        """Return an event of a notification at this instant."""
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
        is_durable: bool = False,
    ) -> None:
        """Make an event durable if it is not, record it, announce it, and then go on; with None nothing follows."""
        effect = None if is_durable else self._store.commit(event, delivery.command)
        if effect is not None:
            commit = self._commits.begin(event, delivery, go_on)
            self._handler.perform(effect, commit)
            return
        kind = type(event)
        if kind in _ENDING:
            self._deliveries.pop(event.notification_id, None)
            if self._redrives:
                self.take_up_next_redrive()
        self._record(event)
        if kind in self._subscribed:
            self._announce(event)
        if go_on is not None:
            go_on(delivery)

    def commit_answering(
        self,
        event: NotificationEvent,
        delivery: Delivery,
        answer: Answer | None,
        go_on: Callable[[Delivery], None] | None = None,
    ) -> None:
        """Commit an event, answer a caller with True once it is durable, or with StoreFailed, and then go on."""
        if answer is None:
            self.commit(event, delivery, go_on)
            return

        def answer_and_go_on(delivery: Delivery) -> None:
            answer.set(True)
            if go_on is not None:
                go_on(delivery)

        try:
            self.commit(event, delivery, answer_and_go_on)
        except StoreFailed:
            answer.set_exception()
            raise
        commit = self._commits.under_way.get(event.notification_id)
        if commit is not None and commit.event is event:
            commit.answers(answer)

    def take_up_next_redrive(self) -> None:
        """Take up a redrive that waits, if any does, as there is room for one again."""
        if self._redrives:
            self._handler.actor_ref.tell(self._redrives.take())

    def is_done(self, commit: Commit) -> None:
        """Go on with what the store has made durable."""
        self._commits.end(commit)
        self.commit(commit.event, commit.delivery, commit.go_on, is_durable=True)
        for answer in commit.duplicates:
            answer.set(Acceptance.DUPLICATE)

    def has_failed(self, error: Exception) -> NoReturn:
        """Fail all answers that wait for a change to be durable, and end the system."""
        for commit in self._commits.under_way.values():
            commit.fail(error)
        raise error

    def ignore_duplicate(self, command: SendNotification, conflict: bool) -> None:
        """Record and announce that a command came again; that need not be durable."""
        event = self.event(DuplicateIgnored, command, conflict=conflict)
        self._record(event)
        self._announce(event)
