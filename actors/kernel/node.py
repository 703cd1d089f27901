"""A node: one of several processes that run on one system, as its own actors see that system.

Live, a process has a system of its own. In simulated time all processes of a fleet share one clock and one queue of
ready messages, so that what happens at one instant has an order, and a run has one history. What is each process's own
then is this: its random streams, and what it records, which says whose it is.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, TypeVar

import msgspec
from msgspec.structs import force_setattr

from actors.kernel.actor import Actor, ActorRef
from actors.kernel.system import ActorSystem
from actors.messages import BreakerTransitioned, RecordedEvent

A = TypeVar("A", bound=Actor)


class Node:
    """The system with the streams and the record of one process; see :class:`actors.kernel.runtime.Runtime`."""

    def __init__(self, system: ActorSystem, number: int) -> None:
        """Make one.

        Args:
            system: that all nodes run on.
            number: of this one, from 1 on.
        """
        self.number = number
        self.node_number: int | None = number
        self._system = system
        self.streams = system.streams.within(f"node.{number}")
        self._record: Callable[[Any], None] = system.record
        # What is the system's is bound once, so that an actor on a node reaches it by no longer a way.
        self.delivers_once = system.delivers_once
        self.future_class = system.future_class
        self.set_timer = system.set_timer
        self.call_at = system.call_at
        self.look_at_the_clock = system.look_at_the_clock
        self.perform = system.perform
        self.route = system.route
        self.kill = system.kill
        self.crash = system.crash
        self.step_wall_clock = system.step_wall_clock
        self.stop = system.stop
        self._new_urn = system._new_urn
        self._begin = system._begin
        self._watch = system._watch
        self._teller = system._teller
        self._ask = system._ask
        self._enqueue = system._enqueue
        self._post = system._post
        self._take_up_deferred = system._take_up_deferred
        self._cancel_handler = system._cancel_handler
        self._refuse = system._refuse
        self._may_block = system._may_block
        self._would_deadlock = system._would_deadlock
        self._no_answer = system._no_answer
        self._block_on = system._block_on
        self._wait_outside = system._wait_outside
        self._current_run = system._current_run
        self._run_under_way = system._run_under_way
        self._resume_when_done = system._resume_when_done
        self._enter_trio_scope = system._enter_trio_scope

    # Asked ten times for each notification, so without a call of a function of Python's.
    now_ns: int = property(attrgetter("_system.now_ns"))  # type: ignore[assignment]
    """The instant of the message being handled."""
    epoch_ns: int = property(attrgetter("_system.epoch_ns"))  # type: ignore[assignment]
    """Where on the calendar the run's clock started, as the wall clock shows it now."""

    @property
    def has_ended(self) -> bool:
        """Whether all actors of the system have been stopped for good."""
        return self._system.has_ended

    def record(self, event: RecordedEvent) -> None:
        """Add an event of this node to the history of the run."""
        if type(event) is BreakerTransitioned:
            event = msgspec.structs.replace(event, breaker=at_node(event.breaker, self.number))
        # As the history alone is of several nodes, none of their actors need say which they are of. What is recorded is
        # new: only the store has seen it, which is to know it too.
        force_setattr(event, "node", self.number)
        self._record(event)

    def spawn(self, actor_class: type[A], *args: Any, **kwargs: Any) -> ActorRef[A]:
        """Start an actor on this node, and return the reference to it."""
        return self._spawn(None, actor_class, args, kwargs)

    def _spawn(self, parent: Actor | None, actor_class: type[A], args: Any, kwargs: Any) -> ActorRef[A]:
        return self._system._spawn(parent, actor_class, args, kwargs, self)


def at_node(name: str, number: int) -> str:
    """Return the name in the history of what each node has one of: that of email's breaker at node 3 is ``email@3``."""
    return f"{name}@{number}"


def without_node(name: str) -> str:
    """Return such a name without the number of the node."""
    return name.rpartition("@")[0]


def names_at_nodes(name: str, count: int) -> list[str]:
    """Return the names in the history of what each of so many nodes has one of; the name itself of one alone."""
    return [name] if count == 1 else [at_node(name, number) for number in range(1, count + 1)]


def whole_and_nodes(name: str, count: int) -> list[str]:
    """Return the name of all of these together, and those of each where there are several."""
    return [name] if count == 1 else [name, *names_at_nodes(name, count)]
