"""Who goes first among those that wait: by class of traffic, and within a class by turns.

Strict order serves the most urgent class in which any waits. Weighted order is deficit round robin (Shreedhar and
Varghese, "Efficient fair queueing using deficit round robin", SIGCOMM 1995), each attempt being of length 1: the
classes take turns, a class whose turn comes gets its quantum of credit, and each attempt takes 1 of it. The quantum of
the least class is 1, so no turn passes in vain. While two classes both have some that wait, the numbers that go of
them, each by its quantum, differ by at most 1 + 1/Q₁ + 1/Q₂. A class that has none waiting keeps no credit.

Aging is an order by urgency numbers (Jackson, "Some problems in queueing with dynamic priorities", Naval Research
Logistics Quarterly 7, 1960): whoever has the least instant of joining plus rank · aging goes first.

Within a class the keys (users, hosts, tenants) take turns of one attempt. Every step takes constant time, however many
wait, but for the keys that are passed over as they have their share of the slots: of these there are at most seven.
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
"""The rank of a class, 0 being the most urgent, and a key of it."""

V = TypeVar("V")
NO_KEY = ""
"""The key of all where there are no turns, and of those that have none: these are many who share it."""

FLOWS: dict[Priority, Flow] = {priority: (rank, NO_KEY) for priority, rank in RANKS.items()}
"""The flow of each class, where keys take no turns."""


def tenant_of(command: SendNotification) -> str:
    """Return the tenant that a command is of, by its metadata; ``""``: of none."""
    tenant = command.metadata.get("tenant") if command.metadata else None
    return NO_KEY if tenant is None else str(tenant)


def _host_of(command: SendNotification) -> str:
    return recipient_host(command.recipient)


def _user_of(command: SendNotification) -> str:
    return command.user


_KEYS: dict[FairBy, Callable[[SendNotification], str]] = {"user": _user_of, "host": _host_of, "tenant": tenant_of}


class Order:
    """The order of one channel at one of the places where its notifications wait.

    Args:
        config: the settings.
        fair_by: what takes turns within a class.
    """

    __slots__ = ("_config", "has_keys", "key_of", "last_place")

    def __init__(self, config: OrderConfig, fair_by: FairBy) -> None:
        self._config = config
        self.has_keys = fair_by != "none"
        """Whether keys take turns within a class."""
        self.key_of: Callable[[SendNotification], str] = _KEYS.get(fair_by, lambda _: NO_KEY)
        """Returns the key of a command."""
        self.last_place = -1
        """That of the latest to join; the next one's is larger, and the instant but for a few nanoseconds."""

    def flow_of(self, command: SendNotification) -> Flow:
        """Return the class and the key of a command."""
        return (RANKS[command.priority], self.key_of(command)) if self.has_keys else FLOWS[command.priority]

    def next_place(self, now_ns: int) -> int:
        """Return the place of one that joins now."""
        self.last_place = place = now_ns if now_ns > self.last_place else self.last_place + 1
        return place

    def turns(self, since: Callable[[V], int]) -> Turns[V]:
        """Return the turns of classes and keys; none has any yet.

        Args:
            since: returns when the first of those of a flow joined.
        """
        return Turns(self._config, since)

    def is_before_all(self, rank: int, turns: Turns[Any]) -> bool:
        """Tell whether one that comes now goes before all that wait, whatever their keys."""
        if self._config.kind != "strict" or self._config.aging is not None:
            return False
        return not any(turns.classes[: rank + 1])


class Turns(Generic[V]):
    """Whose turn it is among flows, each of which has something that waits: of classes, and of the keys of a class."""

    __slots__ = ("_aging_ns", "_credits", "_quanta", "_since", "_turn", "classes")

    def __init__(self, config: OrderConfig, since: Callable[[V], int]) -> None:
        self._since = since
        self._aging_ns = None if config.aging is None else ns(config.aging)
        self._quanta = quanta(config)
        self._credits = [0.0] * len(Priority)
        self._turn = len(Priority) - 1
        """The class whose turn it is, in weighted order."""
        self.classes: tuple[OrderedDict[str, V], ...] = tuple(OrderedDict() for _ in Priority)
        """By rank: the keys in the order of their turns, and what waits of each."""

    def __bool__(self) -> bool:
        return any(self.classes)

    def add(self, flow: Flow, waiting: V) -> None:
        """Let a flow take part, behind the others of its class."""
        self.classes[flow[0]][flow[1]] = waiting

    def get(self, flow: Flow) -> V | None:
        """Return what waits of a flow; None: it does not take part."""
        return self.classes[flow[0]].get(flow[1])

    def has_others(self, key: str) -> bool:
        """Tell whether any other key takes part, in whichever class."""
        return any(len(keys) > (key in keys) for keys in self.classes)

    def discard(self, flow: Flow) -> None:
        """Remove a flow, if it takes part; a class without any has no credit."""
        keys = self.classes[flow[0]]
        keys.pop(flow[1], None)
        if not keys:
            self._credits[flow[0]] = 0.0

    def next(self, may_go: Callable[[str], bool] | None = None) -> Flow | None:
        """Return the flow whose turn it is; asked again it is the same, unless something has changed.

        Args:
            may_go: tells whether a key may go now; None: all may. In weighted order a class in which none may go loses
                its turn to one in which any may.
        """
        if self._quanta is not None:
            return self._next_by_weight(self._quanta, may_go)
        first: Flow | None = None
        most_urgent_ns = 0
        for rank, keys in enumerate(self.classes):
            key = _first(keys, may_go)
            if key is None:
                continue
            if self._aging_ns is None:
                return rank, key
            urgency_ns = self._since(keys[key]) + rank * self._aging_ns
            if first is None or urgency_ns < most_urgent_ns:
                first, most_urgent_ns = (rank, key), urgency_ns
        return first

    def _next_by_weight(self, quanta: tuple[float, ...], may_go: Callable[[str], bool] | None) -> Flow | None:
        # Nothing changes where none may go: who may is asked with one condition after the other, of the same turns.
        rank, credit = self._turn, list(self._credits)
        for _ in range(2 * len(credit)):  # twice, as the first one may have used up its credit
            keys = self.classes[rank]
            if credit[rank] >= 1.0:
                key = _first(keys, may_go)
                if key is not None:
                    self._turn, self._credits = rank, credit
                    return rank, key
                credit[rank] = 0.0
            rank = (rank + 1) % len(credit)
            if self.classes[rank]:
                credit[rank] += quanta[rank]
        return None

    def take(self, flow: Flow) -> None:
        """Count that one of a flow goes: it is behind the others of its class now."""
        rank = flow[0]
        self.pass_by(flow)
        self._credits[rank] = max(0.0, self._credits[rank] - 1.0)

    def pass_by(self, flow: Flow) -> None:
        """Let a flow be behind the others of its class, as one of it has gone elsewhere."""
        keys = self.classes[flow[0]]
        if flow[1] in keys:
            keys.move_to_end(flow[1])


def quanta(config: OrderConfig) -> tuple[float, ...] | None:
    """Return what each class gets in a round, by its rank, the least 1; None: its order is not by weight."""
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
