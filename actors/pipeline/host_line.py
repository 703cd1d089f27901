"""A line before the providers of a channel, and what those in it wait for."""

from __future__ import annotations

from actors.messages import DeferralCause
from actors.pipeline.waiting_line import Waiting, WaitingLine
from actors.policies.order import Order


class HostLine(WaitingLine):
    """Waiting attempts, all of one host where breakers are per host, and what they wait for."""

    def __init__(self, host: str, waiting: Waiting, order: Order) -> None:
        super().__init__(waiting, order)
        self.host = host
        self.cause: DeferralCause | None = None
        """Why they are deferred; None while they only wait for a slot."""
        self.asks_at_ns: int | None = None
        """When a breaker or a pace is worth asking again, as far as time decides; room comes to it by its turn."""
        self.is_up_to_time = False
        """Whether it waits for room that only time brings, so that it is known how soon the next one goes."""
        self.is_shut = False
        """Whether it is a breaker that they wait for, or the pace behind it, and not room."""
        self.is_paced = False
        """Whether it is a pace alone that lets the next one go."""
        self.slot_wait_ns: int | None = None
        """How long each waits for a slot, at most; None: as long as it takes, or they wait for something else."""
        self.slot_wait_since_ns = 0
        """Since when that holds."""
        self.wake_ns: int | None = None
        """When to look at it next, if nothing happens before."""

    @property
    def refuses_at_ns(self) -> int | None:
        """When the first of them has waited long enough for a slot; None: at no time."""
        if self.slot_wait_ns is None or (since_ns := self.waits_since_ns) is None:
            return None
        return max(since_ns, self.slot_wait_since_ns) + self.slot_wait_ns

    def wait_for_slots(self, wait_ns: int | None, now_ns: int) -> None:
        """Let each wait so long for a slot, from now on or from when it joins, if it did not wait for one before."""
        if self.slot_wait_ns is None:
            self.slot_wait_since_ns = now_ns
        self.slot_wait_ns = wait_ns
