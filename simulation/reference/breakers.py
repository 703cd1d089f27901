"""Circuit breakers of every kind (section 4): one for a channel's provider, or one for each host of its recipients."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from actors.instants import NS_PER_S, wait_ns
from actors.messages import BreakerState
from actors.outcomes import Ambiguous, ChannelFault, DeadDestination, Outcome, Permanent, Sent, Transient
from actors.settings.breaker import BreakerWindow, CircuitBreakerConfig
from simulation.reference.limits import Ramp, share_of
from simulation.reference.randomness import Stream

EXACT_INSTANTS = 10_000
"""So many instants in a window of time are kept one by one."""

OVERRIDES: dict[str, BreakerState] = {
    "force-open": BreakerState.FORCED_OPEN,
    "disable": BreakerState.DISABLED,
    "metrics-only": BreakerState.METRICS_ONLY,
    "close": BreakerState.CLOSED,
}
"""What an operator says, and the state it leads to from any other."""


@dataclass(frozen=True)
class Change:
    """ "Each transition is a recorded event."

    The causes: ``trip`` (closed or half-open, to open), ``wait-over`` (open to half-open), ``recover`` (half-open to
    closed), ``probes-overdue`` and ``benefit-of-the-doubt`` (half-open for too long, to open and to closed), and the
    operator's overrides.
    """

    at_ns: int
    host: str
    before: BreakerState
    after: BreakerState
    cause: str


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
        state: BreakerState | None = None,
    ) -> None:
        self._config = config
        self._stream = stream
        self._on_change = on_change
        self._host = host
        begins = BreakerState(config.initial_state) if config.enabled else BreakerState.DISABLED
        self.state = begins if state is None else state
        self.generation = generation
        """"Permits are numbered by generation": a transition begins a new one."""
        self.changes_at_ns: int | None = None
        """When time alone makes a difference: the end of the open time, of `half_open_max`, of the ramp."""
        self._openings = 0
        """How many times it has opened since it was last closed."""
        self._calls = _Calls(config)
        self._ramp: Ramp | None = None
        self._probes_out = 0
        self._probes_back: list[tuple[bool, bool]] = []
        """Of each result whether it failed, and whether it was slow."""

    # ── before and after a call ─────────────────────────────────────────────────────────────────────────────────

    def before(self, now_ns: int) -> int | None:
        """Return a permit for a call, or None: refused.

        "`timeout` s later, at the exact instant included, it is half-open; `half_open_permits` probes are let through."
        The change comes with the first call after the time.
        """
        self.advance(now_ns)
        if self._is_due(now_ns):
            if self.state == BreakerState.OPEN:
                self._change(now_ns, "wait-over", BreakerState.HALF_OPEN)
            else:  # `half_open_then: probe`: those without a result are let through again
                self._probes_out = 0
                self.changes_at_ns = now_ns + wait_ns(self._config.half_open_max or 0)
        if self.state == BreakerState.HALF_OPEN:
            if not self._has_probes_left():
                return None
            self._probes_out += 1
        elif self._ramp is not None:
            if not self._ramp.ask(now_ns):
                return None
        elif self.state in (BreakerState.OPEN, BreakerState.FORCED_OPEN):
            return None
        return self.generation

    def after(self, permit: int, outcome: Outcome | None, now_ns: int, duration_ns: int) -> None:
        """Count the end of a call; None: it was cancelled, or never made.

        "A late result from before the trip changes nothing."
        """
        self.advance(now_ns)
        if permit != self.generation:
            return
        if outcome is None or (isinstance(outcome, Transient) and outcome.throttled):
            # "`throttled` never counts"; "one that is cancelled or neutral gives its permit back".
            self._probes_out = max(0, self._probes_out - 1)
        elif isinstance(outcome, ChannelFault):
            # "Opens the breaker at once."
            if self.state in (BreakerState.CLOSED, BreakerState.HALF_OPEN):
                self._change(now_ns, "trip", BreakerState.OPEN)
        elif self.state == BreakerState.HALF_OPEN:
            # "As a probe's answer permanent failures prove it reachable."
            self._after_probe(isinstance(outcome, (Transient, Ambiguous)), now_ns, duration_ns)
        elif self.state == BreakerState.CLOSED:
            # "Permanent failures say nothing about the provider and don't count", or count as successes by a setting.
            is_ignored = isinstance(outcome, (Permanent, DeadDestination))
            if is_ignored and self._config.ignored_counts_as == "neutral":
                return
            if self._calls.trips(not is_ignored and not isinstance(outcome, Sent), now_ns, duration_ns):
                self._change(now_ns, "trip", BreakerState.OPEN)

    def _after_probe(self, failed: bool, now_ns: int, duration_ns: int) -> None:
        """Count the result of a probe and decide, as `decide` says.

        `first_failure`: a failure opens it, successes of all close it. `when_all_used`: the share of failures decides
        when all have a result. `when_decided`: as soon as the rest cannot change it. A slow probe counts against the
        rate of slow calls; with `first_failure` it is a failure.
        """
        config = self._config
        if not self._probes_out:
            return
        self._probes_out -= 1
        slow = config.slow_call is not None and duration_ns > wait_ns(config.slow_call.duration)
        self._probes_back.append((failed, slow))
        missing = config.half_open_permits - len(self._probes_back)
        if missing and config.decide == "when_all_used":
            return
        failures = sum(failed for failed, _ in self._probes_back)
        slow_ones = sum(slow for _, slow in self._probes_back)
        failures_to_open = slow_to_open = 1
        if config.decide != "first_failure":
            failures_to_open = math.ceil(share_of(config.failure_rate) * config.half_open_permits)
            if config.slow_call is not None:
                slow_to_open = math.ceil(share_of(config.slow_call.rate) * config.half_open_permits)
        if failures >= failures_to_open or slow_ones >= slow_to_open:
            self._change(now_ns, "trip", BreakerState.OPEN)
        elif failures + missing < failures_to_open and (config.slow_call is None or slow_ones + missing < slow_to_open):
            self._change(now_ns, "recover", BreakerState.CLOSED)

    # ── time, overrides, questions ──────────────────────────────────────────────────────────────────────────────

    def advance(self, now_ns: int) -> None:
        """Do what time alone has made due, as of the instant at which it was: "half-open cannot get stuck"."""
        due_ns = self.changes_at_ns
        if due_ns is None or now_ns < due_ns:
            return
        if self.state == BreakerState.CLOSED:
            self._ramp = self.changes_at_ns = None
        elif self.state == BreakerState.HALF_OPEN and self._config.half_open_then == "open":
            self._change(due_ns, "probes-overdue", BreakerState.OPEN)
        elif self.state == BreakerState.HALF_OPEN and self._config.half_open_then == "closed":
            self._change(due_ns, "benefit-of-the-doubt", BreakerState.CLOSED)
            self.advance(now_ns)

    def override(self, order: str, now_ns: int) -> bool:
        """Apply an operator's override; return whether that changes anything."""
        self.advance(now_ns)
        if self.state == OVERRIDES[order]:
            return False
        self._change(now_ns, order, OVERRIDES[order])
        return True

    def admits_at_ns(self, now_ns: int) -> int | None:
        """Return when the next call is worth asking for, as far as time decides; None: something has to happen."""
        self.advance(now_ns)
        if self._ramp is not None:
            return self._ramp.goes_at(now_ns)
        if self.state == BreakerState.HALF_OPEN and self._has_probes_left():
            return now_ns
        if self.state in (BreakerState.OPEN, BreakerState.HALF_OPEN):
            return None if self.changes_at_ns is None else max(now_ns, self.changes_at_ns)
        return None if self.state == BreakerState.FORCED_OPEN else now_ns

    @property
    def ramping_until_ns(self) -> int | None:
        """Until when only a growing share goes, after closing."""
        return None if self._ramp is None else self._ramp.end_ns

    # ── changes ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _is_due(self, now_ns: int) -> bool:
        return self.changes_at_ns is not None and now_ns >= self.changes_at_ns

    def _has_probes_left(self) -> bool:
        return self._probes_out + len(self._probes_back) < self._config.half_open_permits

    def _change(self, now_ns: int, cause: str, after: BreakerState) -> None:
        before, self.state = self.state, after
        self.generation += 1
        self.changes_at_ns = self._ramp = None
        self._probes_out, self._probes_back = 0, []
        self._calls = _Calls(self._config)
        config = self._config
        if after == BreakerState.OPEN:
            # "A setting makes it the first instant after, as some peers do."
            self.changes_at_ns = now_ns + self._open_time_ns() + (1 if config.reopen == "after" else 0)
            self._openings += 1
        elif after == BreakerState.HALF_OPEN:
            if config.half_open_max is not None:
                self.changes_at_ns = now_ns + wait_ns(config.half_open_max)
        else:
            self._openings = 0
            held_back = before in (BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.FORCED_OPEN)
            if after == BreakerState.CLOSED and held_back and config.ramp is not None:
                self._ramp = Ramp(config.ramp, now_ns)
                self.changes_at_ns = self._ramp.end_ns
        self._on_change(Change(now_ns, self._host, before, after, cause))

    def _open_time_ns(self) -> int:
        """Return timeout · multiplier^k after k openings, times U(1-x, 1+x): "growing, with a maximum and jitter"."""
        growth = self._config.open_growth
        if growth is None:
            return wait_ns(self._config.timeout)
        longest = wait_ns(growth.max)
        try:
            open_ns = wait_ns(self._config.timeout * math.pow(growth.multiplier, self._openings))
        except OverflowError:
            open_ns = longest
        open_ns = min(open_ns, longest)
        if growth.jitter:
            open_ns = round(open_ns * (1 - growth.jitter + 2 * growth.jitter * self._stream.draw()))
        return min(open_ns, longest)


class _Calls:
    """The calls of a closed breaker since it closed, and whether they trip it."""

    def __init__(self, config: CircuitBreakerConfig) -> None:
        self._config = config
        self._consecutive = 0
        self._window = _Window(config.window or BreakerWindow(calls=1))

    def trips(self, failed: bool, now_ns: int, duration_ns: int) -> bool:
        """Count a call that has ended.

        "`failure_threshold` consecutive failures open it"; with a window the share of failures, or of slow calls, that
        is reached, with a minimum number of calls.
        """
        config = self._config
        if config.window is None:
            self._consecutive = self._consecutive + 1 if failed else 0
            return self._consecutive >= config.failure_threshold
        slow = config.slow_call is not None and duration_ns > wait_ns(config.slow_call.duration)
        window = self._window
        window.add(failed, slow, now_ns)
        least = config.minimum_calls or config.window.ema or min(10, config.window.calls or 10)
        if window.calls < least or not (failed or slow or config.success_may_trip):
            return False
        return _reaches(window.failures, window.whole, config.failure_rate) or (
            config.slow_call is not None and _reaches(window.slow, window.whole, config.slow_call.rate)
        )


def _reaches(part: float, whole: float, rate: float) -> bool:
    share = share_of(rate)
    return part * share.denominator >= share.numerator * whole


class _Window:
    """The last so many calls, those that ended in (now - width, now], or a moving average."""

    def __init__(self, config: BreakerWindow) -> None:
        self._config = config
        self.calls = 0
        self.whole: float = 0
        """What the next two are a share of."""
        self.failures: float = 0
        self.slow: float = 0
        self._log: deque[tuple[int, int, int, int]] = deque()
        """Instant, calls, failures and slow ones."""

    def add(self, failed: bool, slow: bool, now_ns: int) -> None:
        """Count a call that ends now."""
        config = self._config
        if config.ema is not None:
            keep = math.exp(-1.0 / config.ema) if self.calls else 0.0
            self.calls, self.whole = self.calls + 1, 1.0
            self.failures = keep * self.failures + (1.0 - keep) * failed
            self.slow = keep * self.slow + (1.0 - keep) * slow
            return
        entry = (now_ns, 1, int(failed), int(slow))
        if config.time is not None:
            width_ns = wait_ns(config.time)
            while self._log and self._log[0][0] <= now_ns - width_ns:
                self._count(self._log.popleft(), -1)
            # Beyond 10,000 instants those within a ten-thousandth of the width leave together.
            grain_ns = max(1, width_ns // EXACT_INSTANTS)
            if len(self._log) >= EXACT_INSTANTS and self._log[-1][0] // grain_ns == now_ns // grain_ns:
                self._count(old := self._log.pop(), -1)
                entry = (now_ns, old[1] + 1, old[2] + failed, old[3] + slow)
        elif self.calls == config.calls:
            self._count(self._log.popleft(), -1)
        self._log.append(entry)
        self._count(entry, 1)

    def _count(self, entry: tuple[int, int, int, int], sign: int) -> None:
        self.calls += sign * entry[1]
        self.whole = self.calls
        self.failures += sign * entry[2]
        self.slow += sign * entry[3]


class BreakersByHost:
    """ "One per channel and recipient host", made when first asked for.

    One that nobody has asked for in an hour (or twice the longest open time, if that is more) is forgotten, and so is
    the longest unused beyond 10,000, both when a new one is made. Overrides hold for those that come later too.
    """

    KEYS_MAX = 10_000

    def __init__(
        self,
        config: CircuitBreakerConfig,
        stream: Stream,
        on_change: Callable[[Change], None] = lambda change: None,
    ) -> None:
        self._config = config
        self._stream = stream
        self._on_change = on_change
        self._breakers: dict[str, tuple[Breaker, int]] = {}
        """The longest unused first, and when each was last asked for."""
        self._generation = 1
        self._order: str | None = None
        longest = config.timeout if config.open_growth is None else config.open_growth.max
        self._idle_ns = max(3600 * NS_PER_S, 2 * wait_ns(longest))
        self._state = Breaker(config, stream).state

    def of(self, host: str, now_ns: int) -> Breaker:
        """Return the breaker of a host."""
        kept = self._breakers.pop(host, None)
        if kept is not None:
            self._breakers[host] = kept[0], now_ns
            return kept[0]
        for other, (breaker, used_ns) in list(self._breakers.items()):
            if len(self._breakers) < self.KEYS_MAX and now_ns - used_ns < self._idle_ns:
                break
            self._generation = max(self._generation, breaker.generation + 1)
            del self._breakers[other]
        new = Breaker(self._config, self._stream, self._on_change, host=host, generation=self._generation)
        self._breakers[host] = new, now_ns
        if self._order is not None:
            new.override(self._order, now_ns)
        return new

    def all(self) -> list[tuple[str, Breaker]]:
        """Return those there are, the longest unused first."""
        return [(host, breaker) for host, (breaker, _) in self._breakers.items()]

    def override(self, order: str, now_ns: int) -> bool:
        """Apply an operator's override to all; return whether that changes anything."""
        changes = self._state != OVERRIDES[order]
        self._state, self._order = OVERRIDES[order], order
        changed = [breaker.override(order, now_ns) for _, breaker in self.all()]
        return changes or any(changed)
