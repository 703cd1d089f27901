"""The breaker of every kind under any sequence of calls, late results, orders and time."""

from fractions import Fraction
from random import Random
from typing import Any, NamedTuple

import pytest
from effort import examples
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.messages import BreakerState
from actors.policies.breaker.breaker import TRANSITIONS, Breaker, BreakerEvent, IllegalTransition, Transition
from actors.settings.breaker import CircuitBreakerConfig

TIMEOUT_NS = 100
HALF_OPEN_NS = 30
RAMP_NS = 40
SLOW_NS = 3
ALL_OVER_NS = 10_000
ADMITTING = (BreakerState.CLOSED, BreakerState.DISABLED, BreakerState.METRICS_ONLY)
OPEN_STATES = (BreakerState.OPEN, BreakerState.FORCED_OPEN)
ORDERS = {
    "force_open": BreakerEvent.FORCE_OPEN,
    "disable": BreakerEvent.DISABLE,
    "metrics_only": BreakerEvent.METRICS_ONLY,
    "close": BreakerEvent.CLOSE,
}
SHARES = st.sampled_from([0.25, 1 / 3, 0.5, 1.0])
STEPS = st.one_of(
    st.integers(0, 3),
    st.sampled_from([HALF_OPEN_NS - 1, HALF_OPEN_NS, RAMP_NS, TIMEOUT_NS - 1, TIMEOUT_NS, TIMEOUT_NS + 1, 401]),
)
HOW = st.sampled_from(["success", "failure", "failure", "neutral", "reachable", "trip"])
HOW_MOST = st.sampled_from(["success"] * 5 + ["failure"] * 4 + ["reachable"])
TOOK_NS = st.sampled_from([0, SLOW_NS, SLOW_NS + 1])


class Call(NamedTuple):
    at_ns: int
    failed: bool
    slow: bool


@st.composite
def any_settings(draw: st.DrawFn) -> dict[str, Any]:
    """Return settings of every kind, in nanoseconds where they are durations."""
    windowed = draw(st.booleans())
    chosen: dict[str, Any] = {
        "timeout": TIMEOUT_NS / 1e9,
        "reopen": draw(st.sampled_from(["at", "after"])),
        "half_open_permits": draw(st.integers(1, 4)),
        "decide": draw(st.sampled_from(["first_failure", "when_decided", "when_all_used"])),
        "ignored_counts_as": draw(st.sampled_from(["neutral", "success"])),
        "initial_state": draw(st.sampled_from(["closed"] * 5 + ["disabled", "forced-open", "metrics-only"])),
    }
    if windowed:
        size = draw(st.integers(1, 8))
        chosen["window"] = draw(st.sampled_from([{"calls": size}, {"time": 10 * size / 1e9}]))
        chosen["minimum_calls"] = draw(st.integers(1, size))
        chosen["success_may_trip"] = draw(st.booleans())
        if draw(st.booleans()):
            chosen["slow_call"] = {"duration": SLOW_NS / 1e9, "rate": draw(SHARES)}
    else:
        chosen["failure_threshold"] = draw(st.integers(1, 4))
    if windowed or chosen["decide"] != "first_failure":
        chosen["failure_rate"] = draw(SHARES)
    if draw(st.booleans()):
        chosen["half_open_max"] = HALF_OPEN_NS / 1e9
        chosen["half_open_then"] = draw(st.sampled_from(["open", "closed", "probe"]))
    if draw(st.booleans()):
        chosen["open_growth"] = {
            "multiplier": 2,
            "max": 4 * TIMEOUT_NS / 1e9,
            "jitter": draw(st.sampled_from([0, 0.2])),
        }
    if draw(st.booleans()):
        chosen["ramp"] = {"over": RAMP_NS / 1e9, "start": 0.25}
    return chosen


class BreakerInvariants(RuleBasedStateMachine):
    """Watches the breaker: it knows only the settings, the permits it holds and the transitions."""

    @initialize(chosen=any_settings())
    def begin(self, chosen: dict[str, Any]) -> None:
        self.config = CircuitBreakerConfig(**chosen)
        self.transitions: list[Transition] = []
        self.breaker = Breaker(self.config, name="email", on_transition=self.transitions.append, random=Random(7))
        self.first_state = self.breaker.state
        self.now_ns = 0
        self.permits_held: list[tuple[int, int]] = []
        """Permits not yet settled, each with the number of transitions before it was given."""
        self.counted: list[Call] = []
        """Results that count, since the last transition."""
        self.under_way = 0
        """Probes without a result; those that were abandoned do not count."""
        self.probing_since_ns = 0
        self.ramp_credit: Fraction | None = None
        """The sum of the shares less those that went through, while ramping."""

    # What should happen, computed the naive way.

    def since_ns(self) -> int:
        return self.transitions[-1].at_ns if self.transitions else 0

    def reaches(self, calls: list[Call]) -> bool:
        """Return whether the closed breaker trips with the last of these calls."""
        config, last = self.config, calls[-1]
        if config.window is None:
            threshold = config.failure_threshold
            return len(calls) >= threshold and all(call.failed for call in calls[-threshold:])
        if config.window.calls is not None:
            seen = calls[-config.window.calls :]
        else:
            assert config.window.time is not None
            seen = [call for call in calls if call.at_ns > last.at_ns - round(config.window.time * 1e9)]
        assert config.minimum_calls is not None
        if len(seen) < config.minimum_calls or not (last.failed or last.slow or config.success_may_trip):
            return False
        return self.share_reached(seen, len(seen))

    def share_reached(self, calls: list[Call], of: int) -> bool:
        slow_call = self.config.slow_call
        failed = Fraction(sum(call.failed for call in calls), of)
        slow = Fraction(sum(call.slow for call in calls), of)
        return failed >= whole(self.config.failure_rate) or (slow_call is not None and slow >= whole(slow_call.rate))

    def decided(self) -> BreakerEvent | None:
        """Return what the results of the probes mean."""
        permits, results = self.config.half_open_permits, self.counted
        missing = permits - len(results)
        if self.config.decide == "first_failure":
            if any(call.failed or call.slow for call in results):
                return BreakerEvent.TRIP
            return None if missing else BreakerEvent.RECOVER
        if self.config.decide == "when_all_used" and missing:
            return None
        if self.share_reached(results, permits):
            return BreakerEvent.TRIP
        worst = [*results, *[Call(0, True, True)] * missing]
        return None if self.share_reached(worst, permits) else BreakerEvent.RECOVER

    def ramp_share(self) -> Fraction:
        elapsed = min(self.now_ns - self.since_ns(), RAMP_NS)
        return Fraction(1, 4) + Fraction(3, 4) * Fraction(elapsed, RAMP_NS)

    def after_transitions(self, known: int) -> None:
        for step in self.transitions[known:]:
            self.counted, self.under_way, self.probing_since_ns = [], 0, step.at_ns
            shut = step.from_state in (*OPEN_STATES, BreakerState.HALF_OPEN)
            ramps = step.to_state is BreakerState.CLOSED and shut and self.config.ramp is not None
            self.ramp_credit = Fraction(0) if ramps else None

    def catch_up(self) -> None:
        """Let what is due happen, and see that it is just that, as of its instant."""
        known, state, due_ns = len(self.transitions), self.breaker.state, self.probing_since_ns + HALF_OPEN_NS
        is_due = state is BreakerState.HALF_OPEN and self.config.half_open_max is not None and self.now_ns >= due_ns
        self.breaker.advance(self.now_ns)
        events = {"open": BreakerEvent.PROBES_OVERDUE, "closed": BreakerEvent.BENEFIT_OF_THE_DOUBT}
        event = events.get(self.config.half_open_then) if is_due else None
        assert [(step.event, step.at_ns) for step in self.transitions[known:]] == ([(event, due_ns)] if event else [])
        self.after_transitions(known)
        if self.ramp_credit is not None and self.now_ns >= self.since_ns() + RAMP_NS:
            self.ramp_credit = None

    def snapshot(self) -> tuple[Any, ...]:
        breaker = self.breaker
        return (
            breaker.state,
            breaker.generation,
            breaker.opened_at_ns,
            breaker.changes_at_ns,
            breaker.consecutive_failures,
            breaker.failure_rate(self.now_ns),
            breaker.slow_call_rate(self.now_ns),
            breaker.admits_at_ns(self.now_ns),
            breaker.openings,
            breaker.exceeded_at_ns,
            len(self.transitions),
        )

    @rule(step=STEPS)
    def time_passes(self, step: int) -> None:
        self.now_ns += step

    @rule()
    def ask(self) -> None:
        self.catch_up()
        breaker, known = self.breaker, len(self.transitions)
        state, reopen_at_ns, expected = breaker.state, breaker.reopen_at_ns, breaker.would_admit(self.now_ns)
        permit = breaker.try_acquire(self.now_ns)
        assert (permit is not None) == expected
        if state is BreakerState.OPEN:
            assert reopen_at_ns is not None
            assert (permit is not None) == (self.now_ns >= reopen_at_ns), "a permit while open, before its time"
            self.after_transitions(known)
        elif state is BreakerState.HALF_OPEN:
            if self.config.half_open_max is not None and self.now_ns >= self.probing_since_ns + HALF_OPEN_NS:
                self.under_way, self.probing_since_ns = 0, self.now_ns
            assert (permit is not None) == (self.under_way + len(self.counted) < self.config.half_open_permits)
        elif self.ramp_credit is not None:
            self.ramp_credit += self.ramp_share()
            assert (permit is not None) == (self.ramp_credit >= 1)
            self.ramp_credit -= permit is not None
        else:
            assert (permit is not None) == (state in ADMITTING)
        if permit is not None:
            assert permit, "a caller may write `if permit:`"
            assert breaker.state in (*ADMITTING, BreakerState.HALF_OPEN)
            self.under_way += breaker.state is BreakerState.HALF_OPEN
            self.permits_held.append((permit, len(self.transitions)))
        else:
            at_ns = breaker.admits_at_ns(self.now_ns)
            assert at_ns is None or at_ns > self.now_ns or self.ramp_credit is not None

    @precondition(lambda self: self.permits_held)
    @rule(data=st.data(), how=HOW, took_ns=TOOK_NS)
    def settle(self, data: st.DataObject, how: str, took_ns: int) -> None:
        self.settle_one(*self.permits_held.pop(data.draw(st.integers(0, len(self.permits_held) - 1))), how, took_ns)

    @rule(calls=st.lists(st.tuples(st.integers(0, 5), HOW_MOST, TOOK_NS), min_size=1, max_size=10))
    def calls_one_after_another(self, calls: list[tuple[int, str, int]]) -> None:
        for step, how, took_ns in calls:
            self.now_ns += step
            known = len(self.permits_held)
            self.ask()
            if len(self.permits_held) > known:
                self.settle_one(*self.permits_held.pop(), how, took_ns)

    def settle_one(self, permit: int, epoch: int, how: str, took_ns: int) -> None:
        self.catch_up()
        breaker, config, known = self.breaker, self.config, len(self.transitions)
        state, is_current, before = breaker.state, epoch == known, self.snapshot()
        if how in ("neutral", "trip"):
            record = breaker.trip if how == "trip" else breaker.record_neutral
            assert record(permit, self.now_ns) is is_current
        else:
            assert getattr(breaker, f"record_{how}")(permit, self.now_ns, took_ns) is is_current
        if not is_current or state is BreakerState.DISABLED:
            assert self.snapshot() == before, "a late result changed something"
            return
        expected: BreakerEvent | None = None
        slow = config.slow_call is not None and took_ns > SLOW_NS
        call = Call(self.now_ns, how in ("failure", "trip"), slow and how != "trip")
        if state is BreakerState.HALF_OPEN:
            if how == "trip":
                expected = BreakerEvent.TRIP
            elif self.under_way:
                self.under_way -= 1
                if how != "neutral":
                    self.counted.append(call)
                    expected = self.decided()
        else:
            assert state in (BreakerState.CLOSED, BreakerState.METRICS_ONLY)
            ignored = how == "neutral" or (how == "reachable" and config.ignored_counts_as == "neutral")
            exceeded = how == "trip"
            if not ignored:
                self.counted.append(call)
                exceeded = self.reaches(self.counted) or exceeded
            if state is BreakerState.METRICS_ONLY:
                exceeded_at_ns = before[-2]
                if exceeded_at_ns is None and exceeded:
                    exceeded_at_ns = self.now_ns
                assert breaker.exceeded_at_ns == exceeded_at_ns
            elif exceeded:
                expected = BreakerEvent.TRIP
        assert [step.event for step in self.transitions[known:]] == ([expected] if expected else [])
        self.after_transitions(known)

    @rule(order=st.sampled_from(sorted(ORDERS)))
    def operator(self, order: str) -> None:
        self.catch_up()
        before, known = self.snapshot(), len(self.transitions)
        state, event = self.breaker.state, ORDERS[order]
        if event in TRANSITIONS[state]:
            getattr(self.breaker, order)(self.now_ns)
            assert self.breaker.state is TRANSITIONS[state][event]
            self.after_transitions(known)
        else:
            with pytest.raises(IllegalTransition) as caught:
                getattr(self.breaker, order)(self.now_ns)
            assert caught.value.args == ("email", state, event)
            assert self.snapshot() == before

    def all_time_passes(self) -> None:
        for _ in range(2):  # once until it is half-open for as long as it may, and once more until it is open no more
            self.now_ns += ALL_OVER_NS
            self.catch_up()

    @rule()
    def once_everything_is_settled_and_time_has_passed_a_permit_can_be_had(self) -> None:
        self.catch_up()
        while self.permits_held:
            permit, epoch = self.permits_held.pop()
            self.breaker.record_neutral(permit, self.now_ns)
            if epoch == len(self.transitions) and self.under_way:
                self.under_way -= 1
        self.all_time_passes()
        assert self.breaker.would_admit(self.now_ns) == (self.breaker.state is not BreakerState.FORCED_OPEN)

    @precondition(lambda self: self.config.half_open_max is not None)
    @rule()
    def with_a_maximum_half_open_it_gets_out_of_it_without_any_result(self) -> None:
        self.all_time_passes()
        assert self.breaker.would_admit(self.now_ns) == (self.breaker.state is not BreakerState.FORCED_OPEN)

    @invariant()
    def the_history_is_one_path_through_the_table(self) -> None:
        if not hasattr(self, "transitions"):
            return
        state, at_ns, openings = self.first_state, 0, 0
        for step in self.transitions:
            assert step.from_state is state
            assert step.to_state is TRANSITIONS[state][step.event]
            assert step.at_ns >= at_ns
            if step.event is BreakerEvent.WAIT_OVER:
                assert step.at_ns >= at_ns + self.shortest_open_ns(openings), "half-open before its time"
            if step.to_state is BreakerState.OPEN:
                openings += 1
            elif step.to_state is not BreakerState.HALF_OPEN:
                openings = 0
            if state in (BreakerState.METRICS_ONLY, BreakerState.DISABLED, BreakerState.FORCED_OPEN):
                assert step.event in ORDERS.values(), "only an operator ends what an operator ordered"
            state, at_ns = step.to_state, step.at_ns
        assert self.breaker.state is state
        assert self.breaker.openings == openings

    def shortest_open_ns(self, openings: int) -> float:
        growth, after = self.config.open_growth, self.config.reopen == "after"
        if growth is None:
            return TIMEOUT_NS + after
        base_ns = min(TIMEOUT_NS << (openings - 1), 4 * TIMEOUT_NS)
        return base_ns * (1 - growth.jitter) - 1 + after

    @invariant()
    def what_it_says_of_itself_is_true(self) -> None:
        if not hasattr(self, "transitions"):
            return
        breaker = self.breaker
        is_open = breaker.state in OPEN_STATES and bool(self.transitions)
        assert breaker.opened_at_ns == (self.transitions[-1].at_ns if is_open else None)
        if breaker.state is BreakerState.OPEN:
            assert breaker.reopen_at_ns is not None
            lasts_ns = breaker.reopen_at_ns - self.transitions[-1].at_ns
            assert self.shortest_open_ns(breaker.openings) <= lasts_ns <= 4 * TIMEOUT_NS + 1
            if self.config.open_growth is None:
                assert lasts_ns == TIMEOUT_NS + (self.config.reopen == "after")
        else:
            assert breaker.reopen_at_ns is None
        if self.ramp_credit is not None:
            assert breaker.ramping_until_ns == self.since_ns() + RAMP_NS
        if breaker.state is BreakerState.HALF_OPEN:
            assert self.under_way <= self.config.half_open_permits


def whole(share: float) -> Fraction:
    return Fraction(share).limit_denominator(1000)


BreakerInvariants.TestCase.settings = settings(max_examples=examples(200), stateful_step_count=50, deadline=None)
TestBreakerInvariants = BreakerInvariants.TestCase


@given(
    any_settings(),
    st.lists(st.tuples(STEPS, st.sampled_from(["ask", "success", "failure", "neutral", "trip"])), max_size=60),
)
@settings(deadline=None)
def test_it_makes_no_difference_whether_a_caller_wakes_it(chosen: dict[str, Any], steps: list[tuple[int, str]]) -> None:
    config = CircuitBreakerConfig(**chosen)
    histories: list[list[Transition]] = [[], []]
    woken, left_alone = (
        Breaker(config, on_transition=transitions.append, random=Random(7)) for transitions in histories
    )
    now_ns, permits_held = 0, []
    for step, what in steps:
        wake_ns = woken.changes_at_ns
        while wake_ns is not None and now_ns < wake_ns <= now_ns + step:
            woken.advance(wake_ns)
            wake_ns = woken.changes_at_ns if woken.changes_at_ns != wake_ns else None
        now_ns += step
        if what == "ask":
            permit = woken.try_acquire(now_ns)
            assert left_alone.try_acquire(now_ns) == permit
            if permit is not None:
                permits_held.append(permit)
        elif permits_held:
            permit = permits_held.pop(0)
            name = "trip" if what == "trip" else f"record_{what}"
            assert getattr(woken, name)(permit, now_ns) == getattr(left_alone, name)(permit, now_ns)
    woken.advance(now_ns)
    left_alone.advance(now_ns)
    assert histories[0] == histories[1]
    assert woken.changes_at_ns == left_alone.changes_at_ns
