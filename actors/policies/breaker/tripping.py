"""What counts as tripping, apart from the breaker's table: it sees only results that count, while closed.

Which to choose. Consecutive failures react fast under light load and need neither a window nor a minimum; under heavy
load with a share of failures they never trip, because some success always comes in between. A failure rate sees such a
brownout, and needs traffic to see it: below the minimum number of calls it is blind. A slow-call rate sees a provider
that still answers but slows its callers down with it.
"""

from __future__ import annotations

import math
from typing import Protocol

from actors.instants import wait_ns
from actors.policies.breaker.windows import CountWindow, MovingAverage, TimeWindow
from actors.policies.exact import exact_share
from actors.settings.breaker import CircuitBreakerConfig


class Tripping(Protocol):
    """What a breaker asks of its rule. `duration_ns` is how long the call took."""

    count: int
    """Failures since the last success."""

    def success(self, now_ns: int, duration_ns: int) -> bool:
        """Count a success, and return whether it trips."""

    def failure(self, now_ns: int, duration_ns: int) -> bool:
        """Count a failure, and return whether it trips."""

    def failure_rate(self, now_ns: int) -> float | None:
        """Return the share of failures by now; None when there are too few calls, or where no rate is kept."""

    def slow_call_rate(self, now_ns: int) -> float | None:
        """Return the share of slow calls by now; None when there are too few calls, or where no rate is kept."""

    def reset(self) -> None:
        """Forget everything."""


class Window(Protocol):
    """The calls that a rate is taken over. A share is `failures` or `slow` of `total`."""

    @property
    def calls(self) -> int:
        """How many calls there are to judge by."""

    @property
    def total(self) -> float:
        """The whole."""

    @property
    def failures(self) -> float:
        """The part that failed."""

    @property
    def slow(self) -> float:
        """The part that was slow."""

    def record(self, now_ns: int, failed: bool, slow: bool, duration_ns: int, /) -> None:
        """Count a call that ended now."""

    def advance(self, now_ns: int, /) -> None:
        """Drop the calls that the window has left behind."""

    def clear(self) -> None:
        """Forget all calls."""


class ConsecutiveFailures:
    """Trips at the `threshold`-th failure without a success in between (Nygard, *Release It!*, 2007)."""

    __slots__ = ("count", "threshold")

    def __init__(self, threshold: int) -> None:
        self.threshold = threshold
        self.count = 0
        """Failures since the last success."""

    def success(self, _now_ns: int, _duration_ns: int = 0) -> bool:
        """Count a success, which never trips."""
        self.count = 0
        return False

    def failure(self, _now_ns: int, _duration_ns: int = 0) -> bool:
        """Count a failure, and return whether it trips."""
        self.count += 1
        return self.count >= self.threshold

    def failure_rate(self, _now_ns: int) -> None:
        """Return None: no rate is kept."""

    def slow_call_rate(self, _now_ns: int) -> None:
        """Return None: no rate is kept."""

    def reset(self) -> None:
        """Forget everything."""
        self.count = 0


class FailureRate:
    """Trips when the share of failures, or that of slow calls, reaches its threshold (resilience4j, Polly, Hystrix).

    Judges only with `minimum_calls` in the window. A call is slow when it takes longer than `slow_ns`, and not when it
    takes exactly as long; a slow failure counts as both. With `success_may_trip` false only a call that failed or was
    slow can trip.

    Args:
        window: Holds the calls; cleared by :meth:`reset`.
        rate: Share of failures that trips, more than 0 and at most 1; compared exactly.
        minimum_calls: Fewer calls in the window never trip.
        slow_ns: What a call has to exceed to be slow; None: none is.
        slow_rate: Share of slow calls that trips.
        success_may_trip: Whether a success that was not slow may trip.
    """

    __slots__ = (
        "_minimum_calls",
        "_of",
        "_part",
        "_slow_ns",
        "_slow_of",
        "_slow_part",
        "_success_may_trip",
        "count",
        "window",
    )

    def __init__(
        self,
        window: Window,
        *,
        rate: float,
        minimum_calls: int,
        slow_ns: int | None = None,
        slow_rate: float = 1.0,
        success_may_trip: bool = True,
    ) -> None:
        self.window = window
        """The calls it judges by."""
        self.count = 0
        """Failures since the last success."""
        self._minimum_calls = minimum_calls
        self._part, self._of = exact_share(rate).as_integer_ratio()
        self._slow_part, self._slow_of = exact_share(slow_rate).as_integer_ratio()
        self._slow_ns: float = math.inf if slow_ns is None else slow_ns
        self._success_may_trip = success_may_trip

    def success(self, now_ns: int, duration_ns: int = 0) -> bool:
        """Count a success, and return whether it trips."""
        slow = duration_ns > self._slow_ns
        self.count = 0
        self.window.record(now_ns, False, slow, duration_ns)
        return (slow or self._success_may_trip) and self._is_reached()

    def failure(self, now_ns: int, duration_ns: int = 0) -> bool:
        """Count a failure, and return whether it trips."""
        self.count += 1
        self.window.record(now_ns, True, duration_ns > self._slow_ns, duration_ns)
        return self._is_reached()

    def failure_rate(self, now_ns: int) -> float | None:
        """Return the share of failures by now; None with fewer than the minimum of calls."""
        self.window.advance(now_ns)
        return self.window.failures / self.window.total if self._can_judge() else None

    def slow_call_rate(self, now_ns: int) -> float | None:
        """Return the share of slow calls by now; None with fewer than the minimum of calls."""
        self.window.advance(now_ns)
        return self.window.slow / self.window.total if self._can_judge() else None

    def reset(self) -> None:
        """Forget everything."""
        self.count = 0
        self.window.clear()

    def _can_judge(self) -> bool:
        return self.window.calls >= max(1, self._minimum_calls)

    def _is_reached(self) -> bool:
        window = self.window
        if window.calls < self._minimum_calls:
            return False
        total = window.total
        if window.failures * self._of >= self._part * total:
            return True
        return self._slow_ns < math.inf and window.slow * self._slow_of >= self._slow_part * total


def make_tripping(config: CircuitBreakerConfig) -> Tripping:
    """Return the rule that `config` asks for, with nothing counted yet."""
    if config.window is None:
        return ConsecutiveFailures(config.failure_threshold)
    window: Window
    if config.window.calls is not None:
        window = CountWindow(config.window.calls)
    elif config.window.time is not None:
        window = TimeWindow(wait_ns(config.window.time))
    else:
        window = MovingAverage(config.window.ema or 1)
    slow_call = config.slow_call
    return FailureRate(
        window,
        rate=config.failure_rate,
        minimum_calls=config.minimum_calls or config.window.default_minimum_calls,
        slow_ns=None if slow_call is None else wait_ns(slow_call.duration),
        slow_rate=1.0 if slow_call is None else slow_call.rate,
        success_may_trip=config.success_may_trip,
    )
