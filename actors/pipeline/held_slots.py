"""Slots that notifications hold between their attempts, as a retry in the worker's own process does (`holds_slot`).

A notification takes a slot with its first attempt and holds it to its end, also while it waits for its retry, a rate, a
pause or a breaker. So a retry finds its slot, and new notifications find one slot less. The slot belongs to the
provider of the first attempt, also while another provider is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from actors.domain.attempts import Attempt
from actors.messages import Message, SendNotification
from actors.outcomes import Ambiguous, ChannelFault, Outcome, Transient
from actors.pipeline.tenant_counts import TenantCounts, TenantState

if TYPE_CHECKING:
    from actors.pipeline.lane import Lane


class GiveBack(Message, frozen=True, gc=False):
    """A notification has ended, or waits for the end of quiet hours: it holds no slot any more."""

    notification_id: str


class WereOut(Message, frozen=True, gc=False):
    """Notifications of an earlier process, or of another node, that had made an attempt: they hold slots again."""

    commands: tuple[tuple[SendNotification, str | None], ...]
    """Each with the provider of its first attempt; None where the channel has only one."""


class _Held(NamedTuple):
    lane: Lane
    key: str
    attempt: Attempt
    """The latest, for which its tenant's bound counts it."""


class HeldSlots:
    """The held slots of a channel. Outlives the actor of the circuit breaker, as the lanes do.

    After a restart or a takeover more may hold a slot than there are: then new ones wait until enough have ended, and
    no more than there are slots are at a provider at once.
    """

    def __init__(self, lanes: Sequence[Lane], tenants: TenantCounts | None) -> None:
        self._lanes = lanes
        self._tenants = tenants
        self._held: dict[str, _Held] = {}
        """The held slots by notification, except where the attempt is at the provider whose slot it has."""

    def has(self, attempt: Attempt) -> bool:
        """Tell whether the notification of an attempt holds a slot and is not at that provider."""
        return attempt.command.notification_id in self._held

    def set_out(self, attempt: Attempt, lane: Lane) -> None:
        notification_id = attempt.command.notification_id
        held = self._held[notification_id]
        if self._tenants is not None:
            self._tenants.move(held.attempt, None)
        if held.lane is lane:
            del self._held[notification_id]
            lane.release(held.key)
        else:
            self._held[notification_id] = held._replace(attempt=attempt)

    def come_back(self, attempt: Attempt, lane: Lane, key: str) -> None:
        """Hold the slot that an attempt had, or had taken along."""
        if not self.has(attempt):
            self._held[attempt.command.notification_id] = _Held(lane, key, attempt)
            lane.reserve(key)

    def keeps(self, attempt: Attempt) -> bool:
        """Tell whether an attempt that has ended still counts for its tenant."""
        held = self._held.get(attempt.command.notification_id)
        return held is not None and held.attempt is attempt

    def reclaim(self, were_out: WereOut, key_of: Callable[[Attempt, str], str]) -> None:
        """Have notifications hold slots, for which an attempt stands that is not made."""
        for command, provider in were_out.commands:
            stand_in = Attempt(command=command, number=1, charged=True, expires_at_ns=None)
            lane = next((each for each in self._lanes if each.provider == provider), self._lanes[0])
            if not self.has(stand_in):
                self.come_back(stand_in, lane, key_of(stand_in, lane.host_of(stand_in)))
                if self._tenants is not None:
                    self._tenants.move(stand_in, TenantState.AT_PROVIDER)

    def give_back(self, notification_id: str) -> Attempt | None:
        """Free the slot of a notification; return the attempt that held it, None where there was no slot."""
        held = self._held.pop(notification_id, None)
        if held is None:
            return None
        held.lane.release(held.key)
        return held.attempt


def is_held_after(outcome: Outcome) -> bool:
    """Return whether an attempt that has ended so may be tried again, which its handler decides."""
    return isinstance(outcome, (Transient, Ambiguous, ChannelFault))
