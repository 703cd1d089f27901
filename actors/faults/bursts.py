"""Failures in bursts: the two-state Markov chain of Gilbert (1960), in continuous time."""

from __future__ import annotations

from random import Random

from actors.instants import NS_PER_S
from actors.settings.faults import Burst


class BurstChain:
    """Good and bad spells in turn, good first, each exponentially long.

    The spells are drawn from its own stream as time passes, one draw each, so they are the same whenever and however
    often it is asked: attempts see the chain and do not move it. In the long run it is bad for
    ``mean_bad / (mean_good + mean_bad)`` of the time.
    """

    __slots__ = ("_draw", "_is_bad", "_means_ns", "_until_ns", "failure_rate")

    def __init__(self, burst: Burst, start_ns: int, random: Random) -> None:
        self.failure_rate = burst.failure_rate
        """Share of attempts that fail in a bad spell."""
        self._draw = random.expovariate
        self._means_ns = {False: burst.mean_good * NS_PER_S, True: burst.mean_bad * NS_PER_S}
        self._is_bad = True
        self._until_ns = start_ns
        self._turn()

    def is_bad(self, now_ns: int) -> bool:
        """Tell whether it is a bad spell. A spell is [start, end); `now_ns` never goes back."""
        while now_ns >= self._until_ns:
            self._turn()
        return self._is_bad

    def _turn(self) -> None:
        self._is_bad = not self._is_bad
        self._until_ns += max(1, round(self._draw(1.0) * self._means_ns[self._is_bad]))
