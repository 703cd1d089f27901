"""The order of waiting notifications: by class, by weight, in turns; and the bounds of a tenant.

The law judges by messages between actors: which attempts have joined the line before the providers of a channel and not
left it, and which are let through. An attempt counts as waiting from the instant after it was sent there, when the
stage has looked at it; not while it lies in the mailbox of a stage that is down, whose messages are then taken as they
came.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from actors.domain.attempts import Admitted, Attempt, FlushQueue, Refused, Rejected, Requeued
from actors.instants import NS_PER_S
from actors.kernel.effects import Performed
from actors.messages import ActorFailed, BreakerTransitioned, NotificationChannel, Priority
from actors.outcomes import Transient
from actors.pipeline.channel import Channel
from actors.pipeline.circuit_breaker import CircuitBreakerActor
from actors.pipeline.handler import Handler
from actors.pipeline.hedging_channel import HedgingChannel
from actors.pipeline.orders import Withdrawal
from actors.pipeline.shared_breakers import PauseHeard
from actors.policies.breaker.per_host import recipient_host
from actors.settings.channel import ChannelConfig
from actors.settings.order import OrderWeights
from simulation.verification.laws.base import Context, Finding, Invariant, Objection, observes
from simulation.verification.laws.lifecycles import ON_THE_WAY, PROCESS
from simulation.verification.laws.observations import OF_ATTEMPTS, Key, MessageSent, provider_of

CLASSES = list(Priority)
_RANKS = {each: rank for rank, each in enumerate(CLASSES)}


class _Waiter(NamedTuple):
    attempt: Attempt
    sent_ns: int
    joined_ns: int
    """When it joined at the latest: a stage that was down then may have found it in its mailbox. At the earliest when
    it was sent there."""

    rank: int
    key: str
    """The key of the turns that the attempt belongs to, where keys take turns."""
    host: str

    @property
    def notification_id(self) -> str:
        return self.attempt.command.notification_id

    @property
    def alike(self) -> _Alike:
        """The group of attempts whose first may go whenever another of them may."""
        return self.rank, self.key, self.host


_Alike: TypeAlias = tuple[int, str, str]


def key_of(config: ChannelConfig, attempt: Attempt) -> str:
    """Return whose turns an attempt has a part in; ``""`` where there are none, or it has no key."""
    command = attempt.command
    match config.fair_by:
        case "user":
            return command.user
        case "host":
            return recipient_host(command.recipient)
        case "tenant":
            tenant = command.metadata.get("tenant")
            return "" if tenant is None else str(tenant)
        case _:
            return ""


class _Line(Invariant):
    receivers = frozenset({CircuitBreakerActor, Channel, HedgingChannel, Handler})
    messages = OF_ATTEMPTS | {PauseHeard}
    needs_order = True
    looks_at_tenants = False
    """Whether those count that may wait for the bound of their tenant, of which messages between actors say nothing."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._waiting: dict[NotificationChannel, dict[_Alike, dict[int, _Waiter]]] = {
            channel: {} for channel in context.channels
        }
        """By channel, and those alike by identity, in the order in which they joined; no group is empty."""
        self._waiters: dict[int, _Waiter] = {}
        """The same waiters, by identity."""
        self._seats: dict[int, tuple[Attempt, Key, str]] = {}
        """By identity, those at a provider; with each its provider and key."""
        self.held: Counter[tuple[Key, str]] = Counter()
        """By provider and key, how many are there."""
        self.opened: dict[str, set[str | None]] = defaultdict(set)
        """By channel, the hosts of the breakers that have ever left the state in which they began, and those that have
        ever asked for a pause of their own."""
        self.changed_ns: dict[str, int] = {}
        self._has_hosts = {
            channel: config.fair_by == "host"
            or any(own.circuit_breaker.per == "host" for own in config.by_provider().values())
            for channel, config in context.channels.items()
        }
        """By channel, whether it matters to whose host one goes."""

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> None:
        if event.actor in ON_THE_WAY:
            self._flush()
        if event.actor == PROCESS:
            self._seats.clear()
            self.held.clear()

    @observes(BreakerTransitioned)
    def on_transition(self, event: BreakerTransitioned) -> None:
        channel = event.breaker.partition("/")[0]
        self.opened[channel].add(event.host)
        self.changed_ns[channel] = event.at_ns

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> Objection:
        message = sent.message
        if sent.receiver is CircuitBreakerActor:
            if type(message) is Attempt:
                self._join(message, sent.at_ns)
            elif type(message) is FlushQueue:
                self._flush()
            elif type(message) is PauseHeard:
                for channel in self.context.channels:
                    self.opened[channel].add(message.host)
            return None
        if sent.sender is not CircuitBreakerActor:
            return None
        if type(message) is Admitted:
            return self._let_through(message, sent.at_ns)
        if type(message) is Performed:
            self._stand_up(message.request.attempt)
            command, outcome = message.request.attempt.command, message.result
            is_throttled = isinstance(outcome, Transient) and outcome.throttled
            if is_throttled and self.context.channels[command.channel].retry.after_retry_after == "host":
                self.opened[command.channel].add(recipient_host(command.recipient))
        elif type(message) in (Rejected, Refused, Requeued, Withdrawal):
            self._stand_up(message.attempt)
            if (left := self._take_out(message.attempt)) is not None:
                self.on_leave(message.attempt.command.channel, left, sent.at_ns)
        return None

    def _join(self, attempt: Attempt, at_ns: int) -> None:
        command = attempt.command
        channel = command.channel
        config = self.context.channels[channel]
        if config.retry.holds_slot:
            return  # who holds a slot goes first, which messages between actors do not say
        if config.tenant is not None and not self.looks_at_tenants and command.metadata.get("tenant") is not None:
            return
        rank, host = _RANKS[command.priority], recipient_host(command.recipient) if self._has_hosts[channel] else ""
        self._take_out(attempt)
        joined_ns = max(at_ns, self.context.lifecycles.up_at_ns)
        waiter = self._waiters[id(attempt)] = _Waiter(attempt, at_ns, joined_ns, rank, key_of(config, attempt), host)
        self._waiting[channel].setdefault(waiter.alike, {})[id(attempt)] = waiter

    def _take_out(self, attempt: Attempt) -> _Waiter | None:
        waiter = self._waiters.pop(id(attempt), None)
        if waiter is not None:
            groups = self._waiting[attempt.command.channel]
            del groups[waiter.alike][id(attempt)]
            if not groups[waiter.alike]:
                del groups[waiter.alike]
        return waiter

    def _let_through(self, admitted: Admitted, at_ns: int) -> Objection:
        channel = admitted.attempt.command.channel
        waiter = self._take_out(admitted.attempt)
        provider = provider_of(admitted)
        if waiter is None:  # it joined before a crash
            key = key_of(self.context.channels[channel], admitted.attempt)
            self.on_start_of_another(channel, CLASSES.index(admitted.attempt.command.priority), key, at_ns)
            objection = None
        else:
            key = waiter.key
            objection = self.on_start(channel, provider, waiter, at_ns)
        self._seats[id(admitted.attempt)] = admitted.attempt, provider, key
        self.held[provider, key] += 1
        return objection

    def _stand_up(self, attempt: Attempt) -> None:
        _, provider, key = self._seats.pop(id(attempt), (None, None, None))
        if provider is not None and key is not None:
            self.held[provider, key] -= 1

    def _flush(self) -> None:
        for waiting in self._waiting.values():
            waiting.clear()
        self._waiters.clear()
        self.on_flush()

    def waiting(self, channel: NotificationChannel, at_ns: int) -> list[_Waiter]:
        """Return of those alike that wait at this instant, and have been looked at, the one that joined first."""
        firsts = (next(iter(group.values())) for group in self._waiting[channel].values())
        return [first for first in firsts if first.joined_ns < at_ns]

    def could_go(self, channel: NotificationChannel, provider: Key, other: _Waiter, instead_of: _Waiter) -> bool:
        """Tell whether one that waits could have gone to a provider where another one went.

        Its breaker lets it; and its key is the same, or has less than its share of the slots, if these are shared.
        """
        if not self.waits_for_room(channel, provider, other, instead_of):
            return False
        return other.key == instead_of.key or not self.has_its_share(provider, other.key)

    def waits_for_room(self, channel: NotificationChannel, provider: Key, other: _Waiter, instead_of: _Waiter) -> bool:
        """Tell whether one that waits does not wait for its breaker, as another one went: that is the same, or has
        never been anything but as it began. Nor for a pause of its host, which it may not be known here that a copy of
        a hedged attempt has brought."""
        config = self.context.providers[provider]
        if config.circuit_breaker.per != "host" or other.host == instead_of.host:
            return True
        may_be_paused = config.hedging is not None and config.retry.after_retry_after == "host"
        return not may_be_paused and other.host not in self.opened[channel]

    def has_its_share(self, provider: Key, key: str) -> bool:
        """Tell whether a key has a quarter of the slots before a provider, or one, or may have that."""
        config = self.context.providers[provider]
        if config.fair_by == "none" or key == "":
            return False
        if config.concurrency_limit is not None:
            return True  # it is not known here how many there are
        return config.slots is not None and self.held[provider, key] >= max(1, config.slots // 4)

    def on_start(self, channel: NotificationChannel, provider: Key, waiter: _Waiter, at_ns: int) -> Objection:
        raise NotImplementedError

    def on_start_of_another(self, channel: NotificationChannel, rank: int, key: str, at_ns: int) -> None:
        """Take note that one goes that joined before a crash, after which all were forgotten."""

    def on_leave(self, channel: NotificationChannel, waiter: _Waiter, at_ns: int) -> None:
        """Take note that one leaves the line in another way."""

    def on_flush(self) -> None:
        """Take note that all who wait are forgotten."""


class ClassOrder(_Line):
    """In strict order no attempt starts while one of a more urgent class waits that could. With `aging`, that goes by
    the instant of joining and the class together. In any order, of one class and one key the one goes first that joined
    first.
    """

    name = "class-order"
    of_one_process = True

    def on_start(self, channel: NotificationChannel, provider: Key, waiter: _Waiter, at_ns: int) -> Objection:
        if not self._waiting[channel]:
            return None
        config = self.context.channels[channel]
        for other in self.waiting(channel, at_ns):
            if (other.rank, other.key) == (waiter.rank, waiter.key) and other.joined_ns < waiter.sent_ns:
                if config.circuit_breaker.per == "host" and other.host != waiter.host:
                    continue  # it may wait for the breaker of its host
                return self._finding(channel, provider, waiter, other)
        if config.order.kind != "strict":
            return None
        aging_ns = None if config.order.aging is None else round(config.order.aging * NS_PER_S)
        if aging_ns is not None and config.fair_by != "none":
            return None  # the oldest of a class may not be the one whose turn it is

        def urgency(rank: int, joined_ns: int) -> tuple[int, ...]:
            if aging_ns is not None:
                return (joined_ns + rank * aging_ns,)
            return (rank,) if config.fair_by != "none" else (rank, joined_ns)

        # In aging order places differ from instants by a nanosecond for each that joined at the same one.
        slack = 0 if aging_ns is None else sum(map(len, self._waiting[channel].values())) + 1
        mine = urgency(waiter.rank, waiter.sent_ns)
        for other in self.waiting(channel, at_ns):
            theirs = urgency(other.rank, other.joined_ns)
            if (*theirs[:-1], theirs[-1] + slack) < mine and self.could_go(channel, provider, other, waiter):
                return self._finding(channel, provider, waiter, other)
        return None

    @staticmethod
    def _finding(channel: NotificationChannel, provider: Key, waiter: _Waiter, other: _Waiter) -> Finding:
        return Finding(
            f"{waiter.notification_id} ({CLASSES[waiter.rank]}) goes to {provider[1]} of {channel} before "
            f"{other.notification_id} ({CLASSES[other.rank]}), which has waited since {other.joined_ns / NS_PER_S:g} s",
            waiter.notification_id,
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
    1 + 1/Q₁ + 1/Q₂ over any time: the bound of deficit round robin. So nothing starves.

    Where hosts have breakers of their own, or keys their shares of slots, a class may have to wait for other things.
    """

    name = "class-shares"
    of_one_process = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._pairs: dict[tuple[NotificationChannel, int, int], _Pair] = {}
        self._latest_ns: dict[NotificationChannel, int] = {}
        self._quanta: dict[NotificationChannel, list[float]] = {}
        for channel, config in context.channels.items():
            if self._is_judged(config):
                weights = config.order.weights or OrderWeights()
                of = [weights.critical, weights.normal, weights.bulk]
                self._quanta[channel] = [weight / min(of) for weight in of]

    @staticmethod
    def _is_judged(config: ChannelConfig) -> bool:
        slots = [each.slots or each.concurrency_limit for each in config.by_provider().values()]
        has_shares = config.fair_by != "none" and any(each is not None for each in slots)
        return config.order.kind == "weighted" and config.circuit_breaker.per != "host" and not has_shares

    @classmethod
    def applies(cls, context: Context) -> bool:
        return super().applies(context) and any(cls._is_judged(each) for each in context.channels.values())

    def on_start(self, channel: NotificationChannel, provider: Key, waiter: _Waiter, at_ns: int) -> Objection:
        quanta = self._quanta.get(channel)
        if quanta is None:
            return None
        # Those that waited at the last start too: the line has seen them then.
        before_ns = min(at_ns, self._latest_ns.get(channel, at_ns))
        self._latest_ns[channel] = at_ns
        wait = {each.rank for each in self.waiting(channel, before_ns)}
        for one in range(len(CLASSES)):
            for other in range(one + 1, len(CLASSES)):
                pair = channel, one, other
                if not {one, other} <= wait | ({waiter.rank} if waiter.joined_ns < before_ns else set()):
                    self._pairs.pop(pair, None)
                    continue
                if waiter.rank not in (one, other):
                    continue
                by = 1 / quanta[one] if waiter.rank == one else -1 / quanta[other]
                difference = self._pairs.setdefault(pair, _Pair()).move(by)
                if difference > 1 + 1 / quanta[one] + 1 / quanta[other] + 1e-9:
                    return Finding(
                        f"of {CLASSES[one]} and {CLASSES[other]} on {channel}, which both wait, one has had "
                        f"{difference:g} quanta more than the other",
                        waiter.notification_id,
                    )
                if not {one, other} <= wait:
                    self._pairs.pop(pair, None)
        return None

    def on_leave(self, channel: NotificationChannel, waiter: _Waiter, at_ns: int) -> None:
        for pair in [each for each in self._pairs if each[0] == channel and waiter.rank in each[1:]]:
            del self._pairs[pair]

    def on_flush(self) -> None:
        self._pairs.clear()


@dataclass
class _Starts:
    number: int = 0
    latest: dict[tuple[int, str], tuple[int, int]] = field(default_factory=dict)
    """By class and key, the number and the instant of its latest start."""
    left_ns: dict[tuple[int, str], int] = field(default_factory=dict)
    """By class and key, when one left that did not start."""


class FairTurns(_Line):
    """Where keys take turns, none has two while another of its class waits that could go and has had none, and none
    that comes goes before those of its class that wait; and none gets a slot beyond its quarter while another waits.
    """

    name = "fair-turns"
    of_one_process = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._starts: dict[NotificationChannel, _Starts] = {channel: _Starts() for channel in context.channels}

    @classmethod
    def applies(cls, context: Context) -> bool:
        return super().applies(context) and any(each.fair_by != "none" for each in context.channels.values())

    def on_start(self, channel: NotificationChannel, provider: Key, waiter: _Waiter, at_ns: int) -> Objection:
        config = self.context.channels[channel]
        if config.fair_by == "none":
            return None
        return self._beyond_its_share(channel, provider, waiter, at_ns) or self._out_of_turn(
            channel, provider, waiter, at_ns
        )

    def _beyond_its_share(self, channel: NotificationChannel, provider: Key, waiter: _Waiter, at_ns: int) -> Objection:
        if self.context.providers[provider].concurrency_limit is not None:
            return None
        if not self.has_its_share(provider, waiter.key) or self._is_resuming(channel):
            return None
        for other in self.waiting(channel, at_ns):
            if other.key != waiter.key and self.waits_for_room(channel, provider, other, waiter):
                return Finding(
                    f"{waiter.notification_id} of {waiter.key} gets slot {self.held[provider, waiter.key] + 1} of "
                    f"{provider[1]} of {channel} while {other.notification_id} of {other.key or 'no one'} waits with "
                    f"{self.held[provider, other.key]}",
                    waiter.notification_id,
                )
        return None

    def _out_of_turn(self, channel: NotificationChannel, provider: Key, waiter: _Waiter, at_ns: int) -> Objection:
        starts = self._starts[channel]
        starts.number += 1
        before = starts.latest.get((waiter.rank, waiter.key))
        starts.latest[waiter.rank, waiter.key] = starts.number, at_ns
        if len(self.context.channels[channel].by_provider()) > 1 or self._is_resuming(channel):
            return None
        # As another of its key waited until now, or itself, since it was sent here, until a breaker let it through.
        has_place = at_ns in (starts.left_ns.get((waiter.rank, waiter.key)), self.changed_ns.get(channel))
        if waiter.joined_ns == at_ns and not has_place:  # it comes and goes: whoever waits goes before it
            number, started_ns = starts.number, at_ns
        elif before is not None:
            number, started_ns = before
        else:
            return None
        for other in self.waiting(channel, at_ns):
            if other.rank != waiter.rank or other.key == waiter.key or other.joined_ns >= started_ns:
                continue
            last, _ = starts.latest.get((other.rank, other.key), (0, 0))
            if last < number and self.could_go(channel, provider, other, waiter):
                return Finding(
                    f"{waiter.notification_id} of {waiter.key or 'no one'} goes out of turn while "
                    f"{other.notification_id} of {other.key or 'no one'} waits on {channel} since "
                    f"{other.joined_ns / NS_PER_S:g} s",
                    waiter.notification_id,
                )
        return None

    def on_start_of_another(self, channel: NotificationChannel, rank: int, key: str, at_ns: int) -> None:
        starts = self._starts[channel]
        starts.number += 1
        starts.latest[rank, key] = starts.number, at_ns

    def on_leave(self, channel: NotificationChannel, waiter: _Waiter, at_ns: int) -> None:
        self._starts[channel].left_ns[waiter.rank, waiter.key] = at_ns

    def _is_resuming(self, channel: NotificationChannel) -> bool:
        """Tell whether hosts may wait for their breakers, which then decide who is next and not the turns."""
        if self.context.channels[channel].circuit_breaker.per != "host":
            return False
        return bool(self.opened[channel])

    def on_flush(self) -> None:
        for starts in self._starts.values():
            starts.latest.clear()


class TenantsBound(_Line):
    """No tenant has more attempts at the providers of a channel than its bounds allow."""

    name = "tenant-bounds"
    of_one_process = True
    looks_at_tenants = True

    @classmethod
    def applies(cls, context: Context) -> bool:
        return super().applies(context) and any(each.tenant is not None for each in context.channels.values())

    def on_start(self, channel: NotificationChannel, provider: Key, waiter: _Waiter, at_ns: int) -> Objection:
        bounds = self.context.channels[channel].tenant
        tenant = waiter.attempt.command.metadata.get("tenant")
        if bounds is None or tenant is None:
            return None
        at_once = sum(
            attempt.command.metadata.get("tenant") == tenant and attempt.command.channel == channel
            for attempt, _, _ in self._seats.values()
        )
        if bounds.max_in_flight is not None and at_once >= bounds.max_in_flight:
            return f"{at_once + 1} attempts of {tenant} are under way on {channel}, of at most {bounds.max_in_flight}"
        return None
