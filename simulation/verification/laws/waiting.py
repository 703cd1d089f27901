"""How many attempts wait at the stages of a channel is how many have come there and not gone."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, TypeAlias

from actors.domain.attempts import Attempt, FlushQueue
from actors.kernel.actor import Actor
from actors.messages import ActorFailed, DeferralCause, NotificationChannel, NotificationDeferred
from actors.pipeline.channel import Channel
from actors.pipeline.circuit_breaker import CircuitBreakerActor
from actors.pipeline.handler import Handler
from actors.pipeline.hedging_channel import HedgingChannel
from actors.pipeline.rate_limiter import RateLimiterActor
from simulation.verification.laws.base import Context, Invariant, Objection, observes
from simulation.verification.laws.lifecycles import ON_THE_WAY, PROCESS
from simulation.verification.laws.observations import OF_ATTEMPTS, MessageSent

_COUNTS: dict[type[Actor], Callable[[Any], tuple[Any, ...]]] = {
    RateLimiterActor: lambda waiting: (waiting.users,),
    CircuitBreakerActor: attrgetter("tenants", "quota", "slots", "breaker"),
}
"""By the stages at which attempts wait, what these are counted by."""

_NAMES: dict[type[Actor], str] = {RateLimiterActor: "users' limits", CircuitBreakerActor: "room at the providers"}

_Place: TypeAlias = tuple[NotificationChannel, type]


class _Stage:
    def __init__(self) -> None:
        self.there: dict[str, Attempt] = {}
        self.doubted: dict[str, Attempt] = {}
        """The attempts that were there before some stage forgot all of its own: of this channel, or of another one."""
        self.most = 0
        """How many were there at once at most, if only within an instant."""

    def come(self, attempt: Attempt) -> None:
        notification_id = attempt.command.notification_id
        self.doubted.pop(notification_id, None)
        self.there[notification_id] = attempt
        count = len(self.there) + len(self.doubted)
        if count > self.most:
            self.most = count

    def let_go(self, attempt: Attempt) -> None:
        """Take note that one is going, if it is there: it may be counted still, or no more."""
        notification_id = attempt.command.notification_id
        if self.there.get(notification_id) is attempt:  # else it has been sent again behind this one
            self.doubted[notification_id] = self.there.pop(notification_id)

    def leave(self, attempt: Attempt) -> None:
        notification_id = attempt.command.notification_id
        for those in (self.there, self.doubted):
            if those and those.get(notification_id) is attempt:
                del those[notification_id]

    def doubt(self) -> None:
        """Take note that it may have forgotten all."""
        self.doubted |= self.there
        self.there.clear()


class Waiting(Invariant):
    """The count of attempts that wait at a stage, whose peaks are in the summary, is the number that have come there
    and not gone; and no peak is more than were ever there at once. An attempt deferred for a breaker or a rate is
    counted there.

    Looked at when an instant is over, and where nothing lies in the mailbox of a stage that has crashed.
    """

    name = "waiting"
    of_one_process = True
    receivers = frozenset({*_COUNTS, Channel, HedgingChannel, Handler})
    messages = OF_ATTEMPTS
    needs_order = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        places = [(channel, kind) for channel in context.channels for kind in _COUNTS]
        self._stages: dict[_Place, _Stage] = {place: _Stage() for place in places}
        self._changed: set[_Place] = set()
        self._now_ns = 0

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> None:
        if event.actor == PROCESS:
            for stage in self._stages.values():
                stage.there.clear()
                stage.doubted.clear()
        elif event.actor in ON_THE_WAY:
            for stage in self._stages.values():
                stage.doubt()

    @observes(NotificationDeferred)
    def on_deferred(self, event: NotificationDeferred) -> Objection:
        pipeline = self.context.pipeline()
        if pipeline is None or event.cause == DeferralCause.QUIET_HOURS:
            return None
        counted_by = ["users", "tenants", "quota"]
        if event.cause == DeferralCause.CIRCUIT_BREAKER:
            # Or for a slot, where it is a breaker at one provider, and at another one a slot.
            counted_by = ["breaker", "slots"][: len(self.context.channels[event.channel].by_provider())]
        counts = pipeline.wiring.stages[event.channel].waiting
        if any(getattr(counts, name).now for name in counted_by):
            return None
        return f"{event.notification_id} is said to wait ({event.cause}), and none is counted among those that do"

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> Objection:
        message = sent.message
        attempt = message if type(message) is Attempt else getattr(message, "attempt", None)
        if type(attempt) is not Attempt:
            wrong = self._look_before(sent.at_ns)
            if type(message) is FlushQueue:
                for channel in self.context.channels:  # it is not known of which one
                    if (stage := self._at(channel, sent.receiver)) is not None:
                        stage.doubt()
            return wrong
        channel = attempt.command.channel
        sender = self._at(channel, sent.sender)
        if sender is not None:
            sender.let_go(attempt)
        wrong = self._look_before(sent.at_ns)
        if sender is not None:
            sender.leave(attempt)
        if (receiver := self._at(channel, sent.receiver)) is not None:
            receiver.come(attempt)
        return wrong

    def _at(self, channel: NotificationChannel, kind: type | None) -> _Stage | None:
        if kind not in _COUNTS:
            return None
        self._changed.add((channel, kind))
        return self._stages[channel, kind]

    def _look_before(self, now_ns: int) -> Objection:
        """Look at the instant before, where this is the first that happens at another one."""
        if now_ns == self._now_ns:
            return None
        self._now_ns = now_ns
        return self._look()

    def _look(self) -> Objection:
        pipeline = self.context.pipeline() if self._changed else None
        if pipeline is None or not self.context.lifecycles.is_settled(self._now_ns):
            return None
        for channel, kind in self._changed:
            stage = self._stages[channel, kind]
            counted, there, most = 0, len(stage.there), 0
            for each in _COUNTS[kind](pipeline.wiring.stages[channel].waiting):
                counted += each.now
                if each.peak > most:
                    most = each.peak
            if not there <= counted <= there + len(stage.doubted):
                return f"{counted} are counted as waiting for {_NAMES[kind]} of {channel}, where {there} do"
            if most > stage.most:
                return (
                    f"the most that waited for {_NAMES[kind]} of {channel} is said to be {most}, and there were never "
                    f"more than {stage.most}"
                )
        self._changed.clear()
        return None

    def at_end(self, now_ns: int) -> Objection:
        self._now_ns = now_ns
        return self._look()
