"""pykka's actor and reference on an actor system: all uses of pykka's private names, in one file.

A runtime for pykka defines three hooks: `_create_actor_inbox`, `_create_future` and `_start_actor_loop`. pykka's own
loop is not used, since it swallows cancellations; so stop messages and envelopes have classes of our own. `_stop`,
`_handle_receive`, `_handle_failure` and `_actor_ref` have to mean the same as in pykka 4, too:
``tests/kernel/test_pykka_hooks.py`` checks them in the installed pykka, and pykka's own tests pass on both systems.
"""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any, Generic, NoReturn, TypeVar

import pykka

from actors.errors import ActorSystemError, WouldDeadlock
from actors.kernel.mailbox import Inbox, Stop
from actors.kernel.runtime import Runtime

pykkas_logger = logging.getLogger("pykka")

A = TypeVar("A", bound="HookedActor")


class ActorRef(pykka.ActorRef[A], Generic[A]):
    """A pykka reference whose `tell` is bound once, to the shortest way into the system's queue."""

    def __init__(self, actor: A) -> None:
        super().__init__(actor)
        self.actor = actor
        """The actor, for reading its public attributes from the system's own thread; never call a handler by it."""
        self._system = actor.system
        self.tell = actor.system._teller(actor)  # type: ignore[method-assign,assignment]  # bound once: hot
        self._is_registered = False

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """Send a message and return the answer, or with ``block=False`` a future of the answer, which can be awaited.

        Raises:
            WouldDeadlock: ``block=True`` inside a handler, where nothing could ever answer; nothing is sent then.
            pykka.Timeout: no answer within `timeout` seconds.
        """
        if block and not self._system._may_block() and self.is_alive():
            raise WouldDeadlock
        future = self._system._ask(self, message)
        return future.get(timeout=timeout) if block else future

    def stop(self, *, block: bool = True, timeout: float | None = None) -> Any:
        """Stop the actor behind the messages it has been sent; the answer is False if it was dead already."""
        asked = self.ask(Stop(), block=False)

        def was_alive(timeout: float | None) -> bool:
            try:
                asked.get(timeout=timeout)
            except pykka.ActorDeadError:
                return False
            return True

        answer = self._system.future_class()
        answer.set_get_hook(was_alive)
        return answer.get(timeout=timeout) if block else answer

    def _register(self) -> None:
        pykka.ActorRegistry.register(self)
        self._is_registered = True

    def _unregister(self) -> None:
        """Take it out of there, where a search takes time, if it is there."""
        if self._is_registered:
            pykka.ActorRegistry.unregister(self)


class Stopped(threading.Event):
    """Whether an actor has stopped. An event's lock takes a fifth of an actor's start, so the first waiter makes it.

    A waiter makes the lock before it reads the flag, and `set` sets the flag before it looks for a lock. If several
    waiters make a lock at once, all wait at the first.
    """

    def __init__(self) -> None:
        self._flag = False

    @property
    def _cond(self) -> threading.Condition:
        return self.__dict__.setdefault("_cond", threading.Condition(threading.Lock()))  # type: ignore[no-any-return]

    def set(self) -> None:
        self._flag = True
        if "_cond" in self.__dict__:
            super().set()


class HookedActor(pykka.Actor):
    """pykka's actor, whose messages come from the queue of an actor system."""

    system: Runtime
    """Set by the system that spawns it; a class bound to a system by `ActorSystem.bind` has it from the start."""
    actor_inbox: Inbox
    _actor_ref: ActorRef[Any]

    def _enter(self, system: Runtime) -> None:
        """Do what pykka's constructor does, but ask no operating system for an address: a third of the time."""
        self.system = system
        self.actor_inbox = Inbox(self)
        self.actor_stopped = Stopped()
        self.actor_urn = system._new_urn()
        self._actor_ref = ActorRef(self)

    @staticmethod
    def _create_actor_inbox() -> NoReturn:
        raise ActorSystemError("an inbox belongs to an actor: spawn one")

    @staticmethod
    def _create_future() -> NoReturn:
        raise ActorSystemError("futures belong to a system: use ActorRef.ask")

    def _start_actor_loop(self) -> None:
        self._actor_ref._is_registered = True  # by pykka's own start()
        self.system._begin(self)

    def stop(self) -> None:
        """Stop behind the messages that this actor has been sent."""
        self._actor_ref.tell(Stop())

    def _stop(self) -> None:
        self._actor_ref._unregister()
        self.actor_stopped.set()
        pykkas_logger.debug("Stopped %s", self)
        try:
            self.on_stop()
        except Exception:
            self._handle_failure(*sys.exc_info())

    def _handle_receive(self, message: Any) -> Any:
        return self._stop() if type(message) is Stop else super()._handle_receive(message)

    def _fail(self, error: Exception) -> None:
        """Stop with an error at once: log it, then call `on_failure`, as pykka's loop does."""
        info = (type(error), error, error.__traceback__)
        self._handle_failure(*info)
        try:
            self.on_failure(*info)
        except Exception:
            self._handle_failure(*sys.exc_info())
