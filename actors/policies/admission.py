"""Admission control: how many notifications may be pending, accepted and not ended, before new ones are refused.

What is accepted waits in memory until it ends. Behind a provider that is slower than what arrives that line would grow
without bound, and each one that joins it would be late. Refusing at the door keeps the line short enough to be served
and tells the sender, who can slow down (load shedding; "Handling Overload" in Site Reliability Engineering, O'Reilly
2016). What may be late is refused first: the last fifth of the room is not for bulk, and of that the last quarter is
for critical ones alone.
"""

from __future__ import annotations

import math
import sys

from actors.messages import Priority

KEPT_FROM = {Priority.NORMAL: 20, Priority.BULK: 5}
"""By class of traffic, one place in so many that it does not get; a critical one gets each."""

RETRY_AFTER = 5.0
"""Seconds after which a sender that was refused may try again: long enough that those who do are no load."""


class Admission:
    """Tells whether one more notification may be accepted."""

    def __init__(self, max_pending: int | None) -> None:
        """Allow `max_pending` of them, at least 1; None: no bound."""
        self.max_pending = max_pending
        self._bounds = (
            {}
            if max_pending is None
            else {each: max_pending - (max_pending // KEPT_FROM[each] if each in KEPT_FROM else 0) for each in Priority}
        )
        self.scarce_from = min(self._bounds.values(), default=sys.maxsize)
        """While fewer are pending there is room for anything."""

    def bound(self, priority: Priority) -> int | None:
        """Return how many may be pending before another one of this class is refused; None: any number."""
        return self._bounds.get(priority)

    def has_room(self, pending: int, priority: Priority) -> bool:
        """Tell whether there is room for one of this class beside so many that are pending."""
        return pending < self._bounds.get(priority, math.inf)
