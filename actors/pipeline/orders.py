"""The messages from callers to the handler, and its answers."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from actors.domain.attempts import Attempt
from actors.errors import LetterServed
from actors.frozen import NO_METADATA, FrozenDict
from actors.kernel.futures import Future
from actors.messages import RANKS, DeadLetterMessage, NotificationChannel, Priority, SendNotification

Served: TypeAlias = Literal["exclude", "include"]
"""Whether a redrive leaves served dead letters where they are, or takes them too, though their recipients are then
notified twice."""


class Acceptance(StrEnum):
    """The answer to a SendNotification."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    """A notification with this id and payload is in flight or has ended already; nothing happens."""

    REFUSED = "refused"
    """The command cannot be accepted: the id came with another payload, its channel is not configured, its recipient
    is no address there, no store could keep it, or as many notifications are pending as may be."""


class ReplyTo(Protocol):
    """Where the answer to a command goes: a future, or what only has to know that there is one."""

    @property
    def done(self) -> bool:
        """Whether there is an answer."""

    def set(self, acceptance: Any = None) -> None:
        """Give the answer."""

    def set_exception(self, exc_info: Any = None) -> None:
        """Give an exception, the one being handled when None, as the answer."""


class Submit(msgspec.Struct, frozen=True):
    """A SendNotification whose sender wants to know when its acceptance is durable."""

    command: SendNotification
    answer: ReplyTo
    """Gets the acceptance, one of NOT_ACCEPTED, or StoreFailed. A future, unless it follows an event."""

    follows_event: bool = False
    """Whether an admitted event led to the command: then it needs no room of its own."""

    traceparent: str | None = None
    """The trace that it belongs to."""


class CancelNotification(msgspec.Struct, frozen=True):
    """Cancel a notification, if it waits."""

    notification_id: str
    answer: Future[bool] | None = None
    """Gets whether it is cancelled, once that is durable, or StoreFailed; None: no one asks."""

    def reply(self, cancelled: bool) -> None:
        if self.answer is not None and not self.answer.done:  # a copy of a message may have it answered twice
            self.answer.set(cancelled)


class CancelWaiting(msgspec.Struct, frozen=True, kw_only=True):
    """Cancel all waiting notifications of some channels and of a class of traffic."""

    channels: frozenset[NotificationChannel] | None = None
    """None: all channels."""
    priority: Priority | None = None
    """None: any class."""


class Withdrawal(msgspec.Struct, frozen=True):
    """Take an attempt out of its line, to cancel its notification; as a message to the handler: that is done."""

    attempt: Attempt
    order: CancelNotification


class Withdraw(msgspec.Struct, frozen=True):
    """Take attempts out of the lines of a channel; goes from stage to stage as attempts do, so it overtakes none.

    A stage sends each attempt that it finds to the handler as a :class:`Withdrawal`, and passes the others on.
    """

    wanted: tuple[Withdrawal, ...]


class NotWaiting(msgspec.Struct, frozen=True):
    """Attempts found in no line: they have been let through to their providers, or sent back."""

    wanted: tuple[Withdrawal, ...]


class Redrive(msgspec.Struct, frozen=True, kw_only=True):
    """Take a dead letter up again, with a fresh set of attempts."""

    letter: DeadLetterMessage
    by: str | None = None
    """The operator who asked for the redrive, for the record."""

    why: str | None = None
    """Why, for the record."""

    served: Served = "exclude"
    """Whether it is taken up where it is served; else it goes back to the queue."""

    edit: Mapping[str, Any] = NO_METADATA
    """The fields of its command to change, with their new values, which can be stored."""

    answer: Future[bool] | None = None
    """Gets whether it was a dead letter, once its redrive is durable; or LetterServed or StoreFailed."""

    place: int | None = None
    """The place of the redrive among those waiting for room, once it has waited."""

    without_operator: bool = False
    """Whether the redrive is automatic."""

    @property
    def record(self) -> dict[str, Any]:
        return {
            "by": self.by,
            "why": self.why,
            "edit": self.changes,
            "without_operator": self.without_operator,
            "include_served": self.served == "include",
        }

    @property
    def changes(self) -> Mapping[str, Any]:
        """The fields of the edit whose value differs from the command's."""
        changes = {name: value for name, value in self.edit.items() if getattr(self.letter.command, name) != value}
        return FrozenDict(changes) if changes else NO_METADATA

    @property
    def priority(self) -> Priority:
        return Priority(self.edit.get("priority", self.letter.command.priority))

    def refuse(self, is_served: bool) -> None:
        """Answer that it is not done: since it is served, or is no dead letter any more."""
        if self.answer is None:
            return
        if is_served:
            error = LetterServed(self.letter.notification_id)
            self.answer.set_exception((LetterServed, error, None))
        else:
            self.answer.set(False)


class Redrives(list[tuple[int, int, Redrive]]):
    """Redrives that wait until there is room, as a heap: the most urgent class first, and within a class the earliest.
    Where a class has no room, a less urgent class has none either."""

    def __init__(self) -> None:
        super().__init__()
        self._next_place = 0
        self.taken: set[str] = set()
        """The ids of the letters that a redrive has taken: it is on its way to the handler, or waits here."""

    def wait(self, redrive: Redrive) -> None:
        """Let a redrive wait behind the others of its class; or at its place, if it has waited before."""
        if redrive.place is None:
            redrive = msgspec.structs.replace(redrive, place=self._next_place)
            self._next_place += 1
        assert redrive.place is not None
        self.taken.add(redrive.letter.notification_id)
        heapq.heappush(self, (RANKS[redrive.priority], redrive.place, redrive))

    def take(self) -> Redrive:
        """Take the redrive whose turn it is; at least one has to wait."""
        return heapq.heappop(self)[2]
