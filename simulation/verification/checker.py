"""The checker of one run: brings all that happens to the observers, and stops at the first breach."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from actors.domain.attempts import Attempt, Provider
from actors.errors import ConfigurationError, InvariantBreach
from actors.instants import ns
from actors.kernel.interceptors import Interceptor
from actors.kernel.node import without_node
from actors.kernel.system import ActorSystem
from actors.messages import BreakerTransitioned, NodeTookOver, NotificationChannel, RecordedEvent
from simulation.running.checking import Choice
from simulation.verification.known import KNOWN
from simulation.verification.laws.base import Context, Finding, Invariant, Objection
from simulation.verification.laws.observations import MessageSent
from simulation.verification.laws.text import history_lines, named, place_of
from simulation.verification.laws.watching import MessageWatch, ObservedProvider, TimerWatch
from simulation.verification.lockstep import LockStep

LATEST_SHOWN = 20
"""The number of latest events that are shown with a breach that is of no notification."""

Observer: TypeAlias = Callable[[Any], Objection]


class Checker:
    """Checks one run.

    A system is to `record` to it, in place of what it was given, and to have its `interceptors`; it is to be shown to
    `watch` before any actor is started on it; and providers are to be wrapped by `observed`.
    """

    def __init__(self, choice: Choice, context: Context, *, record: Callable[[Any], None]) -> None:
        """Make a checker; `record` receives every recorded event before the invariants do.

        Raises:
            ConfigurationError: a name is not known, or something is no invariant; all problems.
        """
        self.context = context
        self.breach: InvariantBreach | None = None
        self._record = record
        self._invariants, functions = _chosen(choice, context)
        self._settings = {_name(invariant): invariant.settings for invariant in self._invariants}
        observing = [each for each in self._invariants if MessageSent in each.observers()]
        watched: frozenset[type] = frozenset().union(*(each.receivers for each in observing))
        observing_functions = [each for each in functions if MessageSent in getattr(each, "__observes__", ())]

        def wants(receiver: type, message: type) -> bool:
            is_observed = bool(observing_functions) or any(
                each.observes_message(receiver, message) for each in observing
            )
            return receiver in watched and is_observed

        self._nodes = [_AtNode(number, context, self._invariants) for number in _numbers(context)]
        if self._nodes:
            self._invariants = [each for each in self._invariants if not each.of_one_process]
        self._observers = _Observers(self._invariants)
        self._of_any_event: list[tuple[str, Observer]] = []
        for function in functions:
            kinds = getattr(function, "__observes__", None)
            if kinds is None:
                self._of_any_event.append((_name(function), function))
            else:
                self._observers.add(_name(function), function, kinds)
        self.lock_step = next((each for each in self._invariants if isinstance(each, LockStep)), None)
        """The reference model beside the run, if that is checked."""
        if self.lock_step is not None:
            self.lock_step.broken = self._break_outside
        self.names = [*self._settings, *map(_name, functions)]
        self._message_watch: MessageWatch | None = None
        everywhere = [*self._invariants, *(each for node in self._nodes for each in node.invariants)]
        watches_timers = any(invariant.watches_timers for invariant in everywhere)
        if watches_timers or any(invariant.watches_actors for invariant in everywhere):
            watch = TimerWatch if watches_timers else MessageWatch
            self._message_watch = watch(self.note, wants)
        self._system: ActorSystem | None = None
        self._latest: deque[Any] = deque(maxlen=LATEST_SHOWN)
        self._transitions: list[BreakerTransitioned] = []

    # ── how it is put in ────────────────────────────────────────────────────────────────────────────────────────

    @property
    def interceptors(self) -> list[Interceptor]:
        watches: list[Interceptor] = [] if self._message_watch is None else [self._message_watch]
        return watches if self.lock_step is None else self.lock_step.round(watches)

    def watch(self, system: ActorSystem) -> None:
        """Look at what goes on in a system, on which nothing has been started yet."""
        self._system = system
        self.context.epoch_ns = lambda: system.epoch_ns

    def observed(
        self, providers: Mapping[NotificationChannel, Mapping[str, Provider]]
    ) -> dict[NotificationChannel, dict[str, Provider]]:
        """Return the providers of each channel by name, each so that the attempts at it are observed."""
        settings = self.context.providers
        kept = None if self.lock_step is None else self.lock_step.on_promise_kept
        more = kept, self._first_start_ns if self.context.steps_the_clock else None
        return {
            channel: {
                name: ObservedProvider(
                    provider, channel, name, settings[channel, name], self.context.lifecycles, self.note, *more
                )
                for name, provider in by_name.items()
            }
            for channel, by_name in providers.items()
        }

    def _first_start_ns(self, attempt: Attempt) -> int | None:
        context = self.context
        pipeline = context.pipeline() if attempt.node is None else context.pipeline_of(attempt.node)
        return None if pipeline is None else pipeline.wiring.stages[attempt.command.channel].first_start_ns(attempt)

    # ── what happens ────────────────────────────────────────────────────────────────────────────────────────────

    def record(self, event: RecordedEvent) -> None:
        """Take an event of the history.

        Raises:
            InvariantBreach: it breaks an invariant, or something before it has.
        """
        if self.breach is not None:
            raise self.breach
        try:
            self._record(event)
        except InvariantBreach as breach:
            self._break(breach.invariant, breach.message, event, event.at_ns)
        else:
            self._look(event)
        if self._of_any_event and self.breach is None:
            self._ask(self._of_any_event, event)
        if self.breach is not None:
            raise self.breach
        if type(event) is BreakerTransitioned:
            self._transitions.append(event)

    def note(self, observation: Any) -> None:
        """Take something that is no event of the history.

        A breach ends the run from here as soon as may be. It is not raised: this is called from inside a provider,
        whose errors are its attempts' outcomes.
        """
        if self.breach is None:
            self._look(observation)
            if self.breach is not None and self._system is not None:
                self._system.stop()

    def end(self, now_ns: int) -> None:
        """Look for the last time, when the run has finished and its system has ended.

        Raises:
            InvariantBreach: an invariant is broken.
        """
        if self._message_watch is not None:
            for question in self._message_watch.unanswered():
                self.note(question)
        for invariant in self._invariants:
            if self.breach is None and (objection := invariant.at_end(now_ns)) is not None:
                self._break(_name(invariant), objection, None, now_ns)
        for node in self._nodes:
            for name, objection in node.at_end(now_ns):
                if self.breach is None:
                    self._break(name, objection, None, now_ns)
        if self.breach is not None:
            raise self.breach

    def look_at(self, summary: Mapping[str, Any]) -> None:
        """Look at the summary of a run that has ended.

        Raises:
            InvariantBreach: an invariant is broken.
        """
        for invariant in self._invariants:
            if self.breach is None and (objection := invariant.at_summary(summary)) is not None:
                self._break(_name(invariant), objection, None, ns(summary["simulated_s"]))
        if self.breach is not None:
            raise self.breach

    def _look(self, event: Any) -> None:
        kind = type(event)
        self._ask(self._observers[(event.receiver, type(event.message)) if kind is MessageSent else kind], event)
        if self._nodes and event.node is not None:
            self._look_at_node(self._nodes[event.node - 1], event)
        if kind is not MessageSent:
            self.context.lifecycles.follow(event)
        self._latest.append(event)

    def _look_at_node(self, node: _AtNode, event: Any) -> None:
        if type(event) is NodeTookOver:
            gone = self._nodes[event.from_node - 1]
            node.context.lifecycles.take_over(event.notification_ids, gone.context.lifecycles)
            self._ask(gone.observers[NodeTookOver], event)
        if type(event) is BreakerTransitioned:
            event = msgspec.structs.replace(event, breaker=without_node(event.breaker))
        self._ask(node.observers[_key_of(event)], event)
        node.context.lifecycles.follow(event)

    def _ask(self, observers: Sequence[tuple[str, Observer]], event: Any) -> None:
        for name, observe in observers:
            objection = observe(event)
            if objection is not None and self.breach is None:
                self._break(name, objection, event, event.at_ns)

    def _break(self, name: str, objection: str | Finding, event: Any, at_ns: int) -> None:
        text, notification_id, settings = (objection, None, ()) if isinstance(objection, str) else objection
        notification_id = notification_id or getattr(event, "notification_id", None)
        history = self._history(notification_id, event)
        settings = settings or self._settings.get(name, ())
        place = place_of(event, self.context) or next((place_of(each, self.context) for each in history), None)
        if written := named(self.context, settings, place):
            text = f"{text} ({', '.join(written)})"
        self.breach = InvariantBreach(text, name, at_ns, history=history_lines(history))

    def _break_outside(self, text: str) -> None:
        if self.breach is None:
            self._break(LockStep.name, text, None, 0 if self._system is None else self._system.now_ns)
            if self._system is not None:
                self._system.stop()

    def _history(self, notification_id: str | None, event: Any) -> list[Any]:
        lifecycle = None if notification_id is None else self.context.lifecycles.get(notification_id)
        history: list[Any]
        if lifecycle is not None:
            history = lifecycle.history
        elif type(event) is BreakerTransitioned:
            history = [each for each in self._transitions if (each.breaker, each.host) == (event.breaker, event.host)]
        else:
            history = list(self._latest)
        is_of_it = getattr(event, "notification_id", None) == notification_id or lifecycle is None
        return [*history, event] if event is not None and is_of_it and event not in history[-1:] else history


class _AtNode:
    def __init__(self, number: int, context: Context, invariants: Sequence[Invariant]) -> None:
        self.number = number
        self.context = context.at_node(number)
        self.invariants = [
            type(each)(self.context) for each in invariants if each.of_one_process and each.applies(self.context)
        ]
        self.observers = _Observers(self.invariants)

    def at_end(self, now_ns: int) -> Iterator[tuple[str, str | Finding]]:
        for each in self.invariants:
            if (objection := each.at_end(now_ns)) is not None:
                yield _name(each), objection


def _numbers(context: Context) -> range:
    return range(1, context.nodes + 1) if context.nodes > 1 else range(0)


_Key: TypeAlias = type | tuple[type, type]
"""The type of what is observed; of a message the class of its receiver, and its own type."""


class _Observers(dict[_Key, list[tuple[str, Observer]]]):
    def __init__(self, invariants: Sequence[Invariant]) -> None:
        super().__init__()
        self._of_messages: list[tuple[str, Observer, type[Invariant] | None]] = []
        for invariant in invariants:
            for kind, observers in invariant.observers().items():
                for observe in observers:
                    self.add(_name(invariant), observe, (kind,), type(invariant))

    def add(self, name: str, observe: Observer, kinds: Iterable[type], of: type[Invariant] | None = None) -> None:
        for kind in kinds:
            if kind is MessageSent:
                self._of_messages.append((name, observe, of))
            else:
                self[kind].append((name, observe))

    def __missing__(self, key: _Key) -> list[tuple[str, Observer]]:
        found = self[key] = (
            [(name, observe) for name, observe, of in self._of_messages if of is None or of.observes_message(*key)]
            if isinstance(key, tuple)
            else []
        )
        return found


def _key_of(event: Any) -> _Key:
    return (event.receiver, type(event.message)) if type(event) is MessageSent else type(event)


def _chosen(choice: Choice, context: Context) -> tuple[list[Invariant], list[Observer]]:
    if isinstance(choice, str):
        choice = ["conservation"] if choice == "default" else [choice]
    classes: dict[type[Invariant], None] = {}
    functions: list[Observer] = []
    problems: list[str] = []
    for number, each in enumerate(choice):
        if each == "all":
            classes.update(dict.fromkeys(KNOWN.values()))
        elif isinstance(each, str) and each in KNOWN:
            classes[KNOWN[each]] = None
        elif isinstance(each, type) and issubclass(each, Invariant):
            classes[each] = None
        elif callable(each) and not isinstance(each, type):
            functions.append(each)
        else:
            known = ", ".join(KNOWN)
            problems.append(
                f"invariants.{number}: wanted all, a name ({known}), a subclass of Invariant, or a function of an "
                f"event, got {each!r}"
            )
    if problems:
        raise ConfigurationError(problems)
    return [invariant(context) for invariant in classes if invariant.applies(context)], functions


def _name(invariant: Any) -> str:
    if isinstance(invariant, Invariant):
        return invariant.name or type(invariant).__name__
    return str(getattr(invariant, "__name__", repr(invariant)))
