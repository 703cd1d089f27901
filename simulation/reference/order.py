"""Who goes first among those that wait (section 14): by class of traffic, and in a class the hosts in turn.

Strict order serves the most urgent class; with aging whoever joined first, each class counting as later by its rank
times `aging`. Weighted order is deficit round robin: the classes take turns, and one whose turn comes gets its quantum
of credit, of which each that goes takes 1; the least quantum is 1, and a class of which none waits has no credit.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from actors.instants import ns
from actors.messages import RANKS, DeferralCause, Priority, SendNotification
from actors.settings.order import OrderConfig, OrderWeights
from simulation.reference.limits import Slots
from simulation.reference.notifications import Attempt, host_of

V = TypeVar("V")


class Order:
    """The order at one place of a channel."""

    def __init__(self, config: OrderConfig, *, hosts_take_turns: bool) -> None:
        self.config = config
        self.hosts_take_turns = hosts_take_turns
        self._latest_ns = -1

    def next_place(self, now_ns: int) -> int:
        """Return the place of one that joins now: its instant, or just behind the latest."""
        self._latest_ns = max(now_ns, self._latest_ns + 1)
        return self._latest_ns

    def flow_of(self, command: SendNotification) -> tuple[int, str]:
        """Return the rank of the class, and the host where these take turns."""
        return RANKS[command.priority], host_of(command.recipient) if self.hosts_take_turns else ""


class Classes(Generic[V]):
    """What waits by class and host, and whose turn it is."""

    def __init__(self, order: Order, since: Callable[[int, str], int]) -> None:
        self.hosts: tuple[OrderedDict[str, V], ...] = tuple(OrderedDict() for _ in Priority)
        """By rank: the hosts in the order of their turns."""
        self._config = order.config
        self._since = since
        """Returns the place of the first of a class and host."""
        self.begin_turns()

    def begin_turns(self) -> None:
        """Let the turns of the classes begin anew, with the most urgent."""
        self._credits = [0.0] * len(Priority)
        self._turn = len(Priority) - 1

    def discard(self, rank: int, host: str) -> None:
        """Remove a host of a class."""
        self.hosts[rank].pop(host, None)
        if not self.hosts[rank]:
            self._credits[rank] = 0.0

    def next(self, may_go: Callable[[str], bool] = lambda host: True) -> tuple[int, str] | None:
        """Return the class and the host whose turn it is, of those that may go."""
        if self._config.kind == "weighted":
            return self._next_by_weight(may_go)
        firsts = [
            (rank, host)
            for rank, hosts in enumerate(self.hosts)
            if (host := next(filter(may_go, hosts), None)) is not None
        ]
        if self._config.aging is None:
            return min(firsts, default=None)
        aging_ns = ns(self._config.aging)
        return min(firsts, key=lambda flow: (self._since(*flow) + flow[0] * aging_ns, flow[0]), default=None)

    def _next_by_weight(self, may_go: Callable[[str], bool]) -> tuple[int, str] | None:
        weights = self._config.weights or OrderWeights()
        parts = [weights.critical, weights.normal, weights.bulk]
        for _ in range(6):  # two rounds, as the class whose turn it is may have used up its credit
            rank = self._turn
            if self._credits[rank] >= 1:
                host = next(filter(may_go, self.hosts[rank]), None)
                if host is not None:
                    return rank, host
                self._credits[rank] = 0.0
            self._turn = rank = (rank + 1) % len(parts)
            if self.hosts[rank]:
                self._credits[rank] += parts[rank] / min(parts)
        return None

    def next_for_slot(self, slots: Slots, limit: int | None) -> tuple[int, str] | None:
        """Return who gets the free slot: the first host without its quarter, of whichever class; where there is none,
        the one with the fewest of the first class of which any may have it."""
        flow = self.next(lambda host: not slots.has_quarter(host, limit))
        if flow is None and (flow := self.next(lambda host: not slots.are_kept_from(host, limit))) is not None:
            allowed = [host for host in self.hosts[flow[0]] if not slots.are_kept_from(host, limit)]
            flow = flow[0], min(allowed, key=lambda host: slots.held[host])
        return flow

    def take(self, rank: int, host: str, *, is_here: bool = True) -> None:
        """Let a host be behind the others of its class, as one of it has gone; if it was here, by this turn."""
        if host in self.hosts[rank]:
            self.hosts[rank].move_to_end(host)
        if is_here:
            self._credits[rank] = max(0.0, self._credits[rank] - 1.0)


class Line:
    """Attempts that wait, in their order; those that have expired are taken out."""

    def __init__(self, key: str, order: Order) -> None:
        self.key = key
        self._order = order
        self.classes: Classes[OrderedDict[int, Attempt]] = Classes(order, self.place)
        self._has_turns = order.hosts_take_turns
        """Whether classes take turns here; while there has been but one, none is counted."""
        self.waiting: dict[int, tuple[int, str]] = {}
        """By place, where in the classes each of them is."""
        self.unreported: dict[int, Attempt] = {}
        self.fits_at_ns = 0
        """At a limit: when the next one fits."""
        self.cause: DeferralCause | None = None
        """Why they are deferred. None: they only wait for a slot, which is not reported."""
        self.asks_at_ns: int | None = None
        self.is_up_to_time = False
        """Whether nothing but time brings the next one's turn."""
        self.is_paced = False
        self.wake_ns: int | None = None
        self._expiries: list[tuple[int, int]] = []

    def join(self, attempt: Attempt, now_ns: int) -> None:
        """Let one wait behind all others of its class and host."""
        place = self._order.next_place(now_ns)
        rank, host = self.waiting[place] = self._order.flow_of(attempt.command)
        self.classes.hosts[rank].setdefault(host, OrderedDict())[place] = attempt
        if not self._has_turns and sum(map(bool, self.classes.hosts)) > 1:
            self._has_turns = True
            self.classes.begin_turns()
        self.unreported[place] = attempt
        if attempt.until_ns is not None:
            heapq.heappush(self._expiries, (attempt.until_ns, place))

    def place(self, rank: int, host: str) -> int:
        """Return the place of the first of a class and host."""
        return next(iter(self.classes.hosts[rank][host]))

    def take_expired(self, now_ns: int) -> Iterable[Attempt]:
        """Take out those whose time is up, the first to expire first."""
        while self._expiries and self._expiries[0][0] < now_ns:
            place = heapq.heappop(self._expiries)[1]
            if place in self.waiting:
                yield self._take(place)

    def next_expiry_ns(self) -> int | None:
        """Return the first instant at which one of them has expired."""
        while self._expiries and self._expiries[0][1] not in self.waiting:
            heapq.heappop(self._expiries)
        return self._expiries[0][0] + 1 if self._expiries else None

    def next_rank(self, slots: Iterable[tuple[Slots, int | None]] = ()) -> int:
        """Return the class whose turn it is, by the slots at each provider where these are shared by turns."""
        for held, limit in slots:
            flow = self.classes.next_for_slot(held, limit)
            if flow is not None:
                return flow[0]
        flow = self.classes.next()
        assert flow is not None
        return flow[0]

    def first(self, rank: int) -> Attempt:
        """Return the one of a class whose turn it is."""
        queue = next(iter(self.classes.hosts[rank].values()))
        return next(iter(queue.values()))

    def pop(self, rank: int | None = None, *, goes: bool = True) -> Attempt:
        """Take that one; if it goes on, its host is behind the others of the class. None: of the class whose turn it
        is."""
        rank = self.next_rank() if rank is None else rank
        host, queue = next(iter(self.classes.hosts[rank].items()))
        if goes:
            self.classes.take(rank, host)
        return self._take(next(iter(queue)))

    def _take(self, place: int) -> Attempt:
        self.unreported.pop(place, None)
        rank, host = self.waiting.pop(place)
        attempt = self.classes.hosts[rank][host].pop(place)
        if not self.classes.hosts[rank][host]:
            self.classes.discard(rank, host)
        return attempt


class Turns:
    """Whose turn it is to get room at a lane, among the lines that wait for it: one, or one for each host."""

    def __init__(self, lines: dict[str, Line], order: Order) -> None:
        self._classes: Classes[None] = Classes(order, lambda rank, host: lines[host].place(rank, host))
        self._is_by_host = order.hosts_take_turns
        self._hosts: dict[str, None] = {}

    def __contains__(self, host: str) -> bool:
        return host in self._hosts

    def __bool__(self) -> bool:
        return bool(self._hosts)

    def add(self, line: Line) -> None:
        """Let a line take part with each class of which one waits there."""
        self._hosts[line.key] = None
        self.update(line)

    def discard(self, host: str) -> None:
        """Let a line take part no more."""
        if host in self._hosts:
            del self._hosts[host]
            for rank in range(len(Priority)):
                self._classes.discard(rank, host)

    def clear(self) -> None:
        """Let no line take part any more."""
        for host in list(self._hosts):
            self.discard(host)

    def update(self, line: Line) -> None:
        """Take note of which classes wait in a line now."""
        if line.key in self._hosts:
            for rank, waiting in enumerate(line.classes.hosts):
                if waiting:
                    self._classes.hosts[rank].setdefault(line.key)
                else:
                    self._classes.discard(rank, line.key)

    def has_gone(self, host: str, rank: int, *, is_here: bool) -> None:
        """Take note that one of a host has gone, by a turn here or elsewhere."""
        if host in self._hosts:
            self._classes.take(rank, host, is_here=is_here)

    def next(self, slots: Slots, limit: int | None) -> tuple[str, int | None] | None:
        """Return which host gets the free slot, and for which class; None: its line says that."""
        if not self._is_by_host:
            return next(iter(self._hosts)), None
        flow = self._classes.next_for_slot(slots, limit)
        return None if flow is None else (flow[1], flow[0])

    def are_before(self, rank: int, config: OrderConfig) -> bool:
        """Tell whether one may wait that goes before another one of a class that comes now."""
        if config.kind != "strict" or config.aging is not None:
            return bool(self._hosts)
        return any(self._classes.hosts[: rank + 1])
