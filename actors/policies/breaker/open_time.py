"""How long a breaker stays open: always the same, or longer with every opening in a row."""

from __future__ import annotations

import math
from random import Random

from actors.settings.breaker import CircuitBreakerConfig
from actors.waits import wait_ns


class OpenTime:
    """``timeout``, or with `open_growth` ``min(timeout * multiplier^k, max)`` at the opening after k others.

    As resilience4j's wait interval function and Polly's break duration generator: a provider that fails its probes
    again and again is asked less and less often. The jitter multiplies by U(1 - x, 1 + x), so that the probes of many
    senders that tripped together drift apart; it takes one draw each, and none without jitter. The maximum bounds the
    result, jitter included.

    Raises:
        ValueError: the settings ask for jitter, and there is no random stream.
    """

    __slots__ = ("_first_s", "_growth", "_longest_ns", "_random")

    def __init__(self, config: CircuitBreakerConfig, random: Random | None) -> None:
        self._first_s = config.timeout
        self._growth = config.open_growth
        self._longest_ns = wait_ns(config.timeout if self._growth is None else self._growth.max)
        if self._growth is not None and self._growth.jitter and random is None:
            raise ValueError("wanted a random stream for the jitter of open_growth, got None")
        self._random = random

    def next_ns(self, opened_before: int) -> int:
        """Return how long it stays open, having opened so many times since it was last closed."""
        if self._growth is None:
            return self._longest_ns
        try:
            base_ns = wait_ns(self._first_s * math.pow(self._growth.multiplier, opened_before))
        except OverflowError:  # Beyond the floats, and so beyond any maximum.
            base_ns = self._longest_ns
        jitter = self._growth.jitter
        if jitter and self._random is not None:
            # The draw is of what may be waited at all, so that those at the maximum do not all wait the same.
            base_ns = round(min(base_ns, self._longest_ns) * (1 - jitter + 2 * jitter * self._random.random()))
        return min(base_ns, self._longest_ns)
