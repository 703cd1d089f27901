"""The order of waiting attempts (section 14): by class of traffic, and in a class its keys in turn.

Strict order serves the most urgent class; with aging the first to join, each class counting as later by its rank times
`aging`. Weighted order is deficit round robin: the classes take turns, and one whose turn comes gets its quantum of
credit, of which each that goes takes 1; the least quantum is 1, and a class of which none waits has no credit. The keys
of a class are users, hosts or tenants, by `fair_by`; a turn of theirs is one attempt.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from typing import Generic, TypeAlias, TypeVar

from actors.messages import RANKS, Priority, SendNotification
from actors.settings.channel import ChannelConfig
from actors.settings.order import FairBy, OrderWeights
from simulation.verification.model.addresses import host_of
from simulation.verification.model.instants import ns
from simulation.verification.model.limits import Slots
from simulation.verification.model.notifications import Attempt

V = TypeVar("V")
Flow: TypeAlias = tuple[int, str]
"""The rank of a class, and a key of it; ``""`` where there are no turns, and of those that have no key."""


def tenant_of(command: SendNotification) -> str:
    """Return the tenant that a command is of; ``""``: of none."""
    return str(command.metadata["tenant"]) if command.metadata.get("tenant") is not None else ""


KEYS: dict[FairBy, Callable[[SendNotification], str]] = {
    "none": lambda command: "",
    "user": lambda command: command.user,
    "host": lambda command: host_of(command.recipient),
    "tenant": tenant_of,
}


class Order:
    def __init__(self, config: ChannelConfig) -> None:
        self.config = config.order
        self.has_keys = config.fair_by != "none"
        self.key_of = KEYS[config.fair_by]
        self._latest_ns = -1

    def next_place(self, now_ns: int) -> int:
        """Return the place of one that joins now: its instant, or just behind the latest."""
        self._latest_ns = max(now_ns, self._latest_ns + 1)
        return self._latest_ns

    def flow_of(self, command: SendNotification) -> Flow:
        return RANKS[command.priority], self.key_of(command)


class Classes(Generic[V]):
    """The waiting flows by class and key, and their turns."""

    def __init__(self, order: Order, since: Callable[[Flow], int]) -> None:
        self.keys: tuple[OrderedDict[str, V], ...] = tuple(OrderedDict() for _ in Priority)
        """By rank: the keys in the order of their turns."""
        self._config = order.config
        self._since = since
        """Returns the place of the first of a class and key."""
        self._have_begun = False
        self._begin_turns()

    def _begin_turns(self) -> None:
        self._credits = [0.0] * len(Priority)
        self._turn = len(Priority) - 1

    def of(self, flow: Flow, new: V) -> V:
        """Return what waits of a class and a key: if nothing does yet, `new` from now on.

        The turns and credits of classes begin when any of a second class or key waits beside the first.
        """
        rank, key = flow
        found = self.keys[rank].setdefault(key, new)
        if not self._have_begun and len(self.flows()) > 1:
            self._have_begun = True
            self._begin_turns()
        return found

    def __contains__(self, flow: Flow) -> bool:
        return flow[1] in self.keys[flow[0]]

    def flows(self) -> list[Flow]:
        return [(rank, key) for rank, keys in enumerate(self.keys) for key in keys]

    def has_others(self, key: str) -> bool:
        return any(other != key for keys in self.keys for other in keys)

    def discard(self, flow: Flow) -> None:
        rank, key = flow
        self.keys[rank].pop(key, None)
        if not self.keys[rank]:
            self._credits[rank] = 0.0

    def next(self, may_go: Callable[[str], bool] = lambda key: True) -> Flow | None:
        """Return the class and the key whose turn it is, of those that may go."""
        if self._config.kind == "weighted":
            return self._next_by_weight(may_go)
        firsts = [
            (rank, key) for rank, keys in enumerate(self.keys) if (key := next(filter(may_go, keys), None)) is not None
        ]
        if self._config.aging is None:
            return min(firsts, default=None)
        aging_ns = ns(self._config.aging)
        return min(firsts, key=lambda flow: (self._since(flow) + flow[0] * aging_ns, flow[0]), default=None)

    def _next_by_weight(self, may_go: Callable[[str], bool]) -> Flow | None:
        """The turns go on as far as the class that is found, and nowhere where none is."""
        weights = self._config.weights or OrderWeights()
        parts = [weights.critical, weights.normal, weights.bulk]
        rank, credits = self._turn, self._credits.copy()
        for _ in range(6):  # two rounds, as the class whose turn it is may have used up its credit
            if credits[rank] >= 1:
                key = next(filter(may_go, self.keys[rank]), None)
                if key is not None:
                    self._turn, self._credits = rank, credits
                    return rank, key
                credits[rank] = 0.0
            rank = (rank + 1) % len(parts)
            if self.keys[rank]:
                credits[rank] += parts[rank] / min(parts)
        return None

    def next_for_slot(self, slots: Slots, limit: int | None) -> Flow | None:
        """Return who gets the free slot: whose turn it is of those from whom it is not kept."""
        return self.next(lambda key: not slots.are_kept_from(key, limit, do_others_wait=self.has_others(key)))

    def take(self, flow: Flow, *, is_here: bool = True) -> None:
        """Let a key be behind the others of its class, as one of it has gone; if it was here, by this turn."""
        rank, key = flow
        if key in self.keys[rank]:
            self.keys[rank].move_to_end(key)
        if is_here:
            self._credits[rank] = max(0.0, self._credits[rank] - 1.0)


class Queue(Generic[V]):
    """A queue by class and key in the order of arrival; expired entries are taken out."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self.classes: Classes[OrderedDict[int, V]] = Classes(order, self.place)
        self.waiting: dict[int, Flow] = {}
        """By place, where in the classes each of them is."""
        self._expiries: list[tuple[int, int]] = []

    def add(self, one: V, command: SendNotification, until_ns: int | None, now_ns: int) -> int:
        """Let one wait behind all others of its class and key, until it expires; return its place."""
        place = self._order.next_place(now_ns)
        flow = self.waiting[place] = self._order.flow_of(command)
        self.classes.of(flow, OrderedDict())[place] = one
        if until_ns is not None:
            heapq.heappush(self._expiries, (until_ns, place))
        return place

    def place(self, flow: Flow) -> int:
        return next(iter(self.classes.keys[flow[0]][flow[1]]))

    def take_expired(self, now_ns: int) -> list[tuple[int, int, V]]:
        """Take out those whose time is up, the first to expire first; with each, until when it had time, and its
        place."""
        expired = []
        while self._expiries and self._expiries[0][0] < now_ns:
            until_ns, place = heapq.heappop(self._expiries)
            if place in self.waiting:
                expired.append((until_ns, place, self._take(place)))
        return expired

    def next_expiry_ns(self) -> int | None:
        """Return the first instant at which one of them has expired."""
        while self._expiries and self._expiries[0][1] not in self.waiting:
            heapq.heappop(self._expiries)
        return self._expiries[0][0] + 1 if self._expiries else None

    def next_flow(self, slots: Iterable[tuple[Slots, int | None]] = ()) -> Flow:
        """Return the class and key whose turn it is, by the slots at providers with room, where keys share them."""
        for held, limit in slots:
            flow = self.classes.next_for_slot(held, limit)
            if flow is not None:
                return flow
        flow = self.classes.next()
        assert flow is not None
        return flow

    def first(self, flow: Flow | None = None) -> V:
        """Return the first of a class and key; None: of those whose turn it is."""
        rank, key = flow or self.next_flow()
        return next(iter(self.classes.keys[rank][key].values()))

    def pop(self, flow: Flow | None = None, *, goes: bool = True) -> V:
        """Take that one; if it goes on, its key is behind the others of the class."""
        flow = flow or self.next_flow()
        if goes:
            self.classes.take(flow)
        return self._take(self.place(flow))

    def _take(self, place: int) -> V:
        rank, key = flow = self.waiting.pop(place)
        one = self.classes.keys[rank][key].pop(place)
        if not self.classes.keys[rank][key]:
            self.classes.discard(flow)
        return one


class Line(Queue[Attempt]):
    """Attempts of one host, user or tenant that wait."""

    def __init__(self, key: str, order: Order) -> None:
        super().__init__(order)
        self.key = key
        self.fits_at_ns: int | None = 0
        """At a limit: when the next one fits; None: when one that is on its way has left."""

    def join(self, attempt: Attempt, now_ns: int) -> int:
        return self.add(attempt, attempt.command, attempt.until_ns, now_ns)

    def attempts(self) -> list[Attempt]:
        return [self.classes.keys[rank][key][place] for place, (rank, key) in self.waiting.items()]

    def take_out(self, attempts: Collection[Attempt]) -> list[Attempt]:
        places = [
            place for place, (rank, key) in self.waiting.items() if self.classes.keys[rank][key][place] in attempts
        ]
        return [self._take(place) for place in places]
