"""The dead letter queue: keeps what was given up until someone has looked at it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TypeAlias

from actors.actor import Actor, Supervision, handles
from actors.effects import Performed
from actors.messages import (
    DeadLetterDiscarded,
    DeadLetterMessage,
    Message,
    NotificationChannel,
)
from actors.pipeline.alert import Alert
from actors.pipeline.attempts import Wiring
from actors.pipeline.handler import Redrive
from actors.storage.store import Store

logger = logging.getLogger(__name__)


class Peek(Message, frozen=True, kw_only=True, gc=False):
    """Answer with the oldest dead letter, or None; it stays."""


class Dequeue(Message, frozen=True, kw_only=True, gc=False):
    """Answer with the oldest dead letter, or None, and remove it for good."""


class Get(Message, frozen=True, kw_only=True, gc=False):
    """Answer with the dead letter of this notification, or None; it stays."""

    notification_id: str


class ListDeadLetters(Message, frozen=True, kw_only=True, gc=False):
    """Answer with the dead letters that fit, oldest first; all fit a filter that is None."""

    reason: str | None = None
    """Part of the failure reason."""

    channel: NotificationChannel | None = None


class RedriveDeadLetter(Message, frozen=True, kw_only=True, gc=False):
    """Try a notification again with a fresh set of attempts; answer whether there was such a dead letter.

    Asked for twice, it is redriven once: the first takes it out of the queue.
    """

    notification_id: str
    by: str | None = None
    """Who wants that, for the record."""


class DiscardDeadLetter(Message, frozen=True, kw_only=True, gc=False):
    """Remove a dead letter for good; answer whether there was one."""

    notification_id: str
    reason: str
    """Why, for the record."""

    by: str | None = None
    """Who wants that, for the record."""


Query: TypeAlias = Peek | Dequeue | Get | ListDeadLetters | RedriveDeadLetter | DiscardDeadLetter


class DeadLetterQueue(Actor):
    """Dead letters by notification id, oldest first. `log` says whether each one is worth an error in the log."""

    supervision = Supervision(then="escalate")

    def __init__(self, store: Store, wiring: Wiring, log: bool = True) -> None:
        super().__init__()
        self._store = store
        self._wiring = wiring
        self._log = log
        self._letters: dict[str, DeadLetterMessage] = {}
        """Has what the store has; after a restart of this actor perhaps also one that was redriven or discarded while
        it lay in the mailbox, so none is taken for a dead letter before the store has been asked."""

    @property
    def letters(self) -> Iterator[DeadLetterMessage]:
        """What is in the queue, oldest first."""
        return (letter for letter in self._letters.values() if self._store.is_dead_letter(letter.notification_id))

    def on_start(self) -> None:
        assert self._wiring.handler is not None
        assert self._wiring.alert is not None
        self._to_alert = self.route(self._wiring.alert)
        self._to_handler = self.route(self._wiring.handler)
        self._letters = {
            letter.notification_id: letter
            for letter in self._store.dead_letters()
            if letter.notification_id not in self._wiring.commits  # comes when it is durable
        }

    @handles(DeadLetterMessage)
    def on_dead_letter(self, letter: DeadLetterMessage) -> None:
        self._letters[letter.notification_id] = letter
        if self._log:
            logger.error("DLQ: %s failed after %d attempts", letter.notification_id, letter.attempts)
        self._to_alert(
            Alert(notification_id=letter.notification_id, channel=letter.channel, reason=letter.failure_reason)
        )

    @handles(Peek)
    def on_peek(self, _: Peek) -> DeadLetterMessage | None:
        return next(self.letters, None)

    @handles(Dequeue)
    def on_dequeue(self, _: Dequeue) -> DeadLetterMessage | None:
        letter = next(self.letters, None)
        if letter is not None:
            self._discard(letter, "dequeued")
        return letter

    @handles(Get)
    def on_get(self, message: Get) -> DeadLetterMessage | None:
        return self._letter(message.notification_id)

    @handles(ListDeadLetters)
    def on_list(self, query: ListDeadLetters) -> list[DeadLetterMessage]:
        return [
            letter
            for letter in self.letters
            if (query.reason is None or query.reason in letter.failure_reason)
            and (query.channel is None or query.channel == letter.channel)
        ]

    @handles(RedriveDeadLetter)
    def on_redrive(self, message: RedriveDeadLetter) -> bool:
        letter = self._letter(message.notification_id)
        if letter is None:
            return False
        del self._letters[letter.notification_id]
        self._to_handler(Redrive(letter=letter, by=message.by))
        return True

    @handles(DiscardDeadLetter)
    def on_discard(self, message: DiscardDeadLetter) -> bool:
        letter = self._letter(message.notification_id)
        if letter is None:
            return False
        self._discard(letter, message.reason, message.by)
        return True

    def _letter(self, notification_id: str) -> DeadLetterMessage | None:
        letter = self._letters.get(notification_id)
        return letter if letter is not None and self._store.is_dead_letter(notification_id) else None

    def _discard(self, letter: DeadLetterMessage, reason: str, by: str | None = None) -> None:
        del self._letters[letter.notification_id]
        event = DeadLetterDiscarded(
            at_ns=self.now_ns,
            epoch_ns=self.epoch_ns,
            notification_id=letter.notification_id,
            channel=letter.channel,
            reason=reason,
            by=by,
        )
        effect = self._store.commit(event, letter.command)
        if effect is None:
            self._committed(event)
        else:
            self.perform(effect, event)

    @handles(Performed)
    def on_performed(self, performed: Performed) -> None:
        if performed.result is not None:
            raise performed.result  # the store has failed
        self._committed(performed.request)

    def _committed(self, event: DeadLetterDiscarded) -> None:
        self.record(event)
        self._wiring.announce(event)
