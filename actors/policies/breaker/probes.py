"""The probes of a half-open breaker: how many go out, and when their results decide."""

from __future__ import annotations

import math

from actors.instants import wait_ns
from actors.policies.exact import exact_share
from actors.settings.breaker import CircuitBreakerConfig


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
