"""Admission control: how many notifications may be pending, accepted and not ended, before new ones are refused.

What is accepted waits in memory until it ends. Behind a provider that is slower than what arrives that line would grow
without bound, and each one that joins it would be late. Refusing at the door keeps the line short enough to be served
and tells the sender, who can slow down (load shedding; "Handling Overload" in Site Reliability Engineering, O'Reilly
2016). The last part of the room is kept for what is critical.
"""

from __future__ import annotations

import math

RESERVE = 20
"""One place in so many is for critical notifications alone."""

RETRY_AFTER = 5.0
"""Seconds after which a sender that was refused may try again: long enough that those who do are no load."""


class Admission:
    """Tells whether one more notification may be accepted."""

    def __init__(self, max_pending: int | None) -> None:
        """Allow `max_pending` of them, at least 1; None: no bound."""
        self.max_pending = max_pending
        self._max_normal = None if max_pending is None else max_pending - max_pending // RESERVE
        self.scarce_from = math.inf if self._max_normal is None else self._max_normal
        """While fewer are pending there is room for anything."""

    def has_room(self, pending: int, *, critical: bool) -> bool:
        """Tell whether there is room beside so many that are pending."""
        limit = self.max_pending if critical else self._max_normal
        return limit is None or pending < limit
