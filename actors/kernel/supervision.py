"""The lifecycle of actors: how they start, fail, restart and end.

An actor that raises is restarted; its :class:`~actors.kernel.actor.Supervision` says how often and after which waits.
Then its parent decides, if it has one. Over a restart the actor keeps its reference and its mailbox, and loses its
state, its children and the running handler.
"""

from __future__ import annotations

import inspect
import logging
import math
from typing import Any, NoReturn

import msgspec
import pykka

from actors.errors import ActorSystemError, ForeignAwait, InvariantBreach, StoreFailed
from actors.instants import ns
from actors.kernel.actor import Actor, Decision
from actors.kernel.interceptors import Intercepted
from actors.kernel.mailbox import Stop
from actors.kernel.pykka_hooks import ActorRef, pykkas_logger
from actors.kernel.runtime import Runtime
from actors.messages import ActorFailed

logger = logging.getLogger(__name__)


class Terminated(msgspec.Struct, frozen=True):
    """An actor that the receiver watches has stopped."""

    ref: ActorRef[Any]
    error: Exception | None
    """The error it raised; None when it was asked to stop."""


class Restarted(msgspec.Struct, frozen=True):
    """An actor that the receiver watches has lost its state and starts again."""

    ref: ActorRef[Any]
    error: Exception


class FailNow:
    """Makes an actor fail, whatever it is doing."""

    __slots__ = ("error", "restart_after_ns")

    def __init__(self, error: Exception, restart_after_ns: int | None = None) -> None:
        self.error = error
        self.restart_after_ns = restart_after_ns
        """When it is restarted after that. None: its supervision decides whether, and when."""


class Lifecycle(Intercepted):
    """The lifecycle of the actors of one system; the system itself delivers messages."""

    def __init__(self, system: Runtime) -> None:
        self._system = system
        self.actors: dict[str, Actor] = {}
        """The living actors by URN, the oldest first."""

    def refuse_to_begin(self, actor: Actor, reason: str) -> NoReturn:
        """Remove an actor that pykka has registered already, and raise."""
        actor.actor_stopped.set()
        actor._actor_ref._unregister()
        raise ActorSystemError(reason)

    def begin(self, actor: Actor) -> None:
        """Add an actor to those alive, and send its first message."""
        if self._system.has_ended:
            self.refuse_to_begin(actor, f"{actor} came too late: its system has ended")
        self.actors[actor.actor_urn] = actor
        if actor._incarnation.parent is not None:
            actor._incarnation.parent._incarnation.children[actor.actor_urn] = actor
        self._system._post(actor, actor._incarnation.renew())

    def start_incarnation(self, actor: Actor) -> None:
        """Start an incarnation of an actor: its first, or the next one after a restart."""
        try:
            actor._start_anew()
            answer = actor.on_start()  # type: ignore[func-returns-value]  # pykka's returns None; a subclass's may not
            if inspect.iscoroutine(answer):
                answer.close()
                raise ActorSystemError(
                    "on_start cannot be async: have it tell its actor a message with an async handler"
                )
        except Exception as error:
            self.failed(actor, None, error)
            return
        actor._take_messages()
        self._system._take_up_deferred(actor)

    def watch(self, watcher: Actor, ref: ActorRef[Any]) -> None:
        watched = self.actors.get(ref.actor_urn)
        if watched is None:
            self._system._enqueue(watcher, Terminated(ref, None))
        else:
            watched._incarnation.watchers[watcher.actor_urn] = watcher._actor_ref

    def _notify_watchers(self, actor: Actor, message: Any) -> None:
        for urn in actor._incarnation.watchers:
            watcher = self.actors.get(urn)
            if watcher is not None:
                self._system._enqueue(watcher, message)

    def crash(self, ref: ActorRef[Any], error: Exception, restart_after: float | None = None) -> None:
        """Make an actor fail as if it had raised `error`, whatever it is doing (fault injection).

        The failure comes in its turn, behind the messages sent before. A dead actor stays dead. The actor is restarted
        after `restart_after` seconds, however often it has failed; None: as its supervision says.
        """
        actor = self.actors.get(ref.actor_urn)
        if actor is not None:
            self._system._post(actor, FailNow(error, None if restart_after is None else ns(restart_after)))

    def failed(self, actor: Actor, message: Any, error: Exception, restart_after_ns: int | None = None) -> None:
        """Decide about an actor that raised: restart it after a while, or leave it to its supervisor."""
        if isinstance(error, (ForeignAwait, InvariantBreach, StoreFailed)):
            raise error  # not the actor's failure: the run is broken
        rule, now_ns = actor.supervision, self._system.now_ns
        failures = actor._incarnation.restarts_since(now_ns - ns(rule.window) if rule.window < math.inf else -1)
        decision: Decision = "restart"
        if failures >= rule.max_restarts and restart_after_ns is None:
            decision = self._decide(actor, error)
        actor.process.record(
            ActorFailed(
                at_ns=now_ns,
                epoch_ns=self._system.epoch_ns,
                actor=type(actor).__name__,
                error=f"{type(error).__name__}: {error}",
                decision=decision,
            )
        )
        if decision == "restart":
            info = (type(error), error, error.__traceback__)
            logger.error("%s raised on %r and is restarted", actor, message, exc_info=info)
            try:
                actor.on_failure(*info)
            except Exception:
                logger.exception("on_failure of %s raised", actor)
            actor._incarnation.restarts_ns.append(now_ns)
            if restart_after_ns is None:
                doublings = min(failures, 1000)  # 2.0 ** 1024 is no float
                restart_after_ns = ns(min(rule.initial_delay * 2.0**doublings, rule.max_delay))
            self._restart(actor, restart_after_ns, error)
        else:
            actor._fail(error)
            self.terminated(actor, error)
            if decision == "escalate":
                self._escalate(actor, error)

    def _decide(self, actor: Actor, error: Exception) -> Decision:
        parent = actor._incarnation.parent
        if parent is None:
            return actor.supervision.then
        if parent.actor_stopped.is_set():
            return "stop"
        try:
            return parent.on_child_failure(actor._actor_ref, error)
        except Exception as raised:
            self._system._enqueue(parent, FailNow(raised))
            return "stop"

    def _escalate(self, actor: Actor, error: Exception) -> None:
        if actor._incarnation.parent is None:
            raise error
        if not actor._incarnation.parent.actor_stopped.is_set():
            self.failed(actor._incarnation.parent, None, error)

    def _restart(self, actor: Actor, delay_ns: int, error: Exception) -> None:
        actor._take_no_messages()
        self._system.set_timer(self._system.now_ns + delay_ns, actor, actor._incarnation.renew())
        self._stop_children(actor)
        self._system._cancel_handler(actor, error)
        self._notify_watchers(actor, Restarted(actor._actor_ref, error))

    def terminated(self, actor: Actor, error: Exception | None) -> None:
        """Settle the mailbox, the children and the handler of an actor that has stopped."""
        actor._take_no_messages()
        if self.actors.pop(actor.actor_urn, None) is None:
            return
        if actor._incarnation.parent is not None:
            actor._incarnation.parent._incarnation.children.pop(actor.actor_urn, None)
        self._stop_children(actor)
        if actor._run is not None:
            died = error or pykka.ActorDeadError(f"{actor.actor_ref} stopped while handling the message")
            self._system._cancel_handler(actor, died)
        while not actor.actor_inbox.empty():
            self._system._refuse(actor, actor.actor_inbox.get())
        self._notify_watchers(actor, Terminated(actor._actor_ref, error))

    def _stop_children(self, actor: Actor) -> None:
        for child in actor._incarnation.leave_children():
            self._system._enqueue(child, Stop())

    def kill(self, ref: ActorRef[Any]) -> None:
        """Remove an actor and its children at once and for good, as in a crash of their process.

        Unlike an actor that stops, it handles none of its waiting messages, none of its hooks is called, and no watcher
        is notified. Later messages of its timers and effects are undelivered. A dead actor stays dead. Call this in the
        system's own thread.
        """
        actor = self.actors.pop(ref.actor_urn, None)
        if actor is None:
            return
        for child in list(actor._incarnation.children.values()):
            self.kill(child._actor_ref)
        if actor._incarnation.parent is not None:
            actor._incarnation.parent._incarnation.children.pop(actor.actor_urn, None)
        actor._actor_ref._unregister()
        actor.actor_stopped.set()
        actor._take_no_messages()
        actor.actor_inbox.queue.clear()
        if actor._run is not None:
            self._system._cancel_handler(actor, pykka.ActorDeadError(f"{ref} is gone"))

    def stop_all(self) -> None:
        """Stop all actors at once, the youngest first as in pykka."""
        for actor in reversed(list(self.actors.values())):
            actor._stop()
            self.terminated(actor, None)

    def stop_everything(self, actor: Actor, error: BaseException) -> None:
        """Stop all actors, as pykka does when on_receive of one raises a BaseException."""
        pykkas_logger.debug(f"{error!r} in {actor}. Stopping all actors.")
        self.stop_all()
