"""Admission control: how many notifications may be pending, accepted and not ended, before new ones are refused.

Accepted notifications wait in memory until they end. If a provider is slower than the arrivals, their line would grow
without bound, and each notification in it would be late. Refusing new ones keeps the line short enough to be served and
tells the sender, who can slow down (load shedding; "Handling Overload" in Site Reliability Engineering, O'Reilly 2016).
Notifications that may be late are refused first: the last fifth of the room is not for bulk, and the last quarter of
that is for critical notifications alone.
"""

from __future__ import annotations

import math
import sys

from actors.messages import Priority

KEPT_FROM = {Priority.NORMAL: 20, Priority.BULK: 5}
"""The share of the room that a class does not get, as one place in this many; critical notifications get all places."""

RETRY_AFTER = 5.0
"""Seconds after which a refused sender may try again: long enough that repeated requests are no load."""


class Admission:
    """Tells whether one more notification may be accepted."""

    def __init__(self, max_pending: int | None) -> None:
        """Allow `max_pending` pending notifications, at least 1; None: no bound."""
        self.max_pending = max_pending
        self._bounds = (
            {}
            if max_pending is None
            else {each: max_pending - (max_pending // KEPT_FROM[each] if each in KEPT_FROM else 0) for each in Priority}
        )
        self.scarce_from = min(self._bounds.values(), default=sys.maxsize)
        """While fewer notifications are pending there is room for every class."""

    def bound(self, priority: Priority) -> int | None:
        """Return how many may be pending before a notification of this class is refused; None: any number."""
        return self._bounds.get(priority)

    def has_room(self, pending: int, priority: Priority) -> bool:
        """Tell whether there is room for a notification of this class beside `pending` others."""
        return pending < self._bounds.get(priority, math.inf)
