"""The breaker under any sequence of calls, late results, orders and time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.config import CircuitBreakerConfig
from actors.policies.breaker import (
    TRANSITIONS,
    Breaker,
    BreakerEvent,
    BreakerState,
    IllegalTransition,
    Transition,
)

TIMEOUT_NS = 100
ADMITTING = (BreakerState.CLOSED, BreakerState.DISABLED)
ORDERS = {
    "force_open": BreakerEvent.FORCE_OPEN,
    "disable": BreakerEvent.DISABLE,
    "close": BreakerEvent.CLOSE,
}


class BreakerLaws(RuleBasedStateMachine):
    """Watches from outside: it knows only the permits it holds and the transitions it heard of."""

    @initialize(
        threshold=st.integers(1, 4),
        permits=st.integers(1, 3),
        reopen=st.sampled_from(["at", "after"]),
        on=st.booleans(),
    )
    def begin(self, threshold: int, permits: int, reopen: Any, on: bool) -> None:
        config = CircuitBreakerConfig(
            failure_threshold=threshold,
            timeout=TIMEOUT_NS / 1e9,
            half_open_permits=permits,
            reopen=reopen,
            enabled=on,
        )
        self.heard: list[Transition] = []
        self.breaker = Breaker(config, name="email", on_transition=self.heard.append)
        self.first_state = self.breaker.state
        self.threshold, self.permits = threshold, permits
        self.wait_ns = TIMEOUT_NS + (reopen == "after")
        self.now_ns = 0
        self.held: list[tuple[int, int]] = []
        """Permits not yet settled, each with the number of transitions heard before it was given."""
        self.failures = 0
        """Failures in a row in this closed period."""
        self.successes = 0
        """Successes in this half-open period."""

    def snapshot(self) -> tuple[Any, ...]:
        breaker = self.breaker
        return (
            breaker.state,
            breaker.opened_at_ns,
            breaker.reopen_at_ns,
            breaker.consecutive_failures,
            breaker.would_admit(self.now_ns),
            len(self.heard),
        )

    def under_way(self) -> int:
        return sum(epoch == len(self.heard) for _, epoch in self.held)

    @rule(step=st.one_of(st.integers(0, 3), st.sampled_from([TIMEOUT_NS - 1, TIMEOUT_NS, TIMEOUT_NS + 1])))
    def time_passes(self, step: int) -> None:
        self.now_ns += step

    @rule()
    def ask(self) -> None:
        before, reopen_at_ns, expected = self.breaker.state, self.breaker.reopen_at_ns, self.snapshot()[4]
        under_way = self.under_way()
        permit = self.breaker.try_acquire(self.now_ns)
        assert (permit is not None) == expected
        if before is BreakerState.OPEN:
            assert reopen_at_ns is not None
            assert (permit is not None) == (self.now_ns >= reopen_at_ns)
            self.successes = 0
        elif before is BreakerState.HALF_OPEN:
            assert (permit is not None) == (under_way + self.successes < self.permits)
        else:
            assert (permit is not None) == (before in ADMITTING)
        if permit is not None:
            assert self.breaker.state in (*ADMITTING, BreakerState.HALF_OPEN)
            self.held.append((permit, len(self.heard)))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), how=st.sampled_from(["success", "failure", "failure", "neutral", "reachable", "trip"]))
    def settle(self, data: st.DataObject, how: str) -> None:
        permit, epoch = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        record = self.breaker.trip if how == "trip" else getattr(self.breaker, f"record_{how}")
        state, current, before, heard = self.breaker.state, epoch == len(self.heard), self.snapshot(), len(self.heard)
        assert record(permit, self.now_ns) is current
        if not current or state is BreakerState.DISABLED:
            assert self.snapshot() == before, "a late result changed something"
            return
        trips = closes = False
        if state is BreakerState.CLOSED:
            if how in ("success", "failure"):
                self.failures = self.failures + 1 if how == "failure" else 0
            trips = how == "trip" or self.failures >= self.threshold
        else:
            assert state is BreakerState.HALF_OPEN
            trips = how in ("failure", "trip")
            self.successes += how in ("success", "reachable")
            closes = self.successes == self.permits
        assert [step.event for step in self.heard[heard:]] == (
            [BreakerEvent.TRIP] if trips else [BreakerEvent.RECOVER] if closes else []
        )
        if trips or closes:
            self.failures = self.successes = 0

    @rule(order=st.sampled_from(sorted(ORDERS)))
    def operator(self, order: str) -> None:
        before = self.snapshot()
        state, event = self.breaker.state, ORDERS[order]
        if event in TRANSITIONS[state]:
            getattr(self.breaker, order)(self.now_ns)
            assert self.breaker.state is TRANSITIONS[state][event]
            self.failures = self.successes = 0
        else:
            with pytest.raises(IllegalTransition) as caught:
                getattr(self.breaker, order)(self.now_ns)
            assert caught.value.args == ("email", state, event)
            assert self.snapshot() == before

    @rule()
    def once_everything_is_settled_and_time_has_passed_a_permit_can_be_had(self) -> None:
        while self.held:
            permit, _ = self.held.pop()
            self.breaker.record_neutral(permit, self.now_ns)
        self.now_ns += self.wait_ns
        assert self.breaker.would_admit(self.now_ns) == (self.breaker.state is not BreakerState.FORCED_OPEN)

    @invariant()
    def the_history_is_one_path_through_the_table(self) -> None:
        if not hasattr(self, "heard"):
            return
        state, at_ns = self.first_state, 0
        for step in self.heard:
            assert step.from_state is state
            assert step.to_state is TRANSITIONS[state][step.event]
            assert step.at_ns >= at_ns
            if step.event is BreakerEvent.WAIT_OVER:
                assert step.at_ns >= at_ns + self.wait_ns, "half-open before its time"
            state, at_ns = step.to_state, step.at_ns
        assert self.breaker.state is state

    @invariant()
    def what_it_says_of_itself_is_true(self) -> None:
        if not hasattr(self, "heard"):
            return
        breaker = self.breaker
        opened_at_ns = self.heard[-1].at_ns if self.heard else None
        is_open = breaker.state in (BreakerState.OPEN, BreakerState.FORCED_OPEN)
        assert breaker.opened_at_ns == (opened_at_ns if is_open else None)
        if breaker.state is BreakerState.OPEN:
            assert opened_at_ns is not None
            assert breaker.reopen_at_ns == opened_at_ns + self.wait_ns
        else:
            assert breaker.reopen_at_ns is None
        if breaker.state is BreakerState.CLOSED:
            assert breaker.consecutive_failures == self.failures < self.threshold
        if breaker.state is BreakerState.HALF_OPEN:
            assert self.under_way() <= self.permits


BreakerLaws.TestCase.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
TestBreakerLaws = BreakerLaws.TestCase
