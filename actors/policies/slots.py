"""The slots before a provider: how many attempts may be there at once, and how keys share the slots.

While others wait, no key gets more than a quarter of the slots. A key that has a quarter never gets the
last sixteenth either, so a slow key cannot have all slots before any other key comes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from actors.policies.adaptive.concurrency import ConcurrencyLimit
from actors.policies.order import NO_KEY

KEYS_THAT_SHARE = 4
"""While others wait, a key has at most one in four of the slots, and at least one slot."""

ONE_KEPT_IN = 16
"""One in sixteen of the slots, rounded to the nearest number, is for keys that have less than their share."""


class Slots:
    """How many attempts may be at a provider at once, and who may have the slots that are free.

    Args:
        most: how many at once; None: any number.
        adaptive: bounds them too; None: it does not.
        are_shared: whether keys share them.
    """

    __slots__ = ("_adaptive", "_held", "_most", "are_bounded", "are_shared")

    def __init__(self, most: int | None, adaptive: ConcurrencyLimit | None, *, are_shared: bool) -> None:
        self._most = most
        self._adaptive = adaptive
        self.are_bounded = most is not None or adaptive is not None
        self.are_shared = are_shared and self.are_bounded
        """Whether a key has to leave some of the slots to other keys."""
        self._held: Counter[str] = Counter()
        """By key, where keys share the slots, how many of its attempts are at the provider."""

    @property
    def limit(self) -> int | None:
        """How many attempts may be at the provider at once; None: any number."""
        if self._adaptive is None:
            return self._most
        return self._adaptive.limit if self._most is None else min(self._most, self._adaptive.limit)

    def are_taken(self, in_flight: int) -> bool:
        limit = self._most if self._adaptive is None else self.limit
        return limit is not None and in_flight >= limit

    def has_its_share(self, key: str) -> bool:
        """Tell whether a key has a quarter of the slots, or one. Those without a key are many who share one."""
        if not self.are_shared or key == NO_KEY or (limit := self.limit) is None:
            return False
        return self._held[key] >= max(1, limit // KEYS_THAT_SHARE)

    def are_kept_from(self, key: str, in_flight: int, others_wait: Callable[[str], bool]) -> bool:
        """Tell whether the free slots, with `in_flight` attempts at the provider, are kept for other keys."""
        if not self.has_its_share(key) or (limit := self.limit) is None:
            return False
        kept = (limit + ONE_KEPT_IN // 2) // ONE_KEPT_IN
        return limit - in_flight <= kept or others_wait(key)

    def take(self, key: str) -> None:
        self._held[key] += 1

    def give_back(self, key: str) -> None:
        self._held[key] -= 1
        if not self._held[key]:
            del self._held[key]
