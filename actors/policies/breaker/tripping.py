"""What counts as tripping, apart from the breaker's table: it sees only results that count, while closed.

Which to choose. Consecutive failures react fast under light load and need neither a window nor a minimum; under heavy
load with a share of failures they never trip, because some success always comes in between. A failure rate sees such a
brownout, and needs traffic to see it: below the minimum number of calls it is blind. A slow-call rate sees a provider
that still answers but slows its callers down with it.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

from actors.instants import wait_ns
from actors.policies.breaker.windows import CountWindow, MovingAverage, TimeWindow
from actors.policies.exact import exact_share
from actors.settings.breaker import CircuitBreakerConfig

_CALM_CALLS = 20
_FAILURES = 8


class Trip(NamedTuple):
    """What tripped a breaker: its bad calls (failed or slow) without a good one between them, or in the window."""

    is_calm: bool
    """Whether 20 calls came before those, and at most one of them was bad."""

    failures: int
    """Where those were the first bad ones since it closed, how many failed after the last success; else 0."""

    def is_abrupt(self, late: int, late_failed: int) -> bool:
        """Return whether these were no ordinary failures, where so many calls were under way, and failed in the end.

        Nearly all that meets an overload fails. A provider at which 30% of all fail has in one opening of 1,000 at most
        so many failures among those under way.
        """
        if self.is_calm or (late >= _FAILURES and 10 * late_failed >= 9 * late):
            return True
        return late_failed == late and self.failures > 0 and self.failures + late >= _FAILURES


class Tripping(Protocol):
    """The rule by which a breaker trips. `duration_ns` is how long the call took."""

    count: int
    """Failures since the last success."""

    trip: Trip | None
    """The trip; None: it has not tripped yet."""

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


class _Calls:
    """The calls since the breaker closed: how many, and which of them were bad last."""

    __slots__ = ("_before", "_calls", "_latest_bad", "count", "trip")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.count = 0
        """Failures since the last success."""
        self.trip: Trip | None = None
        """As :class:`Tripping` has it."""
        self._calls = 0
        self._latest_bad = (0, 0)
        """The numbers of the last bad call but one and of the last, the first call being 1; 0: there is none."""
        self._before = (0, self._latest_bad)
        """Both, before the first call that may trip it."""

    def _add_bad(self, *, is_first: bool) -> None:
        if is_first:
            self._before = self._calls, self._latest_bad
        self._calls += 1
        self._latest_bad = self._latest_bad[1], self._calls

    def _is_tripped(self) -> bool:
        calls, (last_but_one, last) = self._before
        self.trip = Trip(calls - last_but_one >= _CALM_CALLS, 0 if last else self.count)
        return True


class ConsecutiveFailures(_Calls):
    """Trips at the `threshold`-th failure without a success in between (Nygard, *Release It!*, 2007)."""

    __slots__ = ("threshold",)

    def __init__(self, threshold: int) -> None:
        super().__init__()
        self.threshold = threshold

    def success(self, _now_ns: int, _duration_ns: int = 0) -> bool:
        self._calls += 1
        self.count = 0
        return False

    def failure(self, _now_ns: int, _duration_ns: int = 0) -> bool:
        self._add_bad(is_first=not self.count)
        self.count += 1
        return self.count >= self.threshold and self._is_tripped()

    def failure_rate(self, _now_ns: int) -> None:
        """Return None: no rate is kept."""

    def slow_call_rate(self, _now_ns: int) -> None:
        """Return None: no rate is kept."""


class FailureRate(_Calls):
    """Trips when the share of failures, or that of slow calls, reaches its threshold (resilience4j, Polly, Hystrix).

    Judges only with `minimum_calls` in the window. A call is slow when it takes longer than `slow_ns`, and not when it
    takes exactly as long; a slow failure counts as both. With `success_may_trip` false only a call that failed or was
    slow can trip.

    Args:
        window: Holds the calls; cleared by :meth:`reset`.
        rate: Share of failures that trips, more than 0 and at most 1; compared exactly.
        minimum_calls: Fewer calls in the window never trip.
        slow_ns: A call that takes longer is slow; None: none is.
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
        super().__init__()
        self._minimum_calls = minimum_calls
        self._part, self._of = exact_share(rate).as_integer_ratio()
        self._slow_part, self._slow_of = exact_share(slow_rate).as_integer_ratio()
        self._slow_ns: float = math.inf if slow_ns is None else slow_ns
        self._success_may_trip = success_may_trip

    def success(self, now_ns: int, duration_ns: int = 0) -> bool:
        slow = duration_ns > self._slow_ns
        self.count = 0
        self._record(now_ns, False, slow, duration_ns)
        return (slow or self._success_may_trip) and self._is_reached() and self._is_tripped()

    def failure(self, now_ns: int, duration_ns: int = 0) -> bool:
        self.count += 1
        self._record(now_ns, True, duration_ns > self._slow_ns, duration_ns)
        return self._is_reached() and self._is_tripped()

    def failure_rate(self, now_ns: int) -> float | None:
        self.window.advance(now_ns)
        return self.window.failures / self.window.total if self._can_judge() else None

    def slow_call_rate(self, now_ns: int) -> float | None:
        self.window.advance(now_ns)
        return self.window.slow / self.window.total if self._can_judge() else None

    def reset(self) -> None:
        super().reset()
        self.window.clear()

    def _record(self, now_ns: int, failed: bool, slow: bool, duration_ns: int) -> None:
        window = self.window
        if failed or slow:
            window.advance(now_ns)
            self._add_bad(is_first=not window.failures and not window.slow)
        else:
            self._calls += 1
        window.record(now_ns, failed, slow, duration_ns)

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
