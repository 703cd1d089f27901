"""Observing a run: its providers, and which actor sends which message to which.

Only made for invariants that look, so that a run without them does not pay for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import msgspec

from actors.domain.attempts import Attempt, Provider, WrappedProvider
from actors.instants import ns
from actors.kernel.actor import NOTHING, Actor, ActorRef
from actors.kernel.effects import Cancellable, Effect, Foreseen, Performed, Promise
from actors.kernel.futures import Future
from actors.kernel.interceptors import Interceptor, Next
from actors.kernel.mailbox import Envelope, Stop
from actors.kernel.system import ActorSystem
from actors.messages import NotificationChannel
from actors.outcomes import Outcome, Sent
from actors.pipeline.channel import outcome_of
from actors.pipeline.circuit_breaker import CircuitBreakerActor
from actors.pipeline.deduplicating import DeduplicatingBreaker, DeduplicatingLimiter
from actors.pipeline.rate_limiter import RateLimiterActor
from actors.settings.channel import ChannelConfig
from simulation.verification.laws.lifecycles import Lifecycle, Lifecycles, cut_ns
from simulation.verification.laws.observations import AttemptMade, MessageSent, OutOfTurn, Overtaken, Unanswered

Note = Callable[[Any], None]

QUESTIONS_BEFORE_A_LOOK = 1024
TIMERS_BEFORE_A_LOOK = 4096

IN_PLACE_OF: Mapping[type, type] = {DeduplicatingLimiter: RateLimiterActor, DeduplicatingBreaker: CircuitBreakerActor}
"""Stages that take the place of others where messages may come twice; what they are sent is observed as if by those."""


class ObservedProvider(WrappedProvider):
    """A provider every attempt at which is observed."""

    def __init__(
        self,
        provider: Provider,
        channel: NotificationChannel,
        name: str,
        config: ChannelConfig,
        lifecycles: Lifecycles,
        note: Note,
        kept: Callable[[AttemptMade, Outcome, int], None] | None = None,
        first_start_ns: Callable[[Attempt], int | None] | None = None,
    ) -> None:
        """Make one: `note` takes each attempt, and `kept` each answer that was promised, as it comes.

        `first_start_ns` returns when the first attempt of a notification began, as its node knows; None: the history
        says that, as no clock steps by which it is read after a crash.
        """
        super().__init__(provider)
        self.outcomes_are_plain = provider.outcomes_are_plain
        self._channel = channel
        self._name = name
        self._timeout_ns = ns(config.timeout)
        self._deadline_s = config.deadline
        self._hedges = config.hedging is not None
        self._lifecycles = lifecycles
        self._note = note
        self._tell_kept = kept
        self._first_start_ns = first_start_ns
        self._counts_deliveries = hasattr(provider, "delivered")

    def on_wired(self, system: ActorSystem) -> None:
        self._system = system
        super().on_wired(system)

    def attempt(self, attempt: Attempt, now_ns: int) -> Effect:
        provider = self._provider
        before: int = provider.delivered if self._counts_deliveries else 0  # type: ignore[attr-defined]
        effect: Effect | None = None
        try:
            effect = provider.attempt(attempt, now_ns)
            return effect
        finally:
            foreseen = effect if type(effect) is Foreseen else None
            # One that counts has delivered also where the answer is lost.
            delivered = (
                provider.delivered != before  # type: ignore[attr-defined]
                if self._counts_deliveries
                else foreseen is not None and type(foreseen.result) is Sent
            )
            promise = effect if isinstance(effect, Promise) else None
            made = self._observe(attempt, now_ns, foreseen, delivered, promise is not None)
            if promise is not None:
                lifecycle = self._lifecycles.get(attempt.command.notification_id)
                promise.when_kept(lambda result: self._kept(made, lifecycle, result))

    def _kept(self, made: AttemptMade, lifecycle: Lifecycle | None, result: Any) -> None:
        self._system.look_at_the_clock()
        now_ns, outcome = self._system.now_ns, outcome_of(result)
        if self._tell_kept is not None:
            self._tell_kept(made, outcome, now_ns)
        if now_ns > made.ends_at_ns:
            return
        made.settle(outcome, now_ns)
        if made.delivered and lifecycle is not None:
            lifecycle.undelivered_answers -= 1  # as which it was counted until now

    def _observe(
        self, attempt: Attempt, now_ns: int, foreseen: Foreseen | None, delivered: bool, is_promised: bool
    ) -> AttemptMade:
        notification_id = attempt.command.notification_id
        left_ns, began_ns, lifecycle = self._timeout_ns, None, None
        if self._hedges or self._deadline_s is not None:
            lifecycle = self._lifecycles.get(notification_id)
        if self._hedges and lifecycle is not None:
            began_ns = lifecycle.began_ns(attempt)
            left_ns -= 0 if began_ns is None else now_ns - began_ns  # copies share one time-out
        if self._deadline_s is not None:
            starts_ns = began_ns or now_ns
            if self._first_start_ns is not None:
                starts_ns, lifecycle = min(starts_ns, self._first_start_ns(attempt) or starts_ns), None
            left_ns = min(left_ns, cut_ns(lifecycle, self._deadline_s, starts_ns) - now_ns)
        answered = foreseen is not None and foreseen.delay_ns <= left_ns
        takes_ns = foreseen.delay_ns if answered and foreseen is not None else left_ns
        made = AttemptMade(
            at_ns=now_ns,
            node=attempt.node,
            notification_id=notification_id,
            channel=self._channel,
            provider=self._name,
            attempt=attempt,
            outcome=None if foreseen is None else foreseen.result,
            delivered=delivered,
            answered=answered,
            ends_at_ns=now_ns + takes_ns,
            is_promised=is_promised,
            foreseen_ns=None if foreseen is None else foreseen.delay_ns,
            is_copy=began_ns is not None,
        )
        self._note(made)
        return made


Wants = Callable[[type, type], bool]
"""Tells whether any invariant observes messages of a type, to actors of a class: the class first."""


class _Sending(msgspec.Struct, gc=False):
    sender: Actor | None
    number: int
    message: Any


class MessageWatch(Interceptor):
    """Knows which actor sends what to which, and which questions are not answered. For one thread.

    What is sent travels in an envelope of its own, which each actor is given a handler for, that opens it.
    """

    def __init__(self, note: Note, wants: Wants = lambda receiver, message: False) -> None:
        self._note = note
        self._wants = wants
        self._at_work: Actor | None = None
        """The actor whose handler is running."""
        self._sent_count = 0
        self._latest: dict[Actor, dict[Actor, int]] = {}
        """By receiver and sender: the number of the latest message that the one has handled from the other."""
        self._questions: list[tuple[Future[Any], Unanswered]] = []
        self._look_at = QUESTIONS_BEFORE_A_LOOK

    def unanswered(self) -> list[Unanswered]:
        self._questions = [entry for entry in self._questions if not entry[0].done]
        return [msgspec.structs.replace(question, at_ns=self.system.now_ns) for _, question in self._questions]

    # ── what is sent ────────────────────────────────────────────────────────────────────────────────────────────

    def telling(self, go_on: Next, actor: Actor) -> Callable[[Any], None]:
        system, note = self.system, self._note
        receiver, node = IN_PLACE_OF.get(type(actor), type(actor)), actor.process.node_number
        wants: Callable[[type], bool] = cache(partial(self._wants, receiver))

        def tell(message: Any) -> None:
            is_question = type(message) is Envelope
            content = message.message if is_question else message
            kind = type(content)
            if kind is Stop:
                go_on(message)
                return
            run = system._run_now
            sender = self._at_work if run is None else run.actor
            self._sent_count += 1
            if wants(kind):
                sender_class = None if sender is None else IN_PLACE_OF.get(type(sender), type(sender))
                now_ns = system.now_ns
                note(MessageSent(at_ns=now_ns, node=node, sender=sender_class, receiver=receiver, message=content))
            sent = _Sending(sender, self._sent_count, content)
            go_on(Envelope(sent, reply_to=message.reply_to) if is_question else sent)

        return tell

    def ask(self, go_on: Next, ref: ActorRef[Any], message: Any) -> Future[Any]:
        future: Future[Any] = go_on(ref, message)
        asked_at_ns = self.system.now_ns
        receiver = ref.actor
        question = Unanswered(
            at_ns=0,
            node=receiver.process.node_number,
            asked_at_ns=asked_at_ns,
            receiver=type(receiver).__name__,
            message=message,
        )
        self._questions.append((future, question))
        if len(self._questions) > self._look_at:
            self._look_at = QUESTIONS_BEFORE_A_LOOK + 2 * len(self.unanswered())
        return future

    # ── what is handled ─────────────────────────────────────────────────────────────────────────────────────────

    def start(self, go_on: Next, actor: Actor) -> None:
        self._at_work = actor
        try:
            go_on(actor)
        finally:
            self._at_work = None
        handlers = dict(actor._plain)
        for kind, handler in handlers.items():
            actor._plain[kind] = partial(self._come, actor, handler)
        if not actor._incarnation.async_handlers:
            # The short way for what is sent; what may wait comes by `handle`.
            actor._plain[_Sending] = partial(self._open, actor, handlers, self._latest.setdefault(actor, {}))

    def _at_work_on(self, actor: Actor, handler: Callable[[Any], Any], message: Any) -> Any:
        self._at_work = actor
        try:
            return handler(message)
        finally:
            self._at_work = None

    _come = _at_work_on
    """Have what was not sent come to its handler: what falls due, and effects that are done."""

    def _open(
        self, actor: Actor, handlers: Mapping[type, Callable[[Any], Any]], latest: dict[Actor, int], sent: _Sending
    ) -> None:
        handler = handlers.get(type(sent.message))
        if handler is None:
            self.system._handle(actor, sent)
            return
        sender = sent.sender
        if sender is not None:
            if latest.get(sender, 0) <= sent.number:
                latest[sender] = sent.number
            else:
                self._overtaken(actor, sender, sent.message)
        self._at_work = actor
        try:
            handler(sent.message)
        finally:
            self._at_work = None

    def handle(self, go_on: Next, actor: Actor, message: Any) -> Any:
        is_question = type(message) is Envelope
        sent = message.message if is_question else message
        if type(sent) is _Sending:
            latest = self._latest.setdefault(actor, {})
            if sent.sender is not None and latest.get(sent.sender, 0) > sent.number:
                self._overtaken(actor, sent.sender, sent.message)
            elif sent.sender is not None:
                latest[sent.sender] = sent.number
            message = Envelope(sent.message, reply_to=message.reply_to) if is_question else sent.message
        return self._at_work_on(actor, partial(go_on, actor), message)

    def _overtaken(self, actor: Actor, sender: Actor, message: Any) -> None:
        self._note(
            Overtaken(
                at_ns=self.system.now_ns,
                node=actor.process.node_number,
                sender=type(sender).__name__,
                receiver=type(actor).__name__,
                message=message,
            )
        )

    def lose(self, go_on: Next, actor: Actor, message: Any, reason: str) -> None:
        go_on(actor, _content(message), reason)

    def fail(
        self, go_on: Next, actor: Actor, message: Any, error: Exception, restart_after_ns: int | None = None
    ) -> None:
        go_on(actor, _content(message), error, restart_after_ns)

    def end(self, go_on: Next, actor: Actor, error: Exception | None) -> None:
        go_on(actor, error)
        self._latest.pop(actor, None)
        for latest in self._latest.values():
            latest.pop(actor, None)


class TimerWatch(MessageWatch):
    """Knows in which order timers and effects were set, too."""

    def __init__(self, note: Note, wants: Wants = lambda receiver, message: False) -> None:
        super().__init__(note, wants)
        self._set: dict[tuple[int, int, int], deque[tuple[int, Any, Any]]] = {}
        """By actor, what comes to it and when: the numbers of those that were set, in order, each with what comes, and
        with what may have been cancelled."""
        self._set_count = 0
        self._forgets_at = TIMERS_BEFORE_A_LOOK
        self._latest_of = (-1, 0)
        """The instant of the latest that has come, and its number."""
        self._kept: dict[Actor, list[Any]] = {}
        """By actor that is down, or has just come back: what fell due meanwhile, which comes out of its mailbox."""

    def deliver(self, go_on: Next, actor: Actor, message: Any) -> Any:
        is_down = actor._accepting is NOTHING and not actor.actor_stopped.is_set()
        if is_down and self._number_of(actor, message) is not None:
            self._kept.setdefault(actor, []).append(message)
        return go_on(actor, message)

    def set_timer(self, go_on: Next, instant_ns: int, actor: Actor, message: Any) -> Cancellable:
        timer: Cancellable = go_on(instant_ns, actor, message)
        self._take_note_of(actor, message, max(instant_ns, self.system.now_ns), timer)
        return timer

    def perform(
        self,
        go_on: Next,
        actor: Actor,
        effect: Effect,
        request: Any,
        timeout_ns: int | None = None,
        on_timeout: Any = None,
    ) -> Cancellable:
        begun: Cancellable = go_on(actor, effect, request, timeout_ns, on_timeout)
        if type(effect) is Foreseen:
            takes_ns = effect.delay_ns if timeout_ns is None else min(effect.delay_ns, timeout_ns)
            self._take_note_of(actor, request, self.system.now_ns + takes_ns, begun)
        return begun

    def _take_note_of(self, actor: Actor, what: Any, instant_ns: int, timer: Any) -> None:
        self._set_count += 1
        key, entry = (id(actor), id(what), instant_ns), (self._set_count, what, timer)
        if (numbers := self._set.get(key)) is None:
            self._set[key] = deque((entry,))
        else:
            numbers.append(entry)
        if len(self._set) > self._forgets_at:  # those that were cancelled
            now_ns = self.system.now_ns
            self._set = {key: numbers for key, numbers in self._set.items() if key[2] >= now_ns}
            self._forgets_at = TIMERS_BEFORE_A_LOOK + 2 * len(self._set)

    def end(self, go_on: Next, actor: Actor, error: Exception | None) -> None:
        super().end(go_on, actor, error)
        self._kept.pop(actor, None)

    def _come(self, actor: Actor, handler: Callable[[Any], Any], message: Any) -> Any:
        was_kept = bool(self._kept) and self._was_kept(actor, message)
        number, now_ns = None if was_kept else self._number_of(actor, message), self.system.now_ns
        if number is not None:
            if self._latest_of > (now_ns, number):
                receiver, node = type(actor).__name__, actor.process.node_number
                self._note(OutOfTurn(at_ns=now_ns, node=node, receiver=receiver, message=message))
            else:
                self._latest_of = now_ns, number
        return self._at_work_on(actor, handler, message)

    def _was_kept(self, actor: Actor, message: Any) -> bool:
        """Tell whether a message comes out of the mailbox of an actor that was down, where it fell due before."""
        kept = self._kept.get(actor, [])
        for place, each in enumerate(kept):
            if each is message:
                del kept[place]
                return True
        return False

    def _number_of(self, actor: Actor, message: Any) -> int | None:
        what = message.request if type(message) is Performed else message
        key = id(actor), id(what), self.system.now_ns
        if (numbers := self._set.get(key)) is None:
            return None
        number, _, timer = numbers.popleft()
        while numbers and timer.message is None:  # it was cancelled, and the same was set once more
            number, _, timer = numbers.popleft()
        if not numbers:
            del self._set[key]
        return number


def _content(message: Any) -> Any:
    return message.message if type(message) is _Sending else message
