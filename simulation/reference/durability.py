"""What the nodes of a fleet hand over to the store that they share, where that takes its time (section 17).

A change is durable `commit_latency` later: then it is known to the others, and its node goes on. Another node may have
been faster with the same id, or the same letter. What is not durable when a node crashes is lost; one that is stopped
in order has all of it be durable first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from actors.messages import (
    DeadLetterMessage,
    NotificationEvent,
    NotificationRedriven,
    NotificationRequested,
    SendNotification,
)
from simulation.reference.notifications import Store


class Change(NamedTuple):
    """What a node has handed over."""

    durable_ns: int
    event: NotificationEvent
    command: SendNotification
    letter: DeadLetterMessage | None
    """That which it is about, if it is about one: a redrive, or a discard."""


class Durability:
    """What all nodes have handed over."""

    def __init__(self, store: Store, latency_ns: int, wake: Callable[[str, Any, int | None], None]) -> None:
        """Begin without any.

        Args:
            store: of the nodes.
            latency_ns: how long it takes.
            wake: has it looked at what a node has handed over, at an instant.
        """
        self._store = store
        self._latency_ns = latency_ns
        self._wake = wake
        self._waiting: dict[int | None, deque[Change]] = {}
        self._in_vain: dict[int | None, list[NotificationEvent]] = {}
        """By node, that with which others were faster, since it has started."""

    def takes_time(self, _node: int | None) -> bool:
        """Tell whether a change of a node is durable only later."""
        return self._latency_ns > 0

    def hand_over(self, node: int | None, event: NotificationEvent, command: SendNotification) -> None:
        """Take a change from a node."""
        letter = self._store.letter(event.notification_id)
        waiting = self._waiting.setdefault(node, deque())
        waiting.append(Change(event.at_ns + self._latency_ns, event, command, letter))
        self._set_wake(node)

    def _set_wake(self, node: int | None) -> None:
        waiting = self._waiting.get(node)
        self._wake("settle", node, waiting[0].durable_ns if waiting else None)

    def take_durable(self, node: int | None, now_ns: int, *, all_of_it: bool = False) -> list[Change]:
        """Take out what is durable by now: all, where the node is stopped in order."""
        waiting, found = self._waiting.get(node, deque()), []
        while waiting and (all_of_it or waiting[0].durable_ns <= now_ns):
            found.append(waiting.popleft())
        self._set_wake(node)
        return found

    def faster(self, change: Change, node: int | None) -> SendNotification | None:
        """Return what another node has accepted with the id of a change, or whose letter it has taken."""
        event, store = change.event, self._store
        name = event.notification_id
        first: SendNotification | None = None
        if isinstance(event, NotificationRequested):
            first = store.known(name, event.epoch_ns + event.at_ns) or store.accepted_first(event)
        elif change.letter is not None:
            redriven = event if isinstance(event, NotificationRedriven) else None
            is_served = redriven is not None and not redriven.include_served and store.is_served(name, lambda _: False)
            first = change.command if is_served or not store.has_letter(change.letter) else None
        if first is not None:
            self._in_vain.setdefault(node, []).append(event)
        return first

    def is_durable(self, event: NotificationEvent, node: int | None) -> bool:
        """Tell whether what a node has handed over is durable, and not in vain."""
        waiting = [change.event for change in self._waiting.get(node, ())]
        return not any(event is each for each in (*waiting, *self._in_vain.get(node, ())))

    def letters_taken(self, node: int | None) -> set[str]:
        """Return the letters that a node has redriven or discarded, which is not durable yet."""
        return {each.event.notification_id for each in self._waiting.get(node, ()) if each.letter is not None}

    def crash(self, node: int | None) -> None:
        """Lose what is not durable."""
        self._waiting.pop(node, None)
        self._in_vain.pop(node, None)
        self._set_wake(node)
