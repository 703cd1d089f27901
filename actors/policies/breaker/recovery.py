"""How a breaker comes back: how long it stays open, and the ramp after closing."""

from __future__ import annotations

import math
from random import Random

from actors.instants import wait_ns
from actors.policies.exact import exact_share
from actors.settings.breaker import CircuitBreakerConfig, RampConfig


class Ramp:
    """Lets a share of the calls through that grows in a straight line from `start` to 1 over `over` seconds.

    What Envoy and nginx call slow start: a provider that has just come back meets a part of its load first. Takes no
    draw: every call adds the share of its instant to a credit, and one that brings it to 1 goes through and takes 1
    away (error diffusion, as Bresenham draws a line). So of any calls from the beginning exactly the whole part of the
    sum of their shares goes through, as evenly as can be. All whole numbers: nothing drifts.
    """

    __slots__ = ("_credit", "_over_ns", "_slope", "_start_ns", "_whole", "_zero")

    def __init__(self, config: RampConfig) -> None:
        part, of = exact_share(config.start).as_integer_ratio()
        self._over_ns = max(1, wait_ns(config.over))
        # A share is counted in parts of 1 / (of * over), so that it is whole at every nanosecond.
        self._whole = of * self._over_ns
        self._zero = part * self._over_ns
        self._slope = of - part
        self._start_ns = 0
        self._credit = 0

    def start(self, now_ns: int) -> None:
        """Start again at `now_ns`, with no credit."""
        self._start_ns = now_ns
        self._credit = 0

    @property
    def end_ns(self) -> int:
        """The instant from which on all calls are let through."""
        return self._start_ns + self._over_ns

    def ask(self, now_ns: int) -> bool:
        """Count a call, and return whether it goes through. Ask once a call."""
        self._credit += self._share(now_ns)
        if self._credit < self._whole:
            return False
        self._credit -= self._whole
        return True

    def admits_at_ns(self, now_ns: int) -> int:
        """Return the earliest instant from now on at which the next call goes through, if none asks before it."""
        missing = self._whole - self._credit - self._zero
        return max(now_ns, self._start_ns - (-missing // self._slope))

    def _share(self, now_ns: int) -> int:
        return self._zero + self._slope * min(now_ns - self._start_ns, self._over_ns)


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
            # The draw is below the maximum, so that breakers at the maximum do not all wait the same.
            base_ns = round(min(base_ns, self._longest_ns) * (1 - jitter + 2 * jitter * self._random.random()))
        return min(base_ns, self._longest_ns)
