"""Mailboxes: where messages wait that an actor cannot take now."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Literal


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

    __slots__ = ("actor", "deferred", "peak", "queue")

    def __init__(self) -> None:
        self.actor: Any = None
        """Its owner, from the owner's start on."""
        self.queue: deque[Any] = deque()
        self.deferred = 0
        """How many of them the actor could not take when it was their turn, and takes before anything else."""
        self.peak = 0
        """The most messages that ever waited here at once."""

    def append(self, message: Any) -> None:
        """Keep a message until the actor can take it."""
        self.queue.append(message)
        self.peak = max(self.peak, len(self.queue))

    def defer(self, message: Any) -> None:
        """Keep a message whose turn it was: behind those deferred before it, and before any later one."""
        self.queue.insert(self.deferred, message)
        self.peak = max(self.peak, len(self.queue))

    def put(self, envelope: Any) -> None:
        """Send a pykka envelope to the actor, past any bound, from any thread."""
        self.actor.system._post(self.actor, envelope)

    def get(self) -> Any:
        """Take the message that has waited longest."""
        return self.queue.popleft()

    def empty(self) -> bool:
        """Tell whether nothing waits here."""
        return not self.queue
