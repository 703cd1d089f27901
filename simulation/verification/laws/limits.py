"""No limit is exceeded: those of users, the quotas of providers, and bulkheads."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from actors.domain.attempts import Admitted, Attempt
from actors.messages import ActorFailed, NotificationChannel
from actors.outcomes import Ambiguous, Transient
from actors.pipeline.channel import Channel
from actors.pipeline.circuit_breaker import CircuitBreakerActor
from actors.pipeline.hedging_channel import HedgingChannel
from actors.pipeline.rate_limiter import RateLimiterActor
from actors.settings.rate_limit import RateLimitConfig
from simulation.verification.laws.base import Context, Finding, Invariant, Objection, observes
from simulation.verification.laws.feedback import let_through_in, provider_of
from simulation.verification.laws.lifecycles import PROCESS
from simulation.verification.laws.meters import Meter, longest_window_ns, meters_of
from simulation.verification.laws.observations import AttemptMade, MessageSent

_MANY = 1024


class _Counted(Invariant):
    """The base of those that count by key what a limit has let through. A process that starts again knows of none."""

    of_one_process = True
    needs_order = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._meters: dict[Hashable, tuple[int, int, list[Meter]]] = {}
        """By key, when it has counted last, for how long that matters, and the meters."""
        self._many = _MANY

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> None:
        if event.actor == PROCESS:
            self._meters.clear()

    def count(self, key: Hashable, limit: RateLimitConfig, now_ns: int) -> str | None:
        """Count one more; return what is too much, or None."""
        _, width_ns, meters = self._meters.get(key) or (0, longest_window_ns(limit), meters_of(limit))
        self._meters[key] = now_ns, width_ns, meters
        if len(self._meters) > self._many:
            self._meters = {each: known for each, known in self._meters.items() if sum(known[:2]) > now_ns}
            self._many = max(_MANY, 2 * len(self._meters))
        return next(filter(None, [meter.add(now_ns) for meter in meters]), None)


class UserLimit(_Counted):
    """No user gets more notifications than the channel's `rate_limit` allows, in any of its windows. A notification
    counts once, at the instant at which its first attempt passes the limiter, and its retries pass."""

    name = "user-limit"
    settings = ("rate_limit",)
    receivers = frozenset({CircuitBreakerActor})
    messages = frozenset({Attempt})
    needs = ("rate_limit",)

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> Objection:
        attempt, command = sent.message, sent.message.command
        limit = self.context.channels[command.channel].rate_limit
        if sent.sender is not RateLimiterActor or attempt.charged or limit is None or not command.user:
            return None
        if (text := self.count((command.channel, command.user), limit, sent.at_ns)) is None:
            return None
        text = f"{command.user} gets more by {command.channel} than allowed: {text}"
        return Finding(text, command.notification_id)


class Quota(_Counted):
    """No more is let through to a provider than its `quota` allows, in any of its windows; every copy counts.

    What lies in the mailbox of a channel that is down comes to its provider late, and may be more than that at once.
    """

    name = "quota"
    settings = ("quota",)
    receivers = frozenset({Channel, HedgingChannel})
    messages = frozenset({Admitted})
    needs = ("quota",)

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> Objection:
        admitted = let_through_in(sent)
        if admitted is None:
            return None
        return self._look(*provider_of(admitted), sent.at_ns, admitted.attempt.command.notification_id)

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Objection:
        return self._look(made.channel, made.provider, made.at_ns, made.notification_id) if made.is_copy else None

    def _look(self, channel: NotificationChannel, provider: str, now_ns: int, notification_id: str) -> Objection:
        quota = self.context.providers[channel, provider].quota
        if quota is None or (text := self.count(quota.account or (channel, provider), quota, now_ns)) is None:
            return None
        return Finding(
            f"the {provider} provider of {channel} is asked more often than its quota: {text}", notification_id
        )


class Bulkhead(Invariant):
    """No more attempts are under way at a provider than its channel has slots; further copies of one are no attempts.

    A process that starts again does not know what is still under way.
    """

    name = "bulkhead"
    of_one_process = True
    settings = ("max_in_flight", "concurrency_limit")
    needs_order = True
    needs = ("max_in_flight", "concurrency_limit")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._slots: dict[tuple[NotificationChannel, str], int] = {}
        for key, config in context.providers.items():
            adaptive = config.concurrency_limit
            bounds = [config.slots, None if adaptive is None else adaptive.maximum]
            if (slots := min((bound for bound in bounds if bound is not None), default=None)) is not None:
                self._slots[key] = slots
        self._under_way: dict[tuple[NotificationChannel, str], dict[int, list[AttemptMade]]] = {
            key: {} for key in self._slots
        }
        """By the identity of each attempt: its sends; one that has ended may be left there for a while."""

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> None:
        if event.actor == PROCESS:
            for under_way in self._under_way.values():
                under_way.clear()

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Objection:
        key = made.channel, made.provider
        slots = self._slots.get(key)
        if slots is None:
            return None
        under_way, number = self._under_way[key], id(made.attempt)
        if made.is_copy:
            if number in under_way:
                under_way[number].append(made)
            return None
        under_way[number] = [made]
        if len(under_way) <= slots:
            return None
        for other in [other for other, sends in under_way.items() if _ends_at_ns(sends) <= made.at_ns]:
            del under_way[other]
        if len(under_way) <= slots:
            return None
        place = f"at the {made.provider} provider of {made.channel}"
        return f"{len(under_way)} attempts are under way {place}, of at most {slots}"


class SlotsGivenBack(Invariant):
    """When all attempts at the providers have ended, none holds a slot any more.

    Where messages are late, what gives it back may still be on its way.
    """

    name = "slots-given-back"
    of_one_process = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._ended_ns = -1
        """When all have ended that were made; what is promised ends at its timeout, or before."""
        self._gone: object = None
        """The pipeline of the latest process that has crashed, or was stopped."""

    @classmethod
    def applies(cls, context: Context) -> bool:
        return super().applies(context) and all(fault.reorder is None for fault in context.faults)

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> None:
        if event.actor == PROCESS:
            self._gone = self.context.pipeline()

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> None:
        self._ended_ns = max(self._ended_ns, made.ends_at_ns)

    def at_end(self, now_ns: int) -> Objection:
        pipeline = self.context.pipeline()
        if pipeline is None or pipeline is self._gone:
            return None
        if now_ns <= self._ended_ns or not self.context.lifecycles.is_settled(now_ns):
            return None
        for channel, stages in pipeline.wiring.stages.items():
            if stages.in_flight:
                return f"all attempts on {channel} have ended, and {stages.in_flight} still count as under way"
            if held := sum(lane.reserved for lane in stages.lanes):
                return f"all notifications on {channel} have ended, and {held} slots are still held"
        return None


def _ends_at_ns(sends: Sequence[AttemptMade]) -> int:
    """Return when an attempt ends: its first send does, or a further copy that decides."""
    first, *copies = sends
    deciding = [copy for copy in copies if copy.answered and not isinstance(copy.outcome, (Transient, Ambiguous))]
    return min(each.ends_at_ns for each in (first, *deciding))
