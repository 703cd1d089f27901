"""Several limits at once: 3 a second and 100 a minute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.policies.rate_limit.limiter import Limiter


class SeveralRates:
    """Admits what all of `limiters` admit, and charges each of them or none.

    What is refused by one costs nothing at the others; what fits at none now fits when it does at the last of them,
    because a limiter that has room keeps it for as long as nothing is charged.
    """

    __slots__ = ("_limiters",)

    def __init__(self, limiters: Sequence[Limiter]) -> None:
        self._limiters = tuple(limiters)

    @property
    def active_keys(self) -> int:
        """Keys for which something is remembered."""
        return max(limiter.active_keys for limiter in self._limiters)

    def try_acquire(self, key: str, now_ns: int, cost: int = 1) -> int:
        """Return `now_ns` if admitted and charged, else the earliest instant at which it fits."""
        fits_at_ns = self.fits_at(key, now_ns, cost)
        if fits_at_ns == now_ns:
            for limiter in self._limiters:
                limiter.try_acquire(key, now_ns, cost)
        return fits_at_ns

    def fits_at(self, key: str, now_ns: int, cost: int = 1) -> int:
        """Return what :meth:`try_acquire` would, and charge nothing."""
        return max(limiter.fits_at(key, now_ns, cost) for limiter in self._limiters)

    def forget_idle(self, now_ns: int) -> None:
        """Drop every key whose state makes no difference any more."""
        for limiter in self._limiters:
            limiter.forget_idle(now_ns)
