"""A node: one of several processes that run on one system.

Live, a process has a system of its own. In simulated time all processes of a fleet share one clock and one queue of
ready messages, so that the events of one instant have an order, and a run has one history. Each process then has its
own random streams, and its own record, whose events have its number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from actors.kernel.actor import Actor
from actors.kernel.pykka_hooks import ActorRef
from actors.kernel.system import ActorSystem
from actors.messages import BreakerTransitioned, RecordedEvent

A = TypeVar("A", bound=Actor)


class Node:
    """The streams and the record of one process; see :class:`actors.kernel.runtime.Process`."""

    def __init__(self, system: ActorSystem, number: int) -> None:
        self.number = number
        self.node_number: int | None = number
        self._system = system
        self.streams = system.streams.within(f"node.{number}")
        self._record: Callable[[Any], None] = system.record

    def record(self, event: RecordedEvent) -> None:
        if type(event) is BreakerTransitioned:
            event = msgspec.structs.replace(event, breaker=at_node(event.breaker, self.number))
        # Only the history mixes nodes, so no actor need name its node. The event is new: only the store has seen it,
        # which should know the node too.
        event._happened_at(self.number)
        self._record(event)

    def spawn(self, actor_class: type[A], *args: Any, **kwargs: Any) -> ActorRef[A]:
        return self._system._spawn(None, actor_class, args, kwargs, self)


def at_node(name: str, number: int) -> str:
    """Return the name in the history of a thing that each node has: email's breaker at node 3 is ``email@3``."""
    return f"{name}@{number}"


def without_node(name: str) -> str:
    """Return such a name without the number of the node."""
    return name.rpartition("@")[0]


def names_at_nodes(name: str, count: int) -> list[str]:
    """Return the names in the history of a thing that each of `count` nodes has; with one node, the name itself."""
    return [name] if count == 1 else [at_node(name, number) for number in range(1, count + 1)]


def whole_and_nodes(name: str, count: int) -> list[str]:
    """Return the name of all of these together, and the names at each node where there are several."""
    return [name] if count == 1 else [name, *names_at_nodes(name, count)]
