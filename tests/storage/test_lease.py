"""The lease of a node, by its own clock."""

import sys
import time

import pytest
from hypothesis import given, strategies as st

from actors.storage.clock_steps import clock_that_counts_sleep
from actors.storage.postgres import lease as leases
from actors.storage.postgres.lease import Lease


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(leases, "clock", clock)
    return clock


def never(*_: object) -> None:
    pytest.fail("called")


def test_a_lease_is_counted_from_before_it_was_asked_for_and_ends_before_others_say_so(clock):
    lease = Lease("one", 10, when_over=never, when_renewed=lambda: None)
    began = clock.now
    clock.now += 4  # the answer took so long
    lease.keep_from(began)
    clock.now = began + 8.9
    assert lease.holds()
    clock.now = began + 9
    assert not lease.holds()


def test_the_clock_of_leases_goes_on_while_the_machine_sleeps(monkeypatch):
    """CLOCK_MONOTONIC stands still then, and CLOCK_BOOTTIME does not: 100 s of sleep between two looks."""
    monkeypatch.setattr(time, "CLOCK_BOOTTIME", 7, raising=False)
    slept = 0.0
    monkeypatch.setattr(time, "clock_gettime_ns", lambda which: {7: round((50.0 + slept) * 1e9)}[which])
    monkeypatch.setattr(leases, "_boot_ns", clock_that_counts_sleep())
    lease = Lease("one", 30, when_over=never, when_renewed=lambda: None)
    lease.keep_from(leases.clock())
    assert lease.holds()
    slept = 100.0
    assert not lease.holds()


@pytest.mark.parametrize(("platform", "counts"), [("darwin", "CLOCK_MONOTONIC"), ("win32", None)])
def test_where_there_is_no_boot_time_the_best_that_is_there_counts(monkeypatch, platform, counts):
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    asked = []
    monkeypatch.setattr(time, "clock_gettime_ns", lambda which: asked.append(which) or 1)
    clock = clock_that_counts_sleep()
    assert clock() > 0
    assert asked == ([getattr(time, counts)] if counts else [])


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("passes"), st.floats(0, 15)),
        st.tuples(st.just("asks"), st.just(0.0)),
        st.tuples(st.just("renews"), st.floats(0, 15)),  # by what began so long ago
    ),
    max_size=30,
)


@given(steps=STEPS)
def test_who_is_refused_is_told_of_the_renewal_once_and_nobody_else_is(steps):
    clock, told = Clock(), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leases, "clock", clock)
        lease = Lease("one", 10, when_over=never, when_renewed=lambda: told.append(clock.now))
        ends, is_refused = 0.0, False
        for step, value in steps:
            if step == "passes":
                clock.now += value
            elif step == "asks":
                holds = lease.holds()
                assert holds == (clock.now < ends)
                is_refused |= not holds
            else:
                began = clock.now - value
                assert lease.keep_from(began) == (clock.now >= ends)
                ends = began + 9
                assert told == ([clock.now] if is_refused and clock.now < ends else [])
                if told:
                    is_refused = False
                    told.clear()
