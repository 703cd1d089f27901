"""The product in lock-step with the reference model: each event as it is recorded is compared with the one expected.

What the model needs to know from outside is observed here: what arrives, what a provider makes of an attempt, crashes
and orders, and of several things that are due at one instant, whose turn the product lets it be.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

from actors.domain.attempts import UNSENT
from actors.errors import Overloaded, Overtaken
from actors.kernel.actor import NOTHING, Actor
from actors.kernel.effects import Cancellable, Effect, Foreseen, Performed, Promise
from actors.kernel.futures import Future
from actors.kernel.interceptors import Interceptor, Next
from actors.kernel.mailbox import Envelope
from actors.messages import (
    ActorFailed,
    BreakerTransitioned,
    DeadLetterMessage,
    DuplicateIgnored,
    NodeTookOver,
    RecordedEvent,
    SendNotification,
)
from actors.outcomes import Outcome
from actors.pipeline.circuit_breaker import OperateBreaker
from actors.pipeline.dead_letter_queue import SubmitDiscard, SubmitRedrive
from actors.pipeline.orders import CancelNotification, Submit
from actors.pipeline.subscriber_calls import SubscriberCall
from simulation.verification.laws.base import Context, Invariant, Objection, observes
from simulation.verification.laws.lifecycles import STEPS
from simulation.verification.laws.observations import AttemptMade
from simulation.verification.model.comparing import Difference
from simulation.verification.model.model import Model
from simulation.verification.model.node import CLASSES
from simulation.verification.model.surroundings import Surroundings
from simulation.verification.model.unrecorded import Alerted, Asked, Refused
from simulation.verification.model.world import refusals

NUMBERS_BEFORE_A_LOOK = 1024


class LockStep(Invariant):
    """Each event is the one that the reference model expects next, at its instant and with what is in it."""

    name = "reference-model"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        assert context.world is not None
        self.model = Model(context.world)
        self.watch = TurnWatch(self)
        self.broken: Callable[[str], None] = lambda text: None
        """Takes what is broken where no event is recorded; set by the checker."""
        self._has_differed = False
        self._latest: int | None = None
        """The number in the model of what a provider was asked last, until it is known by whom."""
        self._promised: dict[int, Any] = {}
        """By identity, the changes that a store has promised to finish."""
        self._forgets_at = NUMBERS_BEFORE_A_LOOK
        self._numbers: dict[int, tuple[Any, list[int]]] = {}
        """By the identity of what comes back with an answer, or of a promise, it and its numbers in the model: one, or
        more where the message that has a provider asked came twice."""

    @classmethod
    def applies(cls, context: Context) -> bool:
        return context.world is not None and not refusals(context.world)

    # ── what happens ────────────────────────────────────────────────────────────────────────────────────────────

    @observes(ActorFailed, BreakerTransitioned, DuplicateIgnored, NodeTookOver, *STEPS)
    def on_event(self, event: RecordedEvent) -> Objection:
        return self._asked(self.model.compare, event)

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Objection:
        attempt = made.attempt
        key, until_ns = attempt.idempotency_key, attempt.wanted_until_ns
        asked = Asked(made.at_ns, made.node, made.provider, attempt.number, key, attempt.command, until_ns)

        def ask() -> None:
            is_foreseen = made.outcome is not None and not made.is_promised
            number = self.model.on_asked(
                asked, made.outcome if is_foreseen else None, made.foreseen_ns if is_foreseen else None
            )
            self._latest = number
            if made.is_promised:
                self._numbers[id(made)] = made, [number]

        return self._asked(ask)

    def on_call(self, system: Any) -> None:
        """Take note that a program that is no actor is about to call the service."""
        system.look_at_the_clock()
        self.note(self.model.comes_from_outside, system.now_ns, not system._ready)

    def on_promise_kept(self, made: AttemptMade, outcome: Outcome, now_ns: int) -> None:
        """Take note of an answer that was promised, which may be too late."""
        _, numbers = self._numbers.pop(id(made), (None, []))
        for number in numbers:
            self.note(self.model.answers_now, made.node, number, outcome, now_ns)

    def on_alert(self, text: str) -> None:
        """Take note of an alert that is raised."""
        self.note(self.model.compare, Alerted(self.watch.system.now_ns, text))

    def at_end(self, now_ns: int) -> Objection:
        return self._asked(self.model.settle, now_ns)

    def watch_routes(self, service: Any) -> None:
        """Compare which of several nodes each arrival goes to."""
        if len(service.processes) > 1:
            route = service._process_for

            def routed(user: str, recipient: str) -> Any:
                process = route(user, recipient)
                self.note(self.model.fleet.check_route, user, recipient, process.node.number)
                return process

            service._process_for = routed

    # ── for the watch ───────────────────────────────────────────────────────────────────────────────────────────

    def note(self, function: Callable[..., None], *args: Any) -> None:
        """Tell the model something that is no event of the history."""
        objection = self._asked(function, *args)
        if objection is not None:
            self.broken(str(objection))

    def performs(self, request: Any, is_promised: bool) -> None:
        """Take note of what is to come back: with the answer of the provider that was asked last, or from the store."""
        if is_promised and hasattr(request, "event"):
            self._promised[id(request)] = request
        if self._latest is not None:
            if len(self._numbers) > self._forgets_at:
                self._numbers = {key: known for key, known in self._numbers.items() if not self._is_over(known[0])}
                self._forgets_at = NUMBERS_BEFORE_A_LOOK + 2 * len(self._numbers)
            self._numbers.setdefault(id(request), (request, []))[1].append(self._latest)
            flight = getattr(request, "flight", request)  # of one that may have copies, known by its first send
            self._numbers.setdefault(id(flight), (flight, [self._latest]))
            self._latest = None

    def is_not_made(self, request: Any) -> None:
        """Take note of an attempt that is not made, as its node has no lease."""

        def ask() -> None:
            self._latest = self.model.timeline.is_not_made()

        self.note(ask)

    def is_promised(self, performed: Performed) -> bool:
        """Tell whether it is a change that the store has promised to finish, so that it follows from what that does."""
        return id(performed.request) in self._promised

    def was_promised(self, request: Any) -> bool:
        """Tell whether the store has promised to finish a change, and has done so now."""
        return self._promised.pop(id(request), None) is not None

    def _is_over(self, what: Any) -> bool:
        """Tell whether nobody waits any more for a copy, or its flight; or for a promise that was not kept in time."""
        if type(what) is AttemptMade:
            return self.model.ends_at(self._numbers[id(what)][1][0]) < 0
        return bool(getattr(getattr(what, "flight", what), "is_over", False))

    def number_of(self, request: Any, answer: Any = None) -> int | None:
        """Return the number of what a provider was asked: of several the one whose answer is due first, and of those
        that are due at one instant one that has this answer."""
        _, numbers = self._numbers.get(id(request), (None, []))
        if len(numbers) < 2:
            return next(iter(numbers), None)
        model = self.model
        return min(numbers, key=lambda number: (model.ends_at(number), model.outcome_of(number) != answer))

    def answer_of(self, performed: Performed) -> int | None:
        """Return the number of what is answered."""
        request = performed.request
        number = self.number_of(request, performed.result)
        if number is not None:
            numbers = self._numbers[id(request)][1]
            numbers.remove(number)
            if not numbers:
                del self._numbers[id(request)]
        return number

    def _asked(self, function: Callable[..., Any], *args: Any) -> str | None:
        if self._has_differed:
            return None
        try:
            function(*args)
        except Difference as difference:
            self._has_differed = True
            name = getattr(args[0], "notification_id", None) if args else None
            return f"{difference}\nstate: {self.model.state_of(name)}"
        except Exception:
            self._has_differed = True
            return f"the reference model failed itself:\n{traceback.format_exc()}"
        return None


class TurnWatch(Interceptor):
    """Tells what is told to the handler from outside, and whose turn it is when several things are due."""

    def __init__(self, lock_step: LockStep) -> None:
        self._lock_step = lock_step
        self._leads_to: dict[tuple[int, str], list[tuple[SendNotification, bool]]] = {}
        """By the identity of a call that waits, and its subscriber, what that will send."""
        self._called: list[tuple[SendNotification, bool]] | None = None
        """What the subscriber sends that is being called."""

    def attach(self, system: Any) -> None:
        super().attach(system)
        teller = system._teller

        has_callers = self._lock_step.model.world.has_callers

        def telling(actor: Actor) -> Callable[[Any], None]:
            tell: Callable[[Any], None] = teller(actor)
            if type(actor).__name__ == "Handler":
                return partial(self._told, tell, actor)
            return partial(self._is_ordered, tell, actor) if has_callers else tell

        system._teller = telling
        deliver = system._deliver

        def delivering(actor: Actor, message: Any) -> Any:
            if actor._accepting is NOTHING and not actor.actor_stopped.is_set():  # else its process is gone
                self._stands_in_mailbox(actor, message)
            return deliver(actor, message)

        system._deliver = delivering

    def _stands_in_mailbox(self, actor: Actor, message: Any) -> None:
        """Take note of what falls due for an actor that is down: what comes at the same instant stands behind it."""
        lock_step, kind = self._lock_step, type(message).__name__
        what = None
        is_of_store = kind == "Performed" and hasattr(message.request, "event") and not lock_step.is_promised(message)
        if kind in ("_Advance", "_Hedge", "LookAtBacklog", "_LookAtBounds", "_RedriveNext") or is_of_store:
            what = _turns_of(actor)[kind](lock_step, actor, message)
        elif kind == "Performed" and type(actor).__name__ == "CircuitBreakerActor":
            known = lock_step.number_of(message.request, message.result)
            what = None if known is None else ("answer", known)
        elif kind == "Performed" and type(actor).__name__ == "HedgingChannel":
            what = "copy", (_lane_of(actor), lock_step.number_of(message.request, message.result))
        if what is not None:
            node = actor.process.node_number
            lock_step.note(lock_step.model.falls_due, *what, node, self.system.now_ns, not self.system._ready)

    def _is_ordered(self, tell: Callable[[Any], None], actor: Actor, message: Any) -> None:
        """Take note of what a caller orders an actor that is not the handler to do."""
        note, model, node = self._lock_step.note, self._lock_step.model, actor.process.node_number
        content = None if actor.actor_stopped.is_set() else _content(message)
        match content:
            case SubscriberCall():
                commands: list[tuple[SendNotification, bool]] = []
                self._leads_to[id(content), actor.actor_urn] = commands
                note(model.calls_subscriber, commands, node)
            case SubmitRedrive(order=order, edit=edit):
                note(model.redrives, order.notification_id, order.served, edit, order.by, order.why, node)
            case SubmitDiscard(order=order, though_taken=though_taken):
                note(model.discards, order.notification_id, order.reason, order.by, though_taken, node)
            case OperateBreaker() as order:
                note(model.overrides, actor._incarnation.args[0], order.order, order.provider, node)
        tell(message)

    def _call_subscriber(self, subscriber: Actor, handler: Callable[[Any], None], call: SubscriberCall) -> None:
        """Have a subscriber called; what it sends follows from that, in the model too."""
        self._called = self._leads_to.pop((id(call), subscriber.actor_urn))
        try:
            handler(call)
        finally:
            self._called = None

    def _told(self, tell: Callable[[Any], None], actor: Actor, message: Any) -> None:
        node, content = actor.process.node_number, _content(message)
        if actor.actor_stopped.is_set():
            pass  # its sender is told so
        elif self._called is not None and type(content) is Submit:
            self._called.append((content.command, not content.follows_event))
        elif type(content) is SendNotification:
            self._lock_step.note(self._lock_step.model.arrives, content, True, node)
        elif type(content) is Submit:
            self._lock_step.note(self._lock_step.model.arrives, content.command, not content.follows_event, node)
        elif type(content) is CancelNotification:
            self._lock_step.note(self._lock_step.model.cancels, content.notification_id, node)
        tell(message)

    def perform(self, go_on: Next, actor: Actor, effect: Effect, request: Any, *timeout: Any) -> Cancellable:
        if type(effect) is Foreseen and effect.result is UNSENT:
            self._lock_step.is_not_made(request)
        self._lock_step.performs(request, type(effect) is Promise)
        return go_on(actor, effect, request, *timeout)  # type: ignore[no-any-return]

    def start(self, go_on: Next, actor: Actor) -> None:
        place = _place_of(actor) if actor._incarnation.number else None
        if place is not None:
            self._note_turn(actor, "restart", place)
        go_on(actor)
        turns = _turns_of(actor)
        for kind, handler in list(actor._plain.items()):
            turn_of = turns.get(kind.__name__)
            if turn_of is not None:
                actor._plain[kind] = partial(self._take_turn, turn_of, actor, handler)
            elif kind is DeadLetterMessage:
                actor._plain[kind] = partial(self._bury, handler)
            elif kind is Submit:
                actor._plain[kind] = partial(self._submit, handler)
            elif kind is SubscriberCall and self._lock_step.model.world.has_callers:
                actor._plain[kind] = partial(self._call_subscriber, actor, handler)

    def _take_turn(
        self, turn_of: Callable[[LockStep, Any, Any], tuple[str, Any] | None], actor: Actor, handler: Any, message: Any
    ) -> Any:
        turn = turn_of(self._lock_step, actor, message)
        if turn is not None:
            self._note_turn(actor, *turn)
        return handler(message)

    def _note_turn(self, actor: Actor, kind: str, what: Any) -> None:
        node = None if kind in Surroundings.TIMERS else actor.process.node_number
        is_first = not self.system._ready
        self._lock_step.note(self._lock_step.model.turn, kind, what, node, self.system.now_ns, is_first)

    def _bury(self, handler: Callable[[Any], None], letter: DeadLetterMessage) -> None:
        self._lock_step.note(self._lock_step.model.compare, letter)
        handler(letter)

    def _submit(self, handler: Callable[[Submit], None], submit: Submit) -> None:
        handler(submit)
        if isinstance(submit.answer, Future) and submit.answer.done:
            try:
                submit.answer.get(timeout=0)
            except Overloaded:
                self._lock_step.note(self._lock_step.model.compare, Refused(self.system.now_ns, "overloaded"))
            except Exception:
                return


def _content(message: Any) -> Any:
    """Return what is told, without what it travels in."""
    content = message.message if type(message) is Envelope else message
    return content.message if type(content).__name__ == "_Sending" else content


def _turns_of(actor: Any) -> dict[str, Callable[[LockStep, Any, Any], tuple[str, Any] | None]]:
    return next((_TURNS[each.__name__] for each in type(actor).__mro__ if each.__name__ in _TURNS), {})


def _other(_lock_step: LockStep, _actor: Any, _message: Any) -> tuple[str, Any]:
    return "other", None


def _answer(lock_step: LockStep, _actor: Any, performed: Performed) -> tuple[str, Any] | None:
    number = lock_step.answer_of(performed)
    return None if number is None else ("answer", number)


def _relayed(lock_step: LockStep, relay: Any, performed: Performed) -> tuple[str, Any] | None:
    return _answer(lock_step, relay, performed) if relay._breaker.is_alive() else None  # else its process is gone


def _late(_lock_step: LockStep, _actor: Any, late: Any) -> tuple[str, Any]:
    return "late", late.number


def _copy(lock_step: LockStep, actor: Any, performed: Performed) -> tuple[str, Any]:
    return "copy", (_lane_of(actor), lock_step.answer_of(performed))


def _hedge(lock_step: LockStep, actor: Any, message: Any) -> tuple[str, Any]:
    return "hedge", (_lane_of(actor), lock_step.number_of(message.flight))


def _go_on(_lock_step: LockStep, actor: Any, message: Any) -> tuple[str, Any] | None:
    name = message.delivery.command.notification_id
    return ("go-on", name) if actor.deliveries.may_go_on(message.delivery) else None


def _of_handler(lock_step: LockStep, _actor: Any, performed: Performed) -> tuple[str, Any] | None:
    event = getattr(performed.request, "event", None)
    if lock_step.was_promised(performed.request):
        return None  # it follows from what the store has done
    kind = "overtaken" if isinstance(performed.result, Overtaken) else "commit"
    return None if event is None else (kind, event.notification_id)


def _of_letters(lock_step: LockStep, _actor: Any, performed: Performed) -> tuple[str, Any] | None:
    if lock_step.was_promised(performed.request):
        return None
    return "discarded", performed.request.event.notification_id


def _of_redrives(_lock_step: LockStep, _actor: Any, message: Any) -> tuple[str, Any]:
    return "redrive", message.channel


_PLACES = {actor_class: place for place, actor_class in CLASSES.items()} | {"HedgingChannel": "channel"}


def _place_of(actor: Any) -> tuple[str, str] | None:
    place = next((_PLACES[each.__name__] for each in type(actor).__mro__ if each.__name__ in _PLACES), None)
    if place is None:
        return None
    if place == "channel":
        return place, _lane_of(actor)
    return place, actor._incarnation.args[0] if place in ("limiter", "breaker") else ""


def _lane_of(actor: Any) -> str:
    lane = actor._incarnation.args[1]
    return f"{lane.name.partition('/')[0]}/{lane.provider_name}"


def _injected(lock_step: LockStep, _actor: Any, message: Any) -> tuple[str, Any]:
    return "inject", next(n for n, fault in enumerate(lock_step.model.world.faults) if fault is message.fault)


def _called(lock_step: LockStep, environment: Any, call: Any) -> tuple[str, Any]:
    function = call.function
    if isinstance(function, partial) and getattr(function.func, "__name__", "") == "_take_over":
        gone, starts = function.args
        return "takeover", (gone.node.number, starts)
    if isinstance(function, partial) and getattr(function.func, "__name__", "") == "_is_known":
        return "known", function.args
    if isinstance(function, partial) and getattr(function.func, "__name__", "") == "tell_others":
        return "told", lock_step.model.fleet.number_told + 1
    if isinstance(function, partial) and getattr(function.func, "__name__", "") == "reconnect":
        return _with_nodes("reconnect", lambda _: function.args[0])(lock_step, environment, call)
    if getattr(function, "__name__", "") == "_end_leases":
        return "leases", environment.system.now_ns
    if getattr(function, "__name__", "") == "_settle":
        return "settle", function.__self__.number
    return "other", None


def _with_nodes(kind: str, processes: Callable[[Any], Any]) -> Callable[[LockStep, Any, Any], tuple[str, Any]]:
    def turn_of(lock_step: LockStep, actor: Any, message: Any) -> tuple[str, Any]:
        numbers = [None if process.node is None else process.node.number for process in processes(message)]
        return kind, lock_step.model.surroundings.due_now(kind, numbers, actor.system.now_ns)

    return turn_of


def _ordered(lock_step: LockStep, _actor: Any, message: Any) -> tuple[str, Any]:
    orders = lock_step.model.world.operations
    return "operate", next(n for n, order in enumerate(orders) if order is message.operation)


def _stage(kind: str) -> Callable[[LockStep, Any, Any], tuple[str, Any]]:
    return lambda _lock_step, actor, _message: (kind, actor._channel)


def _once(kind: str) -> Callable[[LockStep, Any, Any], tuple[str, Any]]:
    return lambda _lock_step, _actor, _message: (kind, "")


_TURNS: dict[str, dict[str, Callable[[LockStep, Any, Any], tuple[str, Any] | None]]] = {
    "Handler": {"GoOn": _go_on, "LookAtBacklog": _once("backlog"), "Performed": _of_handler},
    "RateLimiterActor": {"_Advance": _stage("limiter")},
    "CircuitBreakerActor": {"_Advance": _stage("breaker"), "Performed": _answer},
    "DeduplicatingBreaker": {"_Advance": _stage("breaker")},
    "_Relay": {"Performed": _relayed},
    "_Post": {"_Late": _late},
    "HedgingChannel": {"_Hedge": _hedge, "Performed": _copy},
    "DeadLetterQueue": {"_LookAtBounds": _once("ages"), "_RedriveNext": _of_redrives, "Performed": _of_letters},
    "Source": {"_Arrive": _other, "_SendAgain": _other},
    "Clients": {"_Next": _other},
    "Environment": {"ScheduledCall": _called},
    "Operator": {"_Act": _ordered},
    "FaultInjector": {
        "_Inject": _injected,
        "_Stop": _with_nodes("stop", lambda stop: [stop.process]),
        "_IsDrained": _with_nodes("drained", lambda drained: [drained.stop.process]),
        "_Restart": _with_nodes("back", lambda restart: restart.processes),
    },
}
"""By class of actor and kind of message: whose turn it is."""
