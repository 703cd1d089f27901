"""How long to wait before the next attempt: the delay by formula or schedule, and jitter on top.

Which to choose. Without jitter, clients that failed together come back together, so `none` is for tests and for a
single sender. `full` spreads a herd the most and loads the provider the least; `equal` keeps at least half the wait,
for a provider that must be left alone for a while; `decorrelated` grows with its own last draw and knows no attempt
number; `soft` is similar, without peaks at the attempts' boundaries; `proportional` blurs a schedule that people
agreed on without changing its shape; `additive` spreads short waits by far more than their length and long waits
hardly at all, so take it only where the first retries matter most; `by_count` spreads the later retries more.

The first four are after Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015; `soft` is
Grant Dickinson's formula for Polly (DecorrelatedJitterBackoffV2, 2019); `proportional` is gRPC's (proposal A6) and
`additive` the truncated exponential backoff of Google Cloud's documents and tenacity; `by_count` is Sidekiq's.
"""

from __future__ import annotations

import math
from random import Random

from actors.instants import LONGEST_WAIT_NS, NS_PER_S, wait_ns
from actors.settings.retry import RetryConfig

_TABLE_LENGTH = 64
"""How many delays are computed once."""

_OUT_OF_REACH = 2**80
"""A range in nanoseconds in which hardly any draw is not cut off."""

_SOFT_SCALE = 1 / 1.4
"""Brings the median of the first soft wait to `initial_delay`, near enough."""


class Backoff:
    """The waits of one channel: the delays of `config`, with its jitter drawn from `random`.

    Takes exactly one draw for each jittered delay and none for `jitter: none`. Holds no state of a notification: what
    it has to remember from one wait to the next is passed in and given back.
    """

    def __init__(self, config: RetryConfig, random: Random) -> None:
        self._config = config
        self._draw = random.random
        self._initial_ns = wait_ns(config.initial_delay)
        self._longest_ns = wait_ns(config.longest_delay)
        self._shortest_ns = 0 if config.schedule is not None else wait_ns(config.min_delay)
        self._table: dict[int, int] = {}
        """By attempt, those waits without jitter that were asked for."""
        self._soft = config.jitter == "soft"
        # Whole where it can be, so that the usual factor of 3 loses nothing.
        factor = config.jitter_factor
        self._factor: float = int(factor) if factor.is_integer() and factor < 1e6 else factor
        self._jitter = {
            "none": None,
            "full": self._full,
            "equal": self._equal,
            "decorrelated": self._decorrelated,
            "proportional": self._proportional,
            "additive": self._additive,
            "by_count": self._by_count,
            "soft": None,
        }[config.jitter]

    def next_wait(self, attempt: int, memory_ns: int | None) -> tuple[int, int]:
        """Return the wait in nanoseconds after the `attempt`-th attempt failed, and the memory for the next wait.

        `memory_ns` is the memory returned with the wait before, None if there was none or if it is lost. For every kind
        but `soft` the memory is the wait itself; for `soft` it is the sum of all waits since the first failure without
        their cap. It fits into 64 bits.

        Raises:
            ValueError: `attempt` is less than 1.
        """
        if self._soft:
            return self._next_soft(attempt, memory_ns)
        delay_ns = self.next_delay_ns(attempt, memory_ns)
        return delay_ns, delay_ns

    def remembered(self, delay_ns: int) -> int | None:
        """Return the memory of a wait of which only the length is known; None if the length does not tell it."""
        return None if self._soft else delay_ns

    def next_delay_ns(self, attempt: int, previous_ns: int | None) -> int:
        """Return the wait alone, for when the wait before it is all that is known.

        As :meth:`next_wait` with what the wait before had to be remembered; a `soft` wait is taken as the first one
        that is remembered, so its spread is a little larger than it should be.

        Raises:
            ValueError: `attempt` is less than 1.
        """
        if self._soft:
            return self._next_soft(attempt, None)[0]
        base_ns = self._table.get(attempt)
        if base_ns is None:
            base_ns = wait_ns(self._config.calculate_delay(attempt))
            if attempt <= _TABLE_LENGTH:
                self._table[attempt] = base_ns
        if self._jitter is None:
            return base_ns
        return self._jitter(base_ns, previous_ns, attempt)

    # Every draw ends in a comparison of whole numbers, so that no rounding of a float lifts a wait above its bound.
    # U(a, b) is cut off and not rounded, so that b itself is drawn as little as `random()` draws 1.

    def _full(self, base_ns: int, _previous_ns: int | None, _attempt: int) -> int:
        # A minimum bounds the range, as in tenacity: cutting the draw would send all short waits off together.
        low = min(self._shortest_ns, base_ns)
        return min(base_ns, low + int((base_ns - low) * self._draw()))

    def _equal(self, base_ns: int, _previous_ns: int | None, _attempt: int) -> int:
        half = base_ns / 2
        return max(self._shortest_ns, min(base_ns, int(half + half * self._draw())))

    def _proportional(self, base_ns: int, _previous_ns: int | None, _attempt: int) -> int:
        share = self._config.jitter_share
        least, width = (1 - share, 2 * share) if self._config.jitter_side == "both" else (1, share)
        jittered = round(base_ns * (least + width * self._draw()))
        return max(self._shortest_ns, min(self._longest_ns_with(jittered), jittered))

    def _additive(self, base_ns: int, _previous_ns: int | None, _attempt: int) -> int:
        return self._by_count(base_ns, None, 1)

    def _by_count(self, base_ns: int, _previous_ns: int | None, attempt: int) -> int:
        jittered = base_ns + int(wait_ns(self._config.jitter_max * min(attempt, 2**1000)) * self._draw())
        return min(self._longest_ns_with(jittered), jittered)

    def _longest_ns_with(self, jittered: int) -> int:
        return min(jittered, LONGEST_WAIT_NS) if self._config.cap_before_jitter else self._longest_ns

    def _decorrelated(self, _base_ns: int, previous_ns: int | None, _attempt: int) -> int:
        longest = self._longest_ns
        low = max(self._initial_ns, self._shortest_ns)
        high = int(min(_OUT_OF_REACH, self._factor * (low if previous_ns is None else previous_ns)))
        if not self._config.cap_after_draw:
            high = min(high, longest)
        # With initial_delay above max_delay the range has no width; it must not turn over.
        return min(longest, low + int(max(0, high - low) * self._draw()))

    def _next_soft(self, attempt: int, reached_ns: int | None) -> tuple[int, int]:
        if attempt < 1:
            raise ValueError(f"wanted an attempt of at least 1, got {attempt!r}")
        attempt = min(attempt, 1002)  # Beyond all measure already, and still a float.
        if reached_ns is None:
            # The middle of where the attempt before it may have reached.
            reached_ns = 0 if attempt == 1 else self._soft_reach_ns(attempt - 1.5)
        reach_ns = self._soft_reach_ns(attempt - 1 + self._draw())
        if reach_ns == LONGEST_WAIT_NS and self._initial_ns:
            # The sum is at its cap, so the difference to the sum before says nothing any more.
            return self._longest_ns, reach_ns
        delay_ns = max(0, reach_ns - reached_ns)
        return max(self._shortest_ns, min(self._longest_ns, delay_ns)), reach_ns

    def _soft_reach_ns(self, t: float) -> int:
        """Return where the waits of the first `t` attempts reach: initial · 2^t · tanh(√(4t)) / 1.4."""
        if t > 1000 or self._initial_ns == 0:
            return LONGEST_WAIT_NS if self._initial_ns else 0
        return wait_ns(self._initial_ns * _SOFT_SCALE * math.pow(2.0, t) * math.tanh(math.sqrt(4.0 * t)) / NS_PER_S)


def retry_after_ns(retry_after: float | None) -> int:
    """Return a provider's hint in seconds as nanoseconds: a lower bound for the wait, ``max(delay, hint)``.

    None is 0, and so is nonsense: a negative or infinite number, NaN, or no number at all. A finite hint is at most
    :data:`actors.instants.LONGEST_WAIT_NS`.
    """
    if isinstance(retry_after, bool) or not isinstance(retry_after, (int, float)):
        return 0
    return wait_ns(retry_after) if 0 < retry_after < math.inf else 0
