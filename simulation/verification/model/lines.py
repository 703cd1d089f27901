"""The lines before the providers of a channel, what those in them wait for, and whose turn it is to get room."""

from __future__ import annotations

from collections.abc import Iterable

from simulation.verification.model.instants import sooner
from simulation.verification.model.limits import Slots
from simulation.verification.model.notifications import SHUT, Attempt, Blocked
from simulation.verification.model.order import Classes, Flow, Line, Order


class HostLine(Line):
    """Attempts that wait before the providers: all of a channel, or those of a host where breakers are per host."""

    def __init__(self, key: str, order: Order) -> None:
        super().__init__(key, order)
        self.joined_ns: dict[int, int] = {}
        """By place, when each joined."""
        self.slot_wait_ns: int | None = None
        """How long each waits for a slot, at most, where they wait for one."""
        self.slot_wait_since_ns = 0
        """Since when that holds."""
        self.unreported: dict[int, Attempt] = {}
        self.blocked: dict[int, Blocked] = {}
        """By lane, what is in the way of the first."""
        self.asks_at_ns: int | None = None

    @property
    def reasons(self) -> set[str]:
        """Why the lanes do not take the first."""
        return {each.reason for each in self.blocked.values()}

    @property
    def is_paced(self) -> bool:
        """Whether only the pace of resuming is in the way."""
        return self.reasons == {"pace"}

    @property
    def is_shut(self) -> bool:
        """Whether they wait for a breaker, or the pace behind it, and not for room."""
        return bool(self.blocked) and self.reasons <= SHUT | {"pace"}

    @property
    def needs_only_time(self) -> bool:
        """Whether they wait for room that time alone brings."""
        return not self.is_shut and all(each.until_ns is not None for each in self.blocked.values())

    def join(self, attempt: Attempt, now_ns: int) -> int:
        place = super().join(attempt, now_ns)
        self.joined_ns[place] = now_ns
        self.unreported[place] = attempt
        return place

    def wait_for_slots(self, wait_ns: int | None, now_ns: int) -> None:
        """Take note of how long one may wait for a slot, from now on if they did not wait for one before."""
        if self.slot_wait_ns is None:
            self.slot_wait_since_ns = now_ns
        self.slot_wait_ns = wait_ns

    def _refuses_at_ns(self) -> int | None:
        """Return when the attempt that has waited longest has waited enough for a slot."""
        if self.slot_wait_ns is None or not self.joined_ns:
            return None
        return max(next(iter(self.joined_ns.values())), self.slot_wait_since_ns) + self.slot_wait_ns

    def take_impatient(self, now_ns: int) -> Iterable[Attempt]:
        while (at_ns := self._refuses_at_ns()) is not None and at_ns <= now_ns:
            yield self._take(next(iter(self.joined_ns)))

    def next_look_ns(self) -> int | None:
        """Return when it is worth a look: at another try, or the end of someone's patience."""
        return sooner(self.asks_at_ns, self._refuses_at_ns())

    def _take(self, place: int) -> Attempt:
        self.unreported.pop(place, None)
        del self.joined_ns[place]
        return super()._take(place)


class Turns:
    """The turns of the lines that wait for room at a lane: one line, or one for each host.

    One line has its own order. Of several, classes and keys take turns; of one class and key, the first to join goes.
    """

    def __init__(self, lines: dict[str, HostLine], order: Order, *, is_per_host: bool) -> None:
        self._lines = lines
        self._order = order
        self._is_per_host = is_per_host
        self._classes: Classes[set[str]] = Classes(order, lambda flow: self._first(flow)[0])
        """By class and key, the hosts in whose lines any wait."""
        self.hosts: dict[str, None] = {}

    def _first(self, flow: Flow) -> tuple[int, str]:
        rank, key = flow
        return min((self._lines[host].place(flow), host) for host in self._classes.keys[rank][key])

    def add(self, line: HostLine) -> None:
        self.hosts[line.key] = None
        self.update(line)

    def discard(self, host: str) -> None:
        if host in self.hosts:
            del self.hosts[host]
            for flow in self._classes.flows():
                self._remove(flow, host)

    def clear(self) -> None:
        for host in list(self.hosts):
            self.discard(host)

    def update(self, line: HostLine) -> None:
        """Take note of who waits in a line now."""
        if not self._is_per_host or line.key not in self.hosts:
            return
        for flow in self._classes.flows():
            if flow not in line.classes:
                self._remove(flow, line.key)
        for flow in line.classes.flows():
            self._classes.of(flow, set()).add(line.key)

    def _remove(self, flow: Flow, host: str) -> None:
        rank, key = flow
        self._classes.keys[rank][key].discard(host)
        if not self._classes.keys[rank][key]:
            self._classes.discard(flow)

    def has_gone(self, host: str, flow: Flow, *, is_here: bool) -> None:
        if self._is_per_host and host in self.hosts:
            self._classes.take(flow, is_here=is_here)

    def next(self, slots: Slots, limit: int | None) -> tuple[str, Flow | None] | None:
        """Return which line gets the free slot, and which class and key there (None: as it has it); None: no line."""
        if self._is_per_host:
            flow = self._classes.next_for_slot(slots, limit)
            return None if flow is None else (self._first(flow)[1], flow)
        if not self._order.has_keys:
            return "", None
        flow = self._lines[""].classes.next_for_slot(slots, limit)
        return None if flow is None else ("", flow)

    def has_others(self, key: str) -> bool:
        if self._is_per_host:
            return self._classes.has_others(key)
        return "" in self._lines and self._lines[""].classes.has_others(key)

    def are_before(self, rank: int) -> bool:
        """Tell whether any may wait that goes before one of a class that comes now."""
        if not self.hosts:
            return False
        config = self._order.config
        if config.kind != "strict" or config.aging is not None:
            return True
        return any(self._classes.keys[: rank + 1])
