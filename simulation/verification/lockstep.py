"""The product in lock-step with the reference model: each event as it is recorded is compared with the one expected.

What the model needs to know from outside is observed here: what arrives, what a provider makes of an attempt, crashes
and orders, and of several things that are due at one instant, whose turn the product lets it be.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from actors.domain.attempts import UNSENT
from actors.errors import Overloaded, Overtaken
from actors.kernel.actor import Actor
from actors.kernel.effects import Cancellable, Effect, Foreseen, Performed, Promise
from actors.kernel.futures import Future
from actors.kernel.interceptors import Interceptor, Next
from actors.kernel.turns import called_turn, interceptors_for
from actors.messages import (
    ActorFailed,
    BreakerTransitioned,
    DuplicateIgnored,
    NodeTookOver,
    RecordedEvent,
    SendNotification,
)
from actors.outcomes import Outcome
from actors.pipeline.orders import CancelNotification, Submit
from actors.pipeline.subscriber_calls import SubscriberCall
from simulation.verification.laws.base import Context, Invariant, Objection, observes
from simulation.verification.laws.lifecycles import STEPS
from simulation.verification.laws.observations import AttemptMade
from simulation.verification.model.comparing import Difference
from simulation.verification.model.model import Model
from simulation.verification.model.node import PIPELINE
from simulation.verification.model.unrecorded import Alerted, Asked, Refused

NUMBERS_BEFORE_A_LOOK = 1024

_OF_STORE = frozenset({"commit", "discarded"})
_ORDERS = frozenset({"override", "redrive-order", "discard-order"})
_FROM_CALLERS = _ORDERS | {"subscriber"}
"""The turns that the model hears of only where a program calls the service: else it knows all orders."""


class LockStep(Invariant):
    """Each event is the one that the reference model expects next, at its instant and with what is in it."""

    name = "reference-model"
    waiting_kinds = frozenset({"look", "hedge", "backlog", "ages", "redrive", "answer", "copy"}) | _OF_STORE
    """The timers that come when their actor is back; all others are begun anew then."""
    ignored_kinds = frozenset({"command", "cancel", *_ORDERS})
    """The timers whose effect has followed in the model when it was told of the cause."""
    told_kinds = frozenset({"submit", "command", "cancel"})

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        assert context.world is not None
        self.model = Model(context.world)
        if context.world.has_callers:
            self.told_kinds |= _FROM_CALLERS
        else:
            self.ignored_kinds |= _FROM_CALLERS
        self._asking = _Asking(self)
        self._told, self._turns = interceptors_for(self)
        self._called: list[tuple[SendNotification, bool]] | None = None
        """The commands that the currently called subscriber sends."""
        self._leads_to: dict[tuple[int, str], list[tuple[SendNotification, bool]]] = {}
        """By the identity of a call that waits, and its subscriber, what that will send."""
        self.system: Any = None
        """The system of the run; set when it is watched."""
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

    def round(self, watches: Sequence[Interceptor]) -> list[Interceptor]:
        """Return the interceptors that it needs, with others in their place among them."""
        return [self._told, *watches, self._asking, self._turns]

    @classmethod
    def applies(cls, context: Context) -> bool:
        return context.world is not None and context.world.schedule is None

    # ── what happens ────────────────────────────────────────────────────────────────────────────────────────────

    @observes(ActorFailed, BreakerTransitioned, DuplicateIgnored, NodeTookOver, *STEPS)
    def on_event(self, event: RecordedEvent) -> Objection:
        if type(event) is ActorFailed and event.actor not in PIPELINE:
            return None
        return self._asked(self.model.compare, event)

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Objection:
        attempt = made.attempt
        key, until_ns = attempt.idempotency_key, attempt.wanted_until_ns
        asked = Asked(made.at_ns, made.node, made.provider, attempt.number, key, attempt.command, until_ns)
        return self._asked(self._compare_asked, asked, made)

    def _compare_asked(self, asked: Asked, made: AttemptMade) -> None:
        is_foreseen = made.outcome is not None and not made.is_promised
        number = self._latest = self.model.on_asked(
            asked, made.outcome if is_foreseen else None, made.foreseen_ns if is_foreseen else None
        )
        if made.is_promised:
            self._numbers[id(made)] = made, [number]

    def on_call(self, system: Any) -> None:
        """Take note that a program that is no actor is about to call the service."""
        system.look_at_the_clock()
        self.note(self.model.turn, "other", None, None, system.now_ns, not system.is_busy)

    def on_promise_kept(self, made: AttemptMade, outcome: Outcome, now_ns: int) -> None:
        """Take note of an answer that was promised, which may be too late."""
        _, numbers = self._numbers.pop(id(made), (None, []))
        for number in numbers:
            self.note(self.model.answers_now, made.node, number, outcome, now_ns)

    def on_alert(self, text: str) -> None:
        self.note(self.model.compare, Alerted(self.system.now_ns, text))

    def at_end(self, now_ns: int) -> Objection:
        return self._asked(self.model.settle, now_ns)

    def watch_routes(self, service: Any) -> None:
        if len(service.processes) > 1:
            service.routed = partial(self.note, self.model.fleet.check_route)

    # ── whose turn it is ────────────────────────────────────────────────────────────────────────────────────────

    def turn(self, kind: str, key: Any, node: int | None, now_ns: int) -> Callable[[], None] | None:
        """Compare a turn with what is due; return what is to be done when it has ended."""
        if kind == "submit":
            return partial(self._submitted, key)
        if kind == "letter":
            self.note(self.model.compare, key)
            return None
        if kind == "subscriber":
            return self._calls_subscriber(*key)
        turn = self._turn_of(kind, key, self.answer_of)
        if turn is not None:
            self.note(self.model.turn, *turn, node, now_ns, not self.system.is_busy)
        return None

    def falls_due(self, kind: str, key: Any, node: int | None, now_ns: int) -> None:
        """Take note of what falls due for an actor that is down: what comes at the same instant stands behind it."""
        if not (kind in _OF_STORE and id(key.request) in self._promised):
            turn = self._turn_of(kind, key, lambda performed: self.number_of(performed.request, performed.result))
            if turn is not None:
                self.note(self.model.falls_due, *turn, node, now_ns, not self.system.is_busy)

    def told(self, kind: str, key: Any, node: int | None) -> None:
        """Take note of what comes from outside: it follows when what was told before has been done."""
        model = self.model
        match kind:
            case "submit" if self._called is not None:
                self._called.append((key.command, not key.follows_event))
            case "submit":
                self.note(model.arrives, key.command, not key.follows_event, node)
            case "command":
                self.note(model.arrives, key, True, node)
            case "cancel" if type(key) is CancelNotification:
                self.note(model.cancels, key.notification_id, node)
            case "subscriber":
                call, subscriber = key
                commands: list[tuple[SendNotification, bool]] = []
                self._leads_to[id(call), subscriber] = commands
                self.note(model.calls_subscriber, commands, node)
            case "redrive-order":
                order = key.order
                self.note(model.redrives, order.notification_id, order.served, key.edit, order.by, order.why, node)
            case "discard-order":
                order = key.order
                self.note(model.discards, order.notification_id, order.reason, order.by, key.though_taken, node)
            case "override":
                (_, channel), order = key
                self.note(model.overrides, channel, order.order, order.provider, node)

    def _calls_subscriber(self, call: SubscriberCall, subscriber: str) -> Callable[[], None]:
        """Have the commands of a subscriber follow from its call, in the model too."""
        self._called = self._leads_to.pop((id(call), subscriber))

        def ended() -> None:
            self._called = None

        return ended

    def _submitted(self, submit: Submit) -> None:
        if isinstance(submit.answer, Future) and submit.answer.done:
            try:
                submit.answer.get(timeout=0)
            except Overloaded:
                self.note(self.model.compare, Refused(self.system.now_ns, "overloaded"))
            except Exception:
                return

    def _turn_of(self, kind: str, key: Any, number_of: Callable[[Performed], int | None]) -> tuple[str, Any] | None:
        """Return a turn in the model's terms; None: it has none. Answers to attempts have numbers there."""
        match kind:
            case "look":
                return key  # type: ignore[no-any-return]
            case "answer":
                number = number_of(key)
                return None if number is None else ("answer", number)
            case "copy":
                (_, lane), performed = key
                return "copy", (lane, number_of(performed))
            case "hedge":
                (_, lane), flight = key
                return "hedge", (lane, self.number_of(flight))
            case "go-on":
                return "go-on", key.command.notification_id
            case "commit" | "discarded":
                request = key.request
                event = getattr(request, "event", None)
                if self._promised.pop(id(request), None) is not None or event is None:
                    return None
                return "overtaken" if isinstance(key.result, Overtaken) else kind, event.notification_id
            case "redrive":
                return "redrive", key.channel
            case "backlog" | "ages":
                return kind, ""
            case "inject":
                return "inject", _place_in(self.model.world.faults, key)
            case "operate":
                return "operate", _place_in(self.model.world.operations, key)
            case "stop" | "drained" | "back" | "reconnect":
                numbers = [None if process.node is None else process.node.number for process in key]
                return kind, self.model.surroundings.due_now(kind, numbers, self.system.now_ns)
            case "call":
                return self._turn_of(*called_turn(key), number_of)
            case "told":
                return "told", self.model.fleet.number_told + 1
            case "leases":
                return "leases", self.system.now_ns
            case "other":
                return "other", None
        return kind, key

    # ── what is asked, and answered ─────────────────────────────────────────────────────────────────────────────

    def note(self, function: Callable[..., None], *args: Any) -> None:
        """Tell the model something that is no event of the history."""
        if (objection := self._asked(function, *args)) is not None:
            self.broken(objection)

    def performs(self, request: Any, is_promised: bool) -> None:
        """Take note of what is to come back: with the answer of the provider that was asked last, or from the store."""
        if is_promised and hasattr(request, "event"):
            self._promised[id(request)] = request
        if self._latest is not None:
            if len(self._numbers) > self._forgets_at:
                self._numbers = {key: known for key, known in self._numbers.items() if not self._is_over(known[0])}
                self._forgets_at = NUMBERS_BEFORE_A_LOOK + 2 * len(self._numbers)
            if (known := self._numbers.get(id(request))) is not None:
                known[1].append(self._latest)
            else:
                self._numbers[id(request)] = request, [self._latest]
            flight = getattr(request, "flight", None)  # of one that may have copies, known by its first send
            if flight is not None:
                self._numbers.setdefault(id(flight), (flight, [self._latest]))
            self._latest = None

    def is_not_made(self, request: Any) -> None:

        def ask() -> None:
            self._latest = self.model.timeline.is_not_made()

        self.note(ask)

    def _is_over(self, what: Any) -> bool:
        """Tell whether no one waits any more for a copy, or its flight; or for a promise that was not kept in time."""
        if type(what) is AttemptMade:
            return self.model.ends_at(self._numbers[id(what)][1][0]) < 0
        return bool(getattr(getattr(what, "flight", what), "is_over", False))

    def number_of(self, request: Any, answer: Any = None) -> int | None:
        """Return the number of what a provider was asked: of several the one whose answer is due first, and of those
        that are due at one instant one that has this answer."""
        _, numbers = self._numbers.get(id(request), (None, (None,)))
        if len(numbers) == 1:
            return numbers[0]
        model = self.model
        return min(numbers, key=lambda number: (model.ends_at(number), model.outcome_of(number) != answer))

    def answer_of(self, performed: Performed) -> int | None:
        request = performed.request
        number = self.number_of(request, performed.result)
        if number is not None:
            numbers = self._numbers[id(request)][1]
            if len(numbers) > 1:
                numbers.remove(number)
            else:
                del self._numbers[id(request)]
        return number

    def _asked(self, function: Callable[..., Any], *args: Any) -> str | None:
        if not self._has_differed:
            try:
                function(*args)
            except Exception as error:
                self._has_differed = True
                if not isinstance(error, Difference):
                    return f"the reference model failed itself:\n{traceback.format_exc()}"
                name = getattr(args[0], "notification_id", None) if args else None
                return f"{error}\nstate: {self.model.state_of(name)}"
        return None


class _Asking(Interceptor):
    def __init__(self, lock_step: LockStep) -> None:
        self._lock_step = lock_step

    def attach(self, system: Any) -> None:
        super().attach(system)
        self._lock_step.system = system

    def perform(self, go_on: Next, actor: Actor, effect: Effect, request: Any, *timeout: Any) -> Cancellable:
        if type(effect) is Foreseen and effect.result is UNSENT:
            self._lock_step.is_not_made(request)
        self._lock_step.performs(request, type(effect) is Promise)
        return go_on(actor, effect, request, *timeout)  # type: ignore[no-any-return]


def _place_in(each: Sequence[Any], wanted: Any) -> int:
    return next(number for number, one in enumerate(each) if one is wanted)
