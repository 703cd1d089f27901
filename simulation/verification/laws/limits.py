"""No limit is exceeded: those of users, the quotas of providers, and bulkheads."""

from __future__ import annotations

from collections.abc import Sequence

from actors.domain.attempts import RATE_LIMIT_EXCEEDED, Attempt, Rejected, Requeued
from actors.formatting import seconds_text
from actors.messages import (
    ActorFailed,
    DeadLetterDiscarded,
    DeferralCause,
    NotificationChannel,
    NotificationDeferred,
    NotificationEvent,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
)
from actors.outcomes import Ambiguous, Transient
from actors.pipeline.channel import Channel
from actors.pipeline.circuit_breaker import CircuitBreakerActor
from actors.pipeline.handler import Handler
from actors.pipeline.hedging_channel import HedgingChannel
from actors.pipeline.rate_limiter import RateLimiterActor
from simulation.verification.laws.base import Context, Finding, Invariant, Objection, observes
from simulation.verification.laws.feedback import Key, let_through_in, provider_of
from simulation.verification.laws.lifecycles import PROCESS
from simulation.verification.laws.meters import Meter, longest_window_ns, meters_of
from simulation.verification.laws.observations import AttemptMade, MessageSent

_MANY = 1024


class UserLimit(Invariant):
    """No user gets more notifications than the channel's `rate_limit` allows, in any of its windows; and none has to
    wait, or is dropped, where one more would be allowed, or waits for what comes after it has expired.

    A notification counts once, at the instant at which its first attempt passes the limiter, and its retries pass. A
    process that starts again knows of none before.
    """

    name = "user-limit"
    of_one_process = True
    settings = ("rate_limit",)
    receivers = frozenset({RateLimiterActor, CircuitBreakerActor, Handler})
    needs_order = True
    needs = ("rate_limit",)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._limits = {
            channel: config.rate_limit for channel, config in context.channels.items() if config.rate_limit is not None
        }
        self._new_meters = {channel: meters_of(limit) for channel, limit in self._limits.items()}
        self._meters: dict[tuple[NotificationChannel, str], tuple[int, list[Meter]]] = {}
        """By channel and user; with the instant at which each last counted anything."""
        self._many = _MANY
        self._at_limiter: dict[str, Attempt] = {}
        """The attempts that have come to a limiter and not gone on."""
        self._counted: set[str] = set()
        """The notifications that have been counted and have not ended."""
        self._in_line: dict[tuple[NotificationChannel, str], int] = {}
        """By channel and user: until when others wait in whose line one has to wait as well."""
        self._waiting: dict[tuple[NotificationChannel, str], set[str]] = {}
        """By channel and user: those in this line; none is empty."""

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> None:
        if event.actor == PROCESS:  # with all that it had counted
            self._meters.clear()
            self._at_limiter.clear()
            self._counted.clear()
            self._in_line.clear()
            self._waiting.clear()

    @observes(NotificationRequested, NotificationSent, NotificationSuppressed, DeadLetterDiscarded)
    def on_begin_or_end(self, event: NotificationEvent) -> None:
        """Forget that it counts; the end of what had its id before may have been at another node."""
        self._counted.discard(event.notification_id)
        if (attempt := self._at_limiter.get(event.notification_id)) is not None:
            self._leave(attempt)

    @observes(NotificationDeferred)
    def on_deferred(self, deferred: NotificationDeferred) -> Objection:
        attempt = self._at_limiter.get(deferred.notification_id)
        if attempt is None or deferred.cause is not DeferralCause.RATE_LIMIT:
            return None
        breach = None if self._may_wait_behind(deferred) else self._undue_wait(attempt, deferred)
        key = deferred.channel, attempt.command.user
        self._in_line[key] = max(self._in_line.get(key, 0), deferred.resumes_at_ns or 0)
        self._waiting.setdefault(key, set()).add(deferred.notification_id)
        return breach

    def _undue_wait(self, attempt: Attempt, deferred: NotificationDeferred) -> Objection:
        until_ns, expires_ns = deferred.resumes_at_ns, attempt.expires_at_ns
        if until_ns is not None and expires_ns is not None and until_ns > expires_ns:
            return (
                f"{deferred.notification_id} is to wait until {seconds_text(until_ns)} for the limit of "
                f"{attempt.command.user}, and has expired by then, at {seconds_text(expires_ns)}"
            )
        return self._undue(attempt, deferred.at_ns, "has to wait")

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> Objection:
        attempt = sent.message
        if type(attempt) in (Rejected, Requeued) and sent.sender is RateLimiterActor:
            self._leave(attempt.attempt)
        if type(attempt) is Rejected and sent.sender is RateLimiterActor:
            dropped = attempt.reason == RATE_LIMIT_EXCEEDED
            return self._undue(attempt.attempt, sent.at_ns, "is dropped") if dropped else None
        if type(attempt) is not Attempt:
            return None
        if sent.receiver is RateLimiterActor:
            self._leave(attempt)  # where it is sent anew: the line from before is gone
            self._at_limiter[attempt.command.notification_id] = attempt
            return None
        if sent.sender is not RateLimiterActor:
            return None
        self._leave(attempt)
        return None if attempt.charged else self._count(attempt, sent)

    def _leave(self, attempt: Attempt) -> None:
        notification_id, key = attempt.command.notification_id, (attempt.command.channel, attempt.command.user)
        self._at_limiter.pop(notification_id, None)
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.discard(notification_id)
            if not waiting:
                del self._waiting[key]

    def _undue(self, attempt: Attempt, now_ns: int, what: str) -> Objection:
        command = attempt.command
        notification_id, key = command.notification_id, (command.channel, command.user)
        if self._is_counted(notification_id):
            return Finding(
                f"{notification_id} {what} for the limit of {command.user}, and counts already", notification_id
            )
        known = self._meters.get(key)
        # Where another one waits, it is that one's turn which comes now; there is a line until it has.
        since_ns = now_ns - 1 if self._waiting.get(key, set()) - {notification_id} else now_ns
        if self._in_line.get(key, -1) >= now_ns or (known and not all(meter.has_room(since_ns) for meter in known[1])):
            return None
        return Finding(f"{notification_id} {what} for the limit of {command.user}, which has room", notification_id)

    def _may_wait_behind(self, deferred: NotificationDeferred) -> bool:
        """Tell whether it may be a rate behind the limiter that it waits for: after a crash an attempt may still wait
        there, while the handler has had another one set out in its place.
        """
        own = self.context.channels[deferred.channel].by_provider().values()
        has_rates = any(config.quota is not None or config.adaptive_rate is not None for config in own)
        known = deferred.notification_id
        return has_rates and known in self._counted and not self._is_counted(known)

    def _is_counted(self, notification_id: str) -> bool:
        """Tell whether a notification counts already, and no actor has failed since it was accepted: what is sent anew
        from before the limiter counts once more."""
        lifecycles = self.context.lifecycles
        lifecycle = lifecycles.get(notification_id)
        return (
            notification_id in self._counted
            and lifecycle is not None
            and lifecycle.crashes_before == lifecycles.crashes
        )

    def _count(self, attempt: Attempt, sent: MessageSent) -> Objection:
        command = attempt.command
        if self._is_counted(command.notification_id) or attempt.number > 1:
            return Finding(
                f"{command.notification_id} counts for the limit of {command.user} once more", command.notification_id
            )
        if not command.user:
            return None  # a call, which no limit of a user is for
        self._counted.add(command.notification_id)
        key = command.channel, command.user
        known = self._meters.get(key)
        meters = self._new_meters[command.channel]() if known is None else known[1]
        self._meters[key] = sent.at_ns, meters
        if len(self._meters) > self._many:
            self._forget_idle(sent.at_ns)
        for meter in meters:
            if (text := meter.add(sent.at_ns)) is not None:
                return Finding(
                    f"{command.user} gets more by {command.channel} than allowed: {text}", command.notification_id
                )
        return None

    def _forget_idle(self, now_ns: int) -> None:
        widths_ns = {channel: longest_window_ns(limit) for channel, limit in self._limits.items()}
        self._meters = {
            key: (last_ns, meters)
            for key, (last_ns, meters) in self._meters.items()
            if last_ns + widths_ns[key[0]] > now_ns
        }
        self._many = max(_MANY, 2 * len(self._meters))


class Quota(Invariant):
    """No more is let through to a provider than its `quota` allows, in any of its windows; every copy counts.

    What lies in the mailbox of a channel that is down comes to its provider late, and may be more than that at once. A
    process that starts again knows of nothing before.
    """

    name = "quota"
    of_one_process = True
    settings = ("quota",)
    receivers = frozenset({Channel, HedgingChannel})
    needs_order = True
    needs = ("quota",)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._limits = {key: config.quota for key, config in context.providers.items() if config.quota is not None}
        self._new_meters = {key: meters_of(limit) for key, limit in self._limits.items()}
        self._meters: dict[Key | str, list[Meter]] = {}
        """By provider, and by the name of an account for those that share it."""

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> None:
        if event.actor == PROCESS:
            self._meters.clear()

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> Objection:
        admitted = let_through_in(sent)
        if admitted is None:
            return None
        return self._count(provider_of(admitted), sent.at_ns, admitted.attempt.command.notification_id)

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Objection:
        return self._count((made.channel, made.provider), made.at_ns, made.notification_id) if made.is_copy else None

    def _count(self, key: Key, now_ns: int, notification_id: str) -> Objection:
        if key not in self._limits:
            return None
        account = self._limits[key].account
        meters = self._meters.get(account or key)
        if meters is None:
            meters = self._meters[account or key] = self._new_meters[key]()
        for meter in meters:
            if (text := meter.add(now_ns)) is not None:
                channel, provider = key
                return Finding(
                    f"the {provider} provider of {channel} is asked more often than its quota: {text}", notification_id
                )
        return None


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
        return None


def _ends_at_ns(sends: Sequence[AttemptMade]) -> int:
    """Return when an attempt ends: its first send does, or a further copy that decides."""
    first, *copies = sends
    deciding = [copy for copy in copies if copy.answered and not isinstance(copy.outcome, (Transient, Ambiguous))]
    return min(each.ends_at_ns for each in (first, *deciding))
