"""A circuit breaker, of every kind (section 4)."""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from actors.messages import BreakerState
from actors.outcomes import Ambiguous, ChannelFault, DeadDestination, Outcome, Permanent, Transient
from actors.settings.breaker import CircuitBreakerConfig, RampConfig
from simulation.verification.model.backoff import kind_of
from simulation.verification.model.instants import wait_ns
from simulation.verification.model.limits import share_of
from simulation.verification.model.randomness import Stream

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
REFUSING = (OPEN, HALF_OPEN, BreakerState.FORCED_OPEN)
OVERRIDES: dict[str, BreakerState] = {
    "force-open": BreakerState.FORCED_OPEN,
    "disable": BreakerState.DISABLED,
    "metrics-only": BreakerState.METRICS_ONLY,
    "close": CLOSED,
}
"""The override of an operator, and the state it leads to from any other."""


@dataclass(frozen=True)
class Change:
    """A transition. Its cause is an override, or ``trip`` (to open), ``wait-over`` (open to half-open), ``recover``
    (half-open to closed); ``probes-overdue`` and ``benefit-of-the-doubt`` (half-open too long, to open and closed);
    ``others-open`` (to open, as other nodes say so)."""

    at_ns: int
    host: str
    before: BreakerState
    after: BreakerState
    cause: str

    @property
    def ends_refusal(self) -> bool:
        """Whether it refused before, and admits from now on."""
        return self.before in REFUSING and self.after not in REFUSING


class Breaker:
    """One circuit breaker. `on_change` is called after each transition; `stream` is that of ``<lane>.breaker``."""

    def __init__(
        self,
        config: CircuitBreakerConfig,
        stream: Stream,
        on_change: Callable[[Change], None] = lambda change: None,
        *,
        host: str = "",
        generation: int = 1,
    ) -> None:
        self._config = config
        self._stream = stream
        self._on_change = on_change
        self._host = host
        self.state = BreakerState(config.initial_state) if config.enabled else BreakerState.DISABLED
        self.generation = generation
        """The number of its permits; a transition begins a new one."""
        self.changes_at_ns: int | None = None
        """When time alone makes a difference: the end of the open time, of `half_open_max`, of the ramp."""
        self._openings = 0
        """How many times it has opened since it was last closed."""
        self.latest_failure: str | None = None
        """Why a call failed last, since it was last closed or overridden."""
        self._calls = Calls(config)
        self._ramp: Ramp | None = None
        self._probes_out = 0
        self._probes_back: list[tuple[bool, bool]] = []
        """Of each result whether it failed, and whether it was slow."""
        self._closed_generation = 0
        """Of the permits that it gave when it was closed last."""
        self._closed_calls = self._calls
        """The calls that ended then."""
        self._late: list[bool] = []
        """Of each of those calls that has ended since whether it failed."""

    def take_permit(self, now_ns: int) -> int | None:
        """Return a permit for a call, or None: refused.

        The `timeout` later, "at the exact instant included, it is half-open; one probe (`half_open_permits=1`) is let
        through". The change comes with the first call after the time.
        """
        if self.changes_at_ns is not None:
            self.advance(now_ns)
        if self.changes_at_ns is not None and now_ns >= self.changes_at_ns:
            if self.state == OPEN:
                self._change(now_ns, "wait-over", HALF_OPEN)
            else:  # `half_open_then: probe`: as many as have no result are let through again
                self._probes_out = 0
                self.changes_at_ns = now_ns + wait_ns(self._config.half_open_max or 0)
        if self.state == HALF_OPEN and self._has_probes_left():
            self._probes_out += 1
            return self.generation
        if self.state in REFUSING:
            return None
        return self.generation if self._ramp is None or self._ramp.ask(now_ns) else None

    def settle(self, permit: int, outcome: Outcome | None, now_ns: int, duration_ns: int) -> None:
        """Count the end of a call; None: it was cancelled, or never made.

        "A late result from before the trip changes nothing"; "`throttled` never counts"; "one that is cancelled or
        neutral gives its permit back". A channel fault "opens the breaker at once". Permanent failures "say nothing
        about the provider and don't count" (or as a success, by a setting); "as a probe's answer they prove
        it reachable".
        """
        failed = self._is_failure(outcome)
        if outcome is not None and (failed or isinstance(outcome, ChannelFault)):
            self.latest_failure = outcome.reason
        if self.changes_at_ns is not None:
            self.advance(now_ns)
        is_permanent = isinstance(outcome, (Permanent, DeadDestination))
        ignored = is_permanent and not failed and self._config.ignored_counts_as == "neutral"
        if permit != self.generation:
            if permit == self._closed_generation and self._says_something(outcome, ignored=ignored):
                self._late.append(failed)
            return
        if outcome is None or (isinstance(outcome, (Transient, Ambiguous)) and not failed):
            self._probes_out = max(0, self._probes_out - 1)
        elif isinstance(outcome, ChannelFault):
            if self.state in (CLOSED, HALF_OPEN):
                self._change(now_ns, "trip", OPEN)
        elif self.state == HALF_OPEN:
            self._after_probe(failed, now_ns, duration_ns)
        elif self.state == CLOSED and not ignored and self._calls.trip(failed, now_ns, duration_ns):
            self._change(now_ns, "trip", OPEN)

    def refused_by_bulkhead(self, permit: int, now_ns: int) -> None:
        """Count a call that has failed before it was made."""
        self.latest_failure = "bulkhead is full"
        if self.state == HALF_OPEN:
            self._after_probe(True, now_ns, 0)
        elif self.state == CLOSED and self._calls.trip(True, now_ns, 0):
            self._change(now_ns, "trip", OPEN)

    def _is_failure(self, outcome: Outcome | None) -> bool:
        """ "What a breaker counts" (23); a channel fault opens it whatever that is."""
        match outcome:
            case Transient() | Ambiguous():
                return kind_of(outcome) in self._config.counts
            case Permanent() | DeadDestination():
                return "permanent" in self._config.counts
        return False

    def _says_something(self, outcome: Outcome | None, *, ignored: bool) -> bool:
        """Tell whether the outcome of a late call says whether the provider was overloaded."""
        if outcome is None or isinstance(outcome, ChannelFault) or (ignored and self.state == CLOSED):
            return False
        return not isinstance(outcome, (Transient, Ambiguous)) or self._is_failure(outcome)

    @property
    def tripped_abruptly(self) -> bool:
        """Whether its own calls tripped it when it was closed last, and not amid ordinary failures.

        "When of the 20 attempts before the failures that opened it at most one had failed" (23). An overload that comes
        slowly, or soon, shows by those under way then: at least 8, of which 9 in 10 fail; or 8 in a row with those that
        tripped it, and not a good one among them, where nothing failed before.
        """
        calls, late = self._closed_calls, self._late
        if not calls.has_tripped:
            return False
        before = calls.results[: calls.bad_since]
        if len(before) >= 20 and sum(before[-20:]) <= 1:
            return True
        if len(late) >= 8 and 10 * sum(late) >= 9 * len(late):
            return True
        return not any(before) and all(late) and calls.in_a_row > 0 and calls.in_a_row + len(late) >= 8

    def _after_probe(self, failed: bool, now_ns: int, duration_ns: int) -> None:
        if not self._probes_out:
            return
        self._probes_out -= 1
        slow_call = self._config.slow_call
        self._probes_back.append((failed, slow_call is not None and duration_ns > wait_ns(slow_call.duration)))
        if (cause := what_probes_say(self._config, self._probes_back)) is not None:
            self._change(now_ns, cause, OPEN if cause == "trip" else CLOSED)

    def advance(self, now_ns: int) -> None:
        """Do what time alone has made due, as of the instant at which it was: "half-open cannot get stuck"."""
        due_ns, then = self.changes_at_ns, self._config.half_open_then
        if due_ns is None or now_ns < due_ns:
            return
        if self.state == CLOSED:
            self._ramp = self.changes_at_ns = None
        elif self.state == HALF_OPEN and then == "open":
            self._change(due_ns, "probes-overdue", OPEN)
        elif self.state == HALF_OPEN and then == "closed":
            self._change(due_ns, "benefit-of-the-doubt", CLOSED)
            self.advance(now_ns)

    def override(self, order: str, now_ns: int) -> None:
        self.advance(now_ns)
        if self.state != OVERRIDES[order]:
            self._change(now_ns, order, OVERRIDES[order])

    def admits_at_ns(self, now_ns: int) -> int | None:
        """Return when the next call is worth asking for, as far as time decides; None: something has to happen."""
        self.advance(now_ns)
        if self._ramp is not None:
            return self._ramp.goes_at(now_ns)
        if self.state in (OPEN, HALF_OPEN) and not (self.state == HALF_OPEN and self._has_probes_left()):
            return None if self.changes_at_ns is None else max(now_ns, self.changes_at_ns)
        return None if self.state == BreakerState.FORCED_OPEN else now_ns

    @property
    def ramping_until_ns(self) -> int | None:
        """Until when only a growing share goes, after closing."""
        return None if self._ramp is None else self._ramp.end_ns

    def _has_probes_left(self) -> bool:
        return self._probes_out + len(self._probes_back) < self._config.half_open_permits

    def _change(self, now_ns: int, cause: str, after: BreakerState) -> None:
        config = self._config
        before, self.state = self.state, after
        if before == CLOSED:
            self._closed_generation, self._closed_calls, self._late = self.generation, self._calls, []
        self.generation += 1
        self.changes_at_ns = self._ramp = None
        self._probes_out, self._probes_back = 0, []
        self._calls = Calls(config)
        if after == OPEN:
            self.changes_at_ns = self._opens_until(now_ns)
        elif after == HALF_OPEN and config.half_open_max is not None:
            self.changes_at_ns = now_ns + wait_ns(config.half_open_max)
        elif after != HALF_OPEN:
            self._openings, self.latest_failure = 0, None
        if after == CLOSED and before in REFUSING and config.ramp is not None:
            self._ramp = Ramp(config.ramp, now_ns)
            self.changes_at_ns = self._ramp.end_ns
        self._on_change(Change(now_ns, self._host, before, after, cause))

    def _opens_until(self, now_ns: int) -> int:
        """Return until when it is open; "a setting makes it the first instant after, as some peers do"."""
        until_ns = now_ns + self._open_time_ns() + (1 if self._config.reopen == "after" else 0)
        self._openings += 1
        return until_ns

    def _open_time_ns(self) -> int:
        """Return timeout · multiplier^k after k openings, times U(1-x, 1+x): "growing, with a maximum and jitter"."""
        growth = self._config.open_growth
        if growth is None:
            return wait_ns(self._config.timeout)
        longest = open_ns = wait_ns(growth.max)
        with contextlib.suppress(OverflowError):  # beyond the floats, and so beyond any maximum
            open_ns = min(longest, wait_ns(self._config.timeout * math.pow(growth.multiplier, self._openings)))
        if growth.jitter:
            open_ns = round(open_ns * (1 - growth.jitter + 2 * growth.jitter * self._stream.draw()))
        return min(open_ns, longest)


def what_probes_say(config: CircuitBreakerConfig, results: Sequence[tuple[bool, bool]]) -> str | None:
    """Return what the results of probes have a breaker do, each whether it failed, and whether it was slow.

    `first_failure`: a failure, or a slow one, opens it; successes of all close it. `when_all_used`: the shares of
    failures and of slow ones decide when all have a result; `when_decided`: as soon as the rest cannot change that.
    """
    missing = config.half_open_permits - len(results)
    if missing and config.decide == "when_all_used":
        return None
    bad = [sum(kind) for kind in zip(*results, strict=True)]
    rates = [config.failure_rate] if config.slow_call is None else [config.failure_rate, config.slow_call.rate]
    enough = [
        1 if config.decide == "first_failure" else math.ceil(share_of(rate) * config.half_open_permits)
        for rate in rates
    ]
    if any(there >= needed for there, needed in zip(bad, enough, strict=False)):
        return "trip"
    is_decided = all(there + missing < needed for there, needed in zip(bad, enough, strict=False))
    return "recover" if is_decided else None


class Ramp:
    """After closing a share of the calls goes, which grows in a straight line from `start` to all.

    Each call adds the share of its instant to a credit; one that brings it to 1 goes, and takes 1 away.
    """

    def __init__(self, config: RampConfig, now_ns: int) -> None:
        self._over_ns = max(1, wait_ns(config.over))
        self._start = share_of(config.start)
        self._began_ns = now_ns
        self._credit = Fraction(0)
        self.end_ns = now_ns + self._over_ns

    def ask(self, now_ns: int) -> bool:
        self._credit += self._start + (1 - self._start) * Fraction(now_ns - self._began_ns, self._over_ns)
        goes = self._credit >= 1
        self._credit -= goes
        return goes

    def goes_at(self, now_ns: int) -> int:
        """Return when the next call would go, if none asks before."""
        grown = (1 - self._credit - self._start) / (1 - self._start)
        return max(now_ns, self._began_ns + math.ceil(grown * self._over_ns))


EXACT_INSTANTS = 10_000
"""So many instants in a window of time are kept one by one; beyond, all within that fraction of the width share one."""


class Calls:
    """The calls of a closed breaker since it closed, and whether they trip it.

    The window is of the last so many calls, of those that ended in (now - width, now], or a moving average.
    """

    def __init__(self, config: CircuitBreakerConfig) -> None:
        self._config = config
        self.results: list[bool] = []
        """Of each call whether it failed, or was slow."""
        self.bad_since = 0
        """How many there were before the failures that may trip: those in a row, or in the window."""
        self.in_a_row = 0
        self.has_tripped = False
        self._calls = 0
        self._bad: list[float] = [0, 0]
        """Failures and slow calls in the window; with a moving average, their shares."""
        self._log: deque[tuple[int, int, int, int]] = deque()
        """Instant, calls, failures, slow ones."""

    def trip(self, failed: bool, now_ns: int, duration_ns: int) -> bool:
        """Count a call that has ended, and return whether it trips.

        `failure_threshold` "consecutive failures open it"; or in a window, with a minimum of calls, the share of
        failures or of slow ones.
        """
        config, window = self._config, self._config.window
        slow = window is not None and config.slow_call is not None and duration_ns > wait_ns(config.slow_call.duration)
        if window is not None and window.time is not None:
            self._leave(now_ns - wait_ns(window.time))
        if (failed or slow) and not (self.in_a_row if window is None else any(self._bad)):
            self.bad_since = len(self.results)
        self.results.append(failed or slow)
        self.in_a_row = self.in_a_row + 1 if failed else 0
        self.has_tripped = self._trips(failed, slow, now_ns)
        return self.has_tripped

    def _trips(self, failed: bool, slow: bool, now_ns: int) -> bool:
        config, window = self._config, self._config.window
        if window is None:
            return self.in_a_row >= config.failure_threshold
        if window.ema is not None:
            keep = math.exp(-1.0 / window.ema) if self._calls else 0.0
            self._calls += 1
            self._bad = [keep * bad + (1.0 - keep) * this for bad, this in zip(self._bad, (failed, slow), strict=True)]
        elif window.time is not None:
            self._add_in_time(now_ns, failed, slow, wait_ns(window.time))
        else:
            if self._calls == window.calls:
                self._count(self._log.popleft(), -1)
            self._log.append((now_ns, 1, failed, slow))
            self._count(self._log[-1], 1)
        least = config.minimum_calls or window.ema or min(10, window.calls or 10)
        if self._calls < least or not (failed or slow or config.success_may_trip):
            return False
        rates = (config.failure_rate,) if config.slow_call is None else (config.failure_rate, config.slow_call.rate)
        whole = 1.0 if window.ema is not None else self._calls
        shares = [share_of(rate) for rate in rates]
        return any(bad * of.denominator >= of.numerator * whole for bad, of in zip(self._bad, shares, strict=False))

    def _leave(self, until_ns: int) -> None:
        while self._log and self._log[0][0] <= until_ns:
            self._count(self._log.popleft(), -1)

    def _add_in_time(self, now_ns: int, failed: bool, slow: bool, width_ns: int) -> None:
        last_ns, grain_ns = self._log[-1][0] if self._log else -1, max(1, width_ns // EXACT_INSTANTS)
        same_grain = len(self._log) >= EXACT_INSTANTS and last_ns // grain_ns == now_ns // grain_ns
        _, calls, failures, slow_ones = self._log.pop() if last_ns == now_ns or same_grain else (0, 0, 0, 0)
        self._log.append((now_ns, calls + 1, failures + failed, slow_ones + slow))
        self._count((now_ns, 1, failed, slow), 1)

    def _count(self, entry: tuple[int, int, int, int], sign: int) -> None:
        self._calls += sign * entry[1]
        self._bad = [self._bad[0] + sign * entry[2], self._bad[1] + sign * entry[3]]
