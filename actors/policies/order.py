"""The order of waiting attempts: by class of traffic, and within a class by turns.

Strict order serves the most urgent class that has waiting attempts. Weighted order is deficit round robin (Shreedhar
and Varghese, "Efficient fair queueing using deficit round robin", SIGCOMM 1995), each attempt being of length 1: the
classes take turns, a class whose turn comes gets its quantum of credit, and each attempt takes 1 of it. The quantum of
the least class is 1, so no turn passes in vain. While two classes both have waiting attempts, the numbers of attempts
that go, each divided by its class's quantum, differ by at most 1 + 1/Q₁ + 1/Q₂. An empty class keeps no credit.

Aging is an order by urgency numbers (Jackson, "Some problems in queueing with dynamic priorities", Naval Research
Logistics Quarterly 7, 1960): the attempt with the least instant of joining plus rank · aging goes first.

Within a class the keys (users, hosts, tenants) take turns of one attempt; of one key the first to join goes first.
Every step takes constant time, however many wait, except that keys which have their share of the slots are skipped: at
most seven keys (where there are seven slots, one each).

Most lines only ever have one flow, a class and a key. :class:`Turns` keeps no classes, turns and credits before a
second flow waits beside the first: they take 1.2 kB a line. So credits count from the second flow on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeAlias, TypeVar

from actors.instants import ns
from actors.messages import RANKS, Priority, SendNotification
from actors.policies.breaker.per_host import recipient_host
from actors.settings.order import FairBy, OrderConfig, OrderWeights

Flow: TypeAlias = tuple[int, str]
"""The rank of a class, 0 being the most urgent, and a key in the class."""

V = TypeVar("V")
NO_KEY = ""
"""The one key where keys take no turns, and the key that all attempts without a key share."""

FLOWS: dict[Priority, Flow] = {priority: (rank, NO_KEY) for priority, rank in RANKS.items()}
"""The flow of each class, where keys take no turns."""


def tenant_of(command: SendNotification) -> str:
    """Return the tenant that a command is of, by its metadata; ``""``: of none."""
    tenant = command.metadata.get("tenant") if command.metadata else None
    return NO_KEY if tenant is None else str(tenant)


_KEYS: dict[FairBy, Callable[[SendNotification], str]] = {
    "user": lambda command: command.user,
    "host": lambda command: recipient_host(command.recipient),
    "tenant": tenant_of,
}


class Order:
    """The order of one channel at one place where its notifications wait."""

    __slots__ = ("aging_ns", "by_rank", "has_keys", "key_of", "last_place", "quanta")

    def __init__(self, config: OrderConfig, fair_by: FairBy) -> None:
        self.aging_ns = None if config.aging is None else ns(config.aging)
        """How much later a class counts as having joined than the next more urgent one; None: not by age."""
        self.quanta = quanta(config)
        """The credit of each class in a round, by its rank; None: not by weight."""
        self.by_rank = self.aging_ns is None and self.quanta is None
        """Whether the most urgent class always goes first (strict order without aging)."""
        self.has_keys = fair_by != "none"
        """Whether keys take turns within a class."""
        self.key_of: Callable[[SendNotification], str] = _KEYS.get(fair_by, lambda _: NO_KEY)
        """Returns the key of a command."""
        self.last_place = -1
        """The place of the latest to join; the next place is larger, and equals the instant but for a few
        nanoseconds."""

    def flow_of(self, command: SendNotification) -> Flow:
        return (RANKS[command.priority], self.key_of(command)) if self.has_keys else FLOWS[command.priority]

    def next_place(self, now_ns: int) -> int:
        self.last_place = place = now_ns if now_ns > self.last_place else self.last_place + 1
        return place


class Turns(Generic[V]):
    """The turns of the flows that have waiting attempts: of classes, and of the keys within a class.

    Args:
        order: the order of classes.
        since: returns when the first attempt of a flow joined, in nanoseconds.
    """

    __slots__ = ("_classes", "_credits", "_only", "_order", "_since", "_turn", "_waiting")

    def __init__(self, order: Order, since: Callable[[V], int]) -> None:
        self._order = order
        self._since = since
        self._only: Flow | None = None
        """The only flow, until a second one has waited beside it."""
        self._waiting: V | None = None
        """The waiting attempts of the only flow."""
        self._classes: tuple[OrderedDict[str, V], ...] | None = None
        """By rank, the keys in the order of their turns, and what waits of each; None: a flow has always been alone."""

    def __bool__(self) -> bool:
        return self._only is not None if self._classes is None else any(self._classes)

    def add(self, flow: Flow, waiting: V) -> None:
        classes = self._classes
        if classes is None:
            if self._only is None:
                self._only, self._waiting = flow, waiting
                return
            classes = self._begin()
        classes[flow[0]][flow[1]] = waiting

    def _begin(self) -> tuple[OrderedDict[str, V], ...]:
        assert self._only is not None
        assert self._waiting is not None
        classes: tuple[OrderedDict[str, V], ...] = tuple(OrderedDict() for _ in Priority)
        rank, key = self._only
        classes[rank][key] = self._waiting
        self._classes, self._only, self._waiting = classes, None, None
        self._credits = [0.0] * len(Priority)
        self._turn = len(Priority) - 1
        return classes

    def discard(self, flow: Flow) -> None:
        if self._classes is None:
            if flow == self._only:
                self._only = self._waiting = None
            return
        keys = self._classes[flow[0]]
        keys.pop(flow[1], None)
        if not keys:
            self._credits[flow[0]] = 0.0

    def get(self, flow: Flow) -> V | None:
        """Return what waits of a flow; None: it does not take part."""
        if self._classes is None:
            return self._waiting if flow == self._only else None
        return self._classes[flow[0]].get(flow[1])

    def flows(self) -> list[Flow]:
        if self._classes is None:
            return [] if self._only is None else [self._only]
        return [(rank, key) for rank, keys in enumerate(self._classes) for key in keys]

    def has_others(self, key: str) -> bool:
        """Tell whether any other key takes part, in whichever class."""
        if self._classes is None:
            return self._only is not None and self._only[1] != key
        return any(len(keys) > (key in keys) for keys in self._classes)

    def are_before(self, rank: int) -> bool:
        """Tell whether any flow may go before an attempt of a class that comes now."""
        if not self._order.by_rank:
            return bool(self)
        if self._classes is None:
            return self._only is not None and self._only[0] <= rank
        return any(self._classes[: rank + 1])

    def next(self, may_go: Callable[[str], bool] | None = None) -> Flow | None:
        """Return the flow whose turn it is; a second call returns the same flow, unless something has changed.

        Args:
            may_go: tells whether a key may go now; None: all may. In weighted order a class in which no key may go
                loses its turn to a class in which one may.
        """
        classes, order = self._classes, self._order
        if classes is None:
            only = self._only
            return only if only is not None and (may_go is None or may_go(only[1])) else None
        if order.quanta is not None:
            return self._next_by_weight(classes, order.quanta, may_go)
        first: Flow | None = None
        most_urgent_ns = 0
        for rank, keys in enumerate(classes):
            key = _first(keys, may_go)
            if key is None:
                continue
            if order.aging_ns is None:
                return rank, key
            urgency_ns = self._since(keys[key]) + rank * order.aging_ns
            if first is None or urgency_ns < most_urgent_ns:
                first, most_urgent_ns = (rank, key), urgency_ns
        return first

    def _next_by_weight(
        self,
        classes: tuple[OrderedDict[str, V], ...],
        quanta: tuple[float, ...],
        may_go: Callable[[str], bool] | None,
    ) -> Flow | None:
        # If no flow may go, turn and credits stay as they were: callers ask again with another condition.
        rank, credit = self._turn, list(self._credits)
        for _ in range(2 * len(credit)):  # twice, as the first one may have used up its credit
            if credit[rank] >= 1.0:
                key = _first(classes[rank], may_go)
                if key is not None:
                    self._turn, self._credits = rank, credit
                    return rank, key
                credit[rank] = 0.0
            rank = (rank + 1) % len(credit)
            if classes[rank]:
                credit[rank] += quanta[rank]
        return None

    def take(self, flow: Flow) -> None:
        """Count that an attempt of a flow goes: the flow is now behind the others of its class."""
        if self._classes is not None:
            self.pass_by(flow)
            self._credits[flow[0]] = max(0.0, self._credits[flow[0]] - 1.0)

    def pass_by(self, flow: Flow) -> None:
        """Put a flow behind the others of its class, as an attempt of it has gone elsewhere."""
        if self._classes is not None and flow[1] in (keys := self._classes[flow[0]]):
            keys.move_to_end(flow[1])


def quanta(config: OrderConfig) -> tuple[float, ...] | None:
    if config.kind != "weighted":
        return None
    weights = config.weights or OrderWeights()
    least = min(weights.critical, weights.normal, weights.bulk)
    return weights.critical / least, weights.normal / least, weights.bulk / least


def _first(keys: OrderedDict[str, Any], may_go: Callable[[str], bool] | None) -> str | None:
    for key in keys:
        if may_go is None or may_go(key):
            return key
    return None
