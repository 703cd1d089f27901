"""Mailboxes: where messages wait that an actor cannot take now."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Literal

import pykka


class Stop:
    """The message that stops an actor, behind the messages sent before it."""

    __slots__ = ()


class Envelope:
    """A message with the future of its answer, as an `ask` sends it."""

    __slots__ = ("message", "reply_to")

    def __init__(self, message: Any, reply_to: pykka.Future[Any]) -> None:
        self.message = message
        self.reply_to = reply_to


def opened(message: Any) -> tuple[Any, pykka.Future[Any] | None]:
    """Return what an envelope holds; of a message without one, the message and None."""
    return (message.message, message.reply_to) if type(message) is Envelope else (message, None)


def is_stop(message: Any) -> bool:
    return type(opened(message)[0]) is Stop


@dataclass(frozen=True, slots=True)
class Mailbox:
    """How many messages may wait for an actor, and what happens to one more.

    ``refuse`` raises MailboxFull where the message is sent (an `ask` gets it as its answer); ``drop_newest`` and
    ``drop_oldest`` send one message to the system's undelivered ones.
    """

    capacity: int | None = None
    """None: no bound. A stop request always finds room."""
    overflow: Literal["refuse", "drop_newest", "drop_oldest"] = "refuse"

    def __post_init__(self) -> None:
        if self.capacity is not None and self.capacity < 1:
            raise ValueError(f"capacity: wanted at least 1 or None, got {self.capacity}")


class Inbox:
    """The own queue of one actor, behind the system's: holds what came while it was busy, suspended or bounded.

    Has the three methods pykka wants of an inbox.
    """

    __slots__ = ("_actor", "deferred", "peak", "queue")

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self.queue: deque[Any] = deque()
        self.deferred = 0
        """How many messages the actor could not take when it was their turn, and takes before all others."""
        self.peak = 0
        """The most messages that ever waited here at once."""

    def append(self, message: Any) -> None:
        self.queue.append(message)
        self.peak = max(self.peak, len(self.queue))

    def defer(self, message: Any) -> None:
        """Keep a message whose turn it was, behind earlier deferred messages and before all others."""
        self.queue.insert(self.deferred, message)
        self.peak = max(self.peak, len(self.queue))
        self.defer_next()

    def defer_next(self) -> None:
        """Defer the oldest message here that is not deferred yet."""
        self.deferred += 1

    def take_up(self) -> bool:
        """Let a deferred message have its turn now; False: there is none."""
        if not self.deferred:
            return False
        self.deferred -= 1
        return True

    def replace_oldest(self, message: Any) -> Any:
        """Replace the oldest message by this one, and return it; if there are only stops, return this one, dropped."""
        oldest = next((number for number, waiting in enumerate(self.queue) if not is_stop(waiting)), None)
        if oldest is None:
            return message
        dropped = self.queue[oldest]
        del self.queue[oldest]
        self.append(message)
        return dropped

    def put(self, envelope: Any) -> None:
        """Send a message to the actor, past any bound, from any thread."""
        self._actor.system._post(self._actor, envelope)

    def get(self) -> Any:
        return self.queue.popleft()

    def empty(self) -> bool:
        return not self.queue
