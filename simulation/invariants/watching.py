"""Looking over the shoulder: providers that are observed, and actor systems that are watched.

Only made for those who look, so that a run that nobody checks does not pay for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import msgspec
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from actors.domain.attempts import Attempt, Provider
from actors.instants import ns
from actors.kernel.actor import Actor, ActorRef
from actors.kernel.async_handlers import Resume, Strike
from actors.kernel.effects import Cancellable, Effect, Foreseen, Performed, Promise
from actors.kernel.futures import Future
from actors.kernel.supervision import Begin
from actors.kernel.system import ActorSystem
from actors.messages import NotificationChannel
from actors.outcomes import Sent
from actors.pipeline.channel import outcome_of
from actors.settings.channel import ChannelConfig
from simulation.invariants.lives import Life, Lives
from simulation.invariants.observations import AttemptMade, MessageTold, Overtaken, Unanswered

S = TypeVar("S", bound=ActorSystem)

Note = Callable[[Any], None]
"""Takes an observation."""

QUESTIONS_BEFORE_A_LOOK = 1024


class ObservedProvider(Provider):
    """A provider every attempt at which is observed."""

    def __init__(
        self,
        provider: Provider,
        channel: NotificationChannel,
        name: str,
        config: ChannelConfig,
        lives: Lives,
        note: Note,
    ) -> None:
        """Make one.

        Args:
            provider: who delivers.
            channel: its channel.
            name: its name there.
            config: the settings that hold for it.
            lives: knows the latest attempt of each notification.
            note: takes an :class:`~simulation.invariants.observations.AttemptMade` for each attempt.
        """
        self._provider = provider
        self.outcomes_are_plain = provider.outcomes_are_plain
        self._channel = channel
        self._name = name
        self._timeout_ns = ns(config.timeout)
        self._hedges = config.hedging is not None
        self._lives = lives
        self._note = note
        self._counts_deliveries = hasattr(provider, "delivered")

    def on_wired(self, system: ActorSystem) -> None:
        self._system = system
        self._provider.on_wired(system)

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
            made = self._observe(attempt, now_ns, foreseen, delivered, isinstance(effect, Promise))
            if isinstance(effect, Promise):
                life = self._lives.get(attempt.command.notification_id)
                effect.when_kept(lambda result: self._kept(made, life, result))

    def _kept(self, made: AttemptMade, life: Life | None, result: Any) -> None:
        """Take note of the answer to an attempt that was promised."""
        self._system.look_at_the_clock()
        now_ns = self._system.now_ns
        if now_ns > made.ends_at_ns:
            return
        made.settle(outcome_of(result), now_ns)
        if made.delivered and life is not None:
            life.undelivered_answers -= 1  # as which it was counted until now

    def _observe(
        self, attempt: Attempt, now_ns: int, foreseen: Foreseen | None, delivered: bool, is_promised: bool
    ) -> AttemptMade:
        notification_id = attempt.command.notification_id
        life = self._lives.get(notification_id)
        answered = foreseen is not None and foreseen.delay_ns <= self._timeout_ns
        takes_ns = foreseen.delay_ns if answered and foreseen is not None else self._timeout_ns
        made = AttemptMade(
            at_ns=now_ns,
            notification_id=notification_id,
            channel=self._channel,
            provider=self._name,
            attempt=attempt,
            outcome=None if foreseen is None else foreseen.result,
            delivered=delivered,
            answered=answered,
            ends_at_ns=now_ns + takes_ns,
            is_promised=is_promised,
            is_copy=self._hedges and life is not None and life.attempt is attempt,
        )
        self._note(made)
        return made


class _Told(msgspec.Struct):
    """A message, with who told it, and the number that it has among all."""

    sender: Actor | None
    number: int
    message: Any


class WatchedSystem(ActorSystem):
    """A mixin: an actor system that knows who tells whom what, and who has not been answered. For one thread.

    What is told travels in an envelope of its own, which each actor is given a handler for, that opens it.
    """

    def watch(self, note: Note, hears: frozenset[type] = frozenset()) -> None:
        """Tell of what happens from now on, before any actor is started.

        Args:
            note: takes the observations.
            hears: the classes of the actors whose every message is told of.
        """
        self._note = note
        self._hears = hears
        self._at_work: Actor | None = None
        """Whose handler is running."""
        self._told = 0
        self._latest: dict[Actor, dict[Actor, int]] = {}
        """By receiver and sender: the number of the latest message that the one has handled from the other."""
        self._questions: list[tuple[Future[Any], Unanswered]] = []
        self._look_at = QUESTIONS_BEFORE_A_LOOK

    def unanswered(self) -> list[Unanswered]:
        """Return the questions that have not been settled."""
        self._questions = [entry for entry in self._questions if not entry[0].done]
        return [msgspec.structs.replace(question, at_ns=self.now_ns) for _, question in self._questions]

    # ── what is told ────────────────────────────────────────────────────────────────────────────────────────────

    def _teller(self, actor: Actor) -> Callable[[Any], None]:
        tell = super()._teller(actor)  # type: ignore[safe-super]  # of the system that it is mixed into

        def tell_watched(message: Any) -> None:
            tell(self._marked(actor, message))

        return tell_watched

    def route(self, ref: ActorRef[Any]) -> Callable[[Any], None]:
        if ref.actor.mailbox.capacity is not None:
            return ref.tell
        actor, tell = ref.actor, super().route(ref)

        def tell_watched(message: Any) -> None:
            tell(self._marked(actor, message))

        return tell_watched

    def set_timer(self, instant_ns: int, actor: Actor, message: Any) -> Cancellable:
        if type(message) not in _OF_THE_SYSTEM:
            message = _Told(None, 0, message)  # so that it is known who is at work when it comes
        return super().set_timer(instant_ns, actor, message)  # type: ignore[safe-super]  # see above

    def _enqueue(self, actor: Actor, message: Any) -> None:
        if type(message) is Performed:  # of what was promised
            message = _Told(None, 0, message)
        super()._enqueue(actor, message)

    def perform(
        self, actor: Actor, effect: Effect, request: Any, timeout_ns: int | None = None, on_timeout: Any = None
    ) -> Cancellable:
        return ActorSystem.perform(self, actor, effect, request, timeout_ns, on_timeout)

    def _marked(self, actor: Actor, message: Any) -> Any:
        is_question = type(message) is Envelope
        content = message.message if is_question else message
        if isinstance(content, _ActorStop):
            return message
        run = self._run_now
        sender = self._at_work if run is None else run.actor
        self._told += 1
        if type(actor) in self._hears:
            told_by = None if sender is None else type(sender)
            self._note(MessageTold(at_ns=self.now_ns, sender=told_by, receiver=type(actor), message=content))
        told = _Told(sender, self._told, content)
        return Envelope(told, reply_to=message.reply_to) if is_question else told

    def _ask(self, ref: ActorRef[Any], message: Any) -> Future[Any]:
        future = super()._ask(ref, message)
        question = Unanswered(at_ns=0, asked_at_ns=self.now_ns, receiver=type(ref.actor).__name__, message=message)
        self._questions.append((future, question))
        if len(self._questions) > self._look_at:
            self._look_at = QUESTIONS_BEFORE_A_LOOK + 2 * len(self.unanswered())
        return future

    # ── what is handled ─────────────────────────────────────────────────────────────────────────────────────────

    def _start_life(self, actor: Actor) -> None:
        self._at_work = actor
        try:
            super()._start_life(actor)
        finally:
            self._at_work = None
        if not actor._coroutine:
            actor._plain[_Told] = self._opener(actor)  # the short way; what may wait comes by `_handle`

    def _opener(self, actor: Actor) -> Callable[[_Told], None]:
        latest, plain = self._latest.setdefault(actor, {}), actor._plain

        def open_and_handle(told: _Told) -> None:
            sender = told.sender
            if sender is not None:
                if latest.get(sender, 0) > told.number:
                    self._note_overtaken(actor, told)
                else:
                    latest[sender] = told.number
            message = told.message
            handler = plain.get(type(message))
            self._at_work = actor
            try:
                if handler is None:
                    super(WatchedSystem, self)._handle(actor, message)
                else:
                    handler(message)
            finally:
                self._at_work = None

        return open_and_handle

    def _handle(self, actor: Actor, message: Any) -> Any:
        is_question = type(message) is Envelope
        told = message.message if is_question else message
        if type(told) is _Told:
            latest = self._latest.setdefault(actor, {})
            if told.sender is not None:
                if latest.get(told.sender, 0) > told.number:
                    self._note_overtaken(actor, told)
                else:
                    latest[told.sender] = told.number
            message = Envelope(told.message, reply_to=message.reply_to) if is_question else told.message
        self._at_work = actor
        try:
            return super()._handle(actor, message)
        finally:
            self._at_work = None

    def _note_overtaken(self, actor: Actor, told: _Told) -> None:
        assert told.sender is not None
        self._note(
            Overtaken(
                at_ns=self.now_ns,
                sender=type(told.sender).__name__,
                receiver=type(actor).__name__,
                message=told.message,
            )
        )

    def _not_delivered(self, actor: Actor, message: Any, reason: str) -> None:
        super()._not_delivered(actor, message.message if type(message) is _Told else message, reason)

    def _failed(self, actor: Actor, message: Any, error: Exception, *args: Any) -> None:
        super()._failed(actor, message.message if type(message) is _Told else message, error, *args)

    def _terminated(self, actor: Actor, error: Exception | None) -> None:
        super()._terminated(actor, error)
        self._latest.pop(actor, None)
        for latest in self._latest.values():
            latest.pop(actor, None)


_OF_THE_SYSTEM = frozenset({Resume, Strike, Begin})

_watched: dict[type[ActorSystem], type[ActorSystem]] = {}


def watched(system_class: type[S]) -> type[S]:
    """Return a class of systems that are as those of `system_class`, and watched."""
    known = _watched.get(system_class)
    if known is None:
        known = _watched[system_class] = type(f"Watched{system_class.__name__}", (WatchedSystem, system_class), {})
    return cast("type[S]", known)
