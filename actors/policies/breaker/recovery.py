"""How a breaker comes back: how long it stays open, its probes while it is half-open, and the ramp after closing."""

from __future__ import annotations

import math
from random import Random

from actors.instants import wait_ns
from actors.policies.exact import exact_share
from actors.settings.breaker import CircuitBreakerConfig, RampConfig


class Probes:
    """Lets `half_open_permits` probes out, and judges the provider by them.

    Three rules, which differ in how many failures it takes and in when that is known:

    - `first_failure`: one failure opens it again, and it closes when all probes have succeeded.
    - `when_all_used` (resilience4j): nothing happens until every permit has a result; then it opens if the share of
      failures, or of slow calls, reaches its threshold, else it closes.
    - `when_decided` (failsafe-go): the same, as soon as the results still to come cannot change it.

    With a `slow_call` a slow probe counts against its rate; with `first_failure` it is a failed one. Results count
    against the permits too: no more probes go out than it takes to decide.
    """

    __slots__ = (
        "_failures",
        "_failures_to_open",
        "_permits",
        "_results",
        "_slow",
        "_slow_ns",
        "_slow_to_open",
        "_waits_for_all",
        "under_way",
    )

    def __init__(self, config: CircuitBreakerConfig) -> None:
        permits, slow_call = config.half_open_permits, config.slow_call
        by_rate = config.decide != "first_failure"
        self._permits = permits
        self._waits_for_all = config.decide == "when_all_used"
        self._failures_to_open = math.ceil(exact_share(config.failure_rate) * permits) if by_rate else 1
        self._slow_to_open = permits + 1  # which is never reached
        if slow_call is not None:
            self._slow_to_open = math.ceil(exact_share(slow_call.rate) * permits) if by_rate else 1
        self._slow_ns: float = wait_ns(slow_call.duration) if slow_call else math.inf
        self.reset()

    def reset(self) -> None:
        self.under_way = 0
        self._results = 0
        self._failures = 0
        self._slow = 0

    def has_left(self) -> bool:
        return self.left > 0

    @property
    def left(self) -> int:
        return self._permits - self.under_way - self._results

    def take(self) -> None:
        self.under_way += 1

    def give_back(self) -> None:
        """Count a probe that ended without saying anything: another may go in its place."""
        if self.under_way:
            self.under_way -= 1

    def give_up_on_those_under_way(self) -> None:
        """Let as many probes out again as have no result yet; whichever of them ends first counts."""
        self.under_way = 0

    def settle(self, failed: bool, duration_ns: int) -> bool | None:
        """Count a result, and return whether the provider is back: True, False, or None while that is undecided.

        More results than probes under way (the same one reported twice) count for nothing.
        """
        if self.under_way == 0:
            return None
        self.under_way -= 1
        self._results += 1
        self._failures += failed
        self._slow += duration_ns > self._slow_ns
        missing = self._permits - self._results
        if missing and self._waits_for_all:
            return None
        if self._failures >= self._failures_to_open or self._slow >= self._slow_to_open:
            return False
        if self._failures + missing < self._failures_to_open and self._slow + missing < self._slow_to_open:
            return True
        return None


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
