"""The lines before the providers of a channel, and what those in them wait for."""

from __future__ import annotations

from collections.abc import Iterable

from simulation.verification.model.instants import sooner
from simulation.verification.model.notifications import SHUT, Attempt, Blocked
from simulation.verification.model.order import Line, Order


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
        """Return when the one that has waited longest has waited enough for a slot."""
        if self.slot_wait_ns is None or not self.joined_ns:
            return None
        return max(next(iter(self.joined_ns.values())), self.slot_wait_since_ns) + self.slot_wait_ns

    def take_impatient(self, now_ns: int) -> Iterable[Attempt]:
        """Take out those that have waited long enough for a slot."""
        while (at_ns := self._refuses_at_ns()) is not None and at_ns <= now_ns:
            yield self._take(next(iter(self.joined_ns)))

    def next_look_ns(self) -> int | None:
        """Return when it is worth a look: at another try, or the end of someone's patience."""
        return sooner(self.asks_at_ns, self._refuses_at_ns())

    def _take(self, place: int) -> Attempt:
        self.unreported.pop(place, None)
        del self.joined_ns[place]
        return super()._take(place)
