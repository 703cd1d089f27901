"""The order of waiting notifications: the more urgent and the earlier first, by weight; and the bounds of a tenant.

The law judges by messages between actors: which attempts have joined the line before the providers of a channel and not
left it, and which are let through. An attempt counts as waiting from the instant after it was sent there, when the
stage has looked at it; not while it lies in the mailbox of a stage that is down, whose messages are then taken as they
came.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

from actors.domain.attempts import Admitted, Attempt, FlushQueue, Refused, Rejected, Requeued
from actors.instants import NS_PER_S
from actors.kernel.effects import Performed
from actors.messages import ActorFailed, NotificationChannel, Priority
from actors.pipeline.channel import Channel
from actors.pipeline.circuit_breaker import CircuitBreakerActor
from actors.pipeline.handler import Handler
from actors.pipeline.hedging_channel import HedgingChannel
from actors.pipeline.orders import Withdrawal
from actors.settings.channel import ChannelConfig
from actors.settings.order import OrderWeights
from simulation.verification.laws.base import Context, Finding, Invariant, Objection, observes
from simulation.verification.laws.lifecycles import ON_THE_WAY, PROCESS
from simulation.verification.laws.observations import OF_ATTEMPTS, MessageSent

CLASSES = list(Priority)
_LEAVING = (Rejected, Refused, Requeued, Withdrawal)


class _Waiter(NamedTuple):
    attempt: Attempt
    rank: int
    sent_ns: int
    joined_ns: int
    """When it joined at the latest: a stage that was down then may have found it in its mailbox. At the earliest when
    it was sent there."""


class _Line(Invariant):
    """The base of those that look at the line of a channel in which no keys take turns, and no hosts wait for breakers
    or pauses of their own."""

    of_one_process = True
    receivers = frozenset({CircuitBreakerActor, Channel, HedgingChannel, Handler})
    messages = OF_ATTEMPTS
    needs_order = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._waiting: dict[NotificationChannel, list[dict[int, _Waiter]]] = {
            channel: [{} for _ in CLASSES] for channel, config in context.channels.items() if self.judges(config)
        }
        """By channel and class, by the identity of their attempts, in the order in which they joined."""

    @classmethod
    def judges(cls, config: ChannelConfig) -> bool:
        """Tell whether the line of a channel is looked at."""
        # Who holds a slot goes first, which messages between actors do not say.
        has_hosts = config.circuit_breaker.per == "host" or config.retry.after_retry_after == "host"
        return config.fair_by == "none" and not has_hosts and not config.retry.holds_slot

    @classmethod
    def applies(cls, context: Context) -> bool:
        return super().applies(context) and any(map(cls.judges, context.channels.values()))

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> None:
        if event.actor in ON_THE_WAY:
            self.flush()

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> Objection:
        message = sent.message
        if sent.receiver is CircuitBreakerActor:
            if type(message) is Attempt:
                self._join(message, sent.at_ns)
            elif type(message) is FlushQueue:
                self.flush()
        elif sent.sender is CircuitBreakerActor and type(message) in (Admitted, *_LEAVING):
            channel = message.attempt.command.channel
            waiter = self._take_out(message.attempt)
            if waiter is not None and type(message) is Admitted:
                return self.on_start(channel, waiter, sent.at_ns)
            if waiter is not None:
                self.on_leave(channel, waiter)
        return None

    def _join(self, attempt: Attempt, at_ns: int) -> None:
        command = attempt.command
        lines, bounds = self._waiting.get(command.channel), self.context.channels[command.channel].tenant
        if lines is None or (bounds is not None and command.metadata.get("tenant") is not None):
            return  # who waits for the bound of its tenant is not known here
        self._take_out(attempt)
        rank, joined_ns = CLASSES.index(command.priority), max(at_ns, self.context.lifecycles.up_at_ns)
        lines[rank][id(attempt)] = _Waiter(attempt, rank, at_ns, joined_ns)

    def _take_out(self, attempt: Attempt) -> _Waiter | None:
        lines = self._waiting.get(attempt.command.channel, ())
        return next(filter(None, [line.pop(id(attempt), None) for line in lines]), None)

    def first(self, channel: NotificationChannel, rank: int, at_ns: int) -> _Waiter | None:
        """Return the one of a class that joined first, if it waits at this instant and has been looked at."""
        found = next(iter(self._waiting[channel][rank].values()), None)
        return found if found is not None and found.joined_ns < at_ns else None

    def flush(self) -> None:
        """Forget all who wait."""
        for lines in self._waiting.values():
            for line in lines:
                line.clear()

    def on_start(self, channel: NotificationChannel, waiter: _Waiter, at_ns: int) -> Objection:
        raise NotImplementedError

    def on_leave(self, channel: NotificationChannel, waiter: _Waiter) -> None:
        """Take note that one leaves the line in another way."""


class ClassOrder(_Line):
    """In strict order no attempt starts while one of a more urgent class waits; and in any order, of one class the one
    goes first that joined first."""

    name = "class-order"

    def on_start(self, channel: NotificationChannel, waiter: _Waiter, at_ns: int) -> Objection:
        order, rank = self.context.channels[channel].order, waiter.rank
        is_strict = order.kind == "strict" and order.aging is None
        for more_urgent in range(rank if is_strict else 0):
            if (other := self.first(channel, more_urgent, at_ns)) is not None:
                return self._finding(channel, waiter, other)
        other = self.first(channel, rank, at_ns)
        return self._finding(channel, waiter, other) if other is not None and other.joined_ns < waiter.sent_ns else None

    @staticmethod
    def _finding(channel: NotificationChannel, waiter: _Waiter, other: _Waiter) -> Finding:
        name, of = waiter.attempt.command.notification_id, other.attempt.command.notification_id
        return Finding(
            f"{name} ({CLASSES[waiter.rank]}) goes on {channel} before {of} ({CLASSES[other.rank]}), which has waited "
            f"since {other.joined_ns / NS_PER_S:g} s",
            name,
        )


@dataclass
class _Pair:
    """How much more service, by its weight, one class has had than another since both have waited."""

    now: float = 0.0
    least: float = 0.0
    most: float = 0.0

    def move(self, by: float) -> float:
        """Count one more; return the largest difference over any part of the time until now."""
        self.now += by
        self.least, self.most = min(self.least, self.now), max(self.most, self.now)
        return max(self.now - self.least, self.most - self.now)


class ClassShares(_Line):
    """In weighted order the numbers that go of two classes while both wait, each by its quantum, differ by no more than
    1 + 1/Q₁ + 1/Q₂ over any time: the bound of deficit round robin. So nothing starves."""

    name = "class-shares"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._pairs: dict[tuple[NotificationChannel, int, int], _Pair] = {}
        self._latest_ns: dict[NotificationChannel, int] = {}

    @classmethod
    def judges(cls, config: ChannelConfig) -> bool:
        """Tell whether classes have weights there."""
        return super().judges(config) and config.order.kind == "weighted"

    def on_start(self, channel: NotificationChannel, waiter: _Waiter, at_ns: int) -> Objection:
        # Those that waited at the last start too: the line has seen them then.
        before_ns = min(at_ns, self._latest_ns.get(channel, at_ns))
        self._latest_ns[channel] = at_ns
        wait = {rank for rank in range(len(CLASSES)) if self.first(channel, rank, before_ns) is not None}
        weights = self.context.channels[channel].order.weights or OrderWeights()
        of = weights.critical, weights.normal, weights.bulk
        quanta = [weight / min(of) for weight in of]
        for one, other in combinations(range(len(CLASSES)), 2):
            pair = channel, one, other
            if not {one, other} <= wait | ({waiter.rank} if waiter.joined_ns < before_ns else set()):
                self._pairs.pop(pair, None)
            elif waiter.rank in (one, other):
                by = 1 / quanta[one] if waiter.rank == one else -1 / quanta[other]
                difference = self._pairs.setdefault(pair, _Pair()).move(by)
                if difference > 1 + 1 / quanta[one] + 1 / quanta[other] + 1e-9:
                    return Finding(
                        f"of {CLASSES[one]} and {CLASSES[other]} on {channel}, which both wait, one has had "
                        f"{difference:g} quanta more than the other",
                        waiter.attempt.command.notification_id,
                    )
                if not {one, other} <= wait:
                    self._pairs.pop(pair, None)
        return None

    def on_leave(self, channel: NotificationChannel, waiter: _Waiter) -> None:
        self._pairs = {
            pair: own for pair, own in self._pairs.items() if pair[0] != channel or waiter.rank not in pair[1:]
        }

    def flush(self) -> None:
        super().flush()
        self._pairs.clear()


class TenantsBound(Invariant):
    """No tenant has more attempts at the providers of a channel than its bounds allow.

    A notification that holds its slot between attempts (`holds_slot`) counts once: what a stage had when it crashed is
    sent anew while the attempt before it may still be at a provider.
    """

    name = "tenant-bounds"
    of_one_process = True
    receivers = frozenset({CircuitBreakerActor, Channel, HedgingChannel, Handler})
    messages = OF_ATTEMPTS
    needs_order = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._there: defaultdict[tuple[NotificationChannel, str], dict[int, Attempt]] = defaultdict(dict)
        """By channel and tenant, and by identity, the attempts at providers."""

    @classmethod
    def applies(cls, context: Context) -> bool:
        return super().applies(context) and any(each.tenant is not None for each in context.channels.values())

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> None:
        if event.actor == PROCESS:
            self._there.clear()

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> Objection:
        message = sent.message
        if sent.sender is not CircuitBreakerActor or type(message) not in (Admitted, Performed, *_LEAVING):
            return None
        attempt: Attempt = message.request.attempt if type(message) is Performed else message.attempt
        channel, tenant = attempt.command.channel, attempt.command.metadata.get("tenant")
        bounds = self.context.channels[channel].tenant
        if bounds is None or tenant is None:
            return None
        there = self._there[channel, tenant]
        if type(message) is not Admitted:
            there.pop(id(attempt), None)
            return None
        there[id(attempt)] = attempt
        count = len(there)
        if self.context.channels[channel].retry.holds_slot:
            count = len({each.command.notification_id for each in there.values()})
        if bounds.max_in_flight is None or count <= bounds.max_in_flight:
            return None
        return f"{count} attempts of {tenant} are under way on {channel}, of at most {bounds.max_in_flight}"
