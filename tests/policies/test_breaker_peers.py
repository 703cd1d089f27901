"""Other breakers' own numbers, each under the settings that make ours behave as theirs does."""

from random import Random
from typing import Any

import pytest

from actors.instants import ns
from actors.messages import BreakerState
from actors.policies.breaker.breaker import Breaker, BreakerEvent, IllegalTransition, Transition, next_state
from actors.settings.breaker import CircuitBreakerConfig

RESILIENCE4J: dict[str, Any] = {
    "window": {"time": "20s"},
    "minimum_calls": 5,
    "failure_rate": "50%",
    "slow_call": {"duration": "4s", "rate": "50%"},
    "timeout": 5,
    "reopen": "after",
    "half_open_permits": 4,
    "decide": "when_all_used",
    "half_open_max": 1,
}
"""The settings of its CircuitBreakerStateMachineTest."""

POLLY: dict[str, Any] = {
    "window": {"time": "10s"},
    "minimum_calls": 4,
    "failure_rate": 0.5,
    "success_may_trip": False,
    "timeout": 30,
    "half_open_max": 30,
    "half_open_then": "probe",
}
"""The settings of its AdvancedCircuitBreakerSpecs."""

TICK = 100
"""Polly's clock has ticks of 100 ns."""


class Driven:
    """A breaker with its transitions, driven in seconds."""

    def __init__(self, settings: dict[str, Any], **changes: Any) -> None:
        self.transitions: list[Transition] = []
        config = CircuitBreakerConfig(**(settings | changes))
        self.breaker = Breaker(config, on_transition=self.transitions.append, random=Random(1))

    @property
    def state(self) -> str:
        return str(self.breaker.state)

    @property
    def events(self) -> list[str]:
        return [str(step.event) for step in self.transitions]

    def permit(self, at_s: float) -> int:
        permit = self.breaker.try_acquire(ns(at_s))
        assert permit is not None
        return permit

    def refused(self, at_s: float) -> bool:
        return self.breaker.try_acquire(ns(at_s)) is None

    def results(self, text: str, at_s: float = 0, *, early_ns: int = 0, took: float = 0) -> list[str]:
        """Send a call for each letter (S success, F failure, I neutral, X excluded); return the state after each."""
        records = {"S": self.breaker.record_success, "F": self.breaker.record_failure}
        now_ns, states = ns(at_s) - early_ns, []
        for letter in text:
            permit = self.breaker.try_acquire(now_ns)
            assert permit is not None
            if letter == "I":
                assert self.breaker.record_neutral(permit, now_ns)
            elif letter == "X":
                assert self.breaker.record_reachable(permit, now_ns)
            else:
                assert records[letter](permit, now_ns, ns(took))
            states.append(self.state)
        return states

    def open_at(self, at_s: float) -> None:
        assert self.breaker.trip(self.permit(at_s), ns(at_s))

    def half_open_at(self, at_s: float) -> None:
        """Make it half-open at this instant, with no probe under way."""
        self.open_at(at_s - 10)
        assert self.results("I", at_s) == ["half-open"]


def test_v50_half_of_six_calls_reach_a_threshold_of_half() -> None:
    driven = Driven(RESILIENCE4J)
    for at_s, letter in enumerate("SSSFF"):
        assert driven.results(letter, at_s) == ["closed"]
    assert driven.breaker.failure_rate(ns(4)) == 0.4
    assert driven.results("F", 5) == ["open"]
    assert driven.breaker.failure_rate(ns(100)) == 0.5, "while open it is that of the trip"


def test_v52_open_refuses_and_counts_what_it_refuses() -> None:
    driven = Driven(RESILIENCE4J)
    driven.open_at(0)
    assert driven.refused(0)
    assert driven.refused(3)
    assert driven.breaker.refused == 2
    driven.permit(6)
    assert (driven.state, driven.breaker.refused, driven.breaker.failure_rate(ns(6))) == ("half-open", 0, None)


def test_v54_the_second_opening_lasts_half_as_long_again() -> None:
    driven = Driven(RESILIENCE4J, reopen="at", open_growth={"multiplier": 1.5})
    driven.open_at(0)
    assert driven.refused(3)
    assert driven.results("FFFF", 6)[-1] == "open"
    assert driven.breaker.reopen_at_ns == ns(6 + 7.5)
    assert driven.refused(6 + 6)
    driven.permit(6 + 11)
    assert driven.state == "half-open"


def test_v56_a_quarter_of_failed_probes_closes_it_and_the_counts_begin_anew() -> None:
    driven = Driven(RESILIENCE4J)
    driven.half_open_at(20)
    assert driven.results("FSSS", 20.5) == ["half-open"] * 3 + ["closed"]
    assert driven.results("SFFF", 21) == ["closed"] * 4
    assert driven.breaker.failure_rate(ns(21)) is None, "the probes are not among the calls"
    assert driven.results("F", 21) == ["open"]


def test_v56_half_of_failed_probes_opens_it_when_all_have_a_result() -> None:
    driven = Driven(RESILIENCE4J)
    driven.half_open_at(20)
    assert driven.results("FFSS", 20.5) == ["half-open"] * 3 + ["open"]


def test_v58_four_permits_and_one_given_back() -> None:
    driven = Driven(RESILIENCE4J)
    driven.half_open_at(20)
    got = [driven.breaker.try_acquire(ns(20)) for _ in range(6)]
    assert [permit is not None for permit in got] == [True] * 4 + [False] * 2
    assert got[0] is not None
    driven.breaker.record_neutral(got[0], ns(20))
    driven.permit(20)


def test_v60_ignored_probes_decide_nothing() -> None:
    driven = Driven(RESILIENCE4J)
    driven.half_open_at(20)
    assert driven.results("IIIISSSS", 20.5) == ["half-open"] * 7 + ["closed"]


def test_v62_disabled_it_admits_says_nothing_and_counts_nothing() -> None:
    driven = Driven(RESILIENCE4J, initial_state="disabled")
    assert driven.results("SFFFF", 0) == ["disabled"] * 5
    assert driven.results("FFFF", 1) == ["disabled"] * 4
    assert (driven.transitions, driven.breaker.failure_rate(ns(1)), driven.breaker.consecutive_failures) == (
        [],
        None,
        0,
    )


def test_v64_closed_does_not_become_half_open() -> None:
    with pytest.raises(IllegalTransition):
        next_state(BreakerState.CLOSED, BreakerEvent.WAIT_OVER)


@pytest.mark.parametrize(
    ("then", "state", "event"),
    [("open", "open", "probes-overdue"), ("closed", "closed", "benefit-of-the-doubt")],
)
def test_v66_half_open_for_as_long_as_it_may_be(then: str, state: str, event: str) -> None:
    driven = Driven(RESILIENCE4J, half_open_then=then)
    driven.open_at(0)
    probe = driven.permit(6)
    assert driven.breaker.changes_at_ns == ns(7)
    driven.breaker.advance(ns(7) - 1)
    assert driven.state == "half-open"
    driven.breaker.advance(ns(7))
    assert (driven.state, driven.events[-1], driven.transitions[-1].at_ns) == (state, event, ns(7))
    assert driven.breaker.record_success(probe, ns(7)) is False, "the probe is late"
    if then == "open":
        assert driven.breaker.reopen_at_ns == ns(12) + 1


def test_v66_no_one_has_to_wake_it() -> None:
    driven = Driven(RESILIENCE4J)
    driven.open_at(0)
    driven.permit(6)
    assert driven.breaker.record_failure(driven.breaker.generation, ns(8)) is False
    assert driven.breaker.opened_at_ns == ns(7), "as of the instant at which it was due"
    driven.permit(13)
    assert driven.events == ["trip", "wait-over", "probes-overdue", "wait-over"]


def test_v68_two_failures_of_four() -> None:
    assert Driven(POLLY).results("SSFF") == ["closed"] * 3 + ["open"]


def test_v70_the_two_successes_have_left_the_window() -> None:
    driven = Driven(POLLY)
    driven.results("SS", 0)
    assert driven.results("F", 10, early_ns=TICK) == ["closed"]
    assert driven.results("F", 10) == ["closed"]


def test_v72_one_success_has_left_and_four_calls_remain() -> None:
    driven = Driven(POLLY)
    driven.results("S", 0)
    assert driven.results("SSF", 10, early_ns=TICK) == ["closed"] * 3
    assert driven.results("F", 10) == ["open"]


def test_v74_three_failures_of_four() -> None:
    driven = Driven(POLLY)
    driven.results("S", 0)
    assert driven.results("FFS", 1) == ["closed"] * 3
    assert driven.results("F", 10) == ["open"]


def test_v76_and_x5_one_probe_for_each_break_duration() -> None:
    driven = Driven(POLLY)
    driven.open_at(0)
    first = driven.permit(30)
    assert driven.refused(30)
    assert driven.refused(59.9)
    assert driven.breaker.admits_at_ns(ns(59.9)) == ns(60)
    second = driven.permit(60)
    assert driven.state == "half-open"
    assert driven.refused(60)
    assert driven.breaker.record_success(first, ns(61)), "the first probe may still decide"
    assert (driven.state, driven.breaker.record_failure(second, ns(62))) == ("closed", False)


def test_v78_the_open_time_grows_with_every_opening_in_a_row_and_a_recovery_resets_it() -> None:
    driven = Driven({"timeout": 1, "open_growth": {"multiplier": 2, "max": 600}})
    lasted, at_s = [], 0.0

    def opens() -> None:
        nonlocal at_s
        driven.open_at(at_s)
        reopen_at_ns = driven.breaker.reopen_at_ns
        assert reopen_at_ns is not None
        lasted.append(reopen_at_ns - ns(at_s))
        at_s = reopen_at_ns / 1e9

    for _ in range(5):
        opens()
    driven.results("S", at_s)
    assert driven.breaker.openings == 0
    for _ in range(3):
        opens()
    assert [duration_ns // ns(1) for duration_ns in lasted] == [2**k for k in (0, 1, 2, 3, 4, 0, 1, 2)]


@pytest.mark.parametrize(("throughput", "failures", "trips"), [(10, 0, False), (10, 1, True), (9, 1, False)])
def test_v80_a_rate_of_a_tenth_over_at_least_ten_calls(throughput: int, failures: int, trips: bool) -> None:
    driven = Driven(POLLY, minimum_calls=10, failure_rate=0.1)
    states = driven.results("S" * (throughput - failures) + "F" * failures)
    assert (states[-1] == "open") is trips


def test_v82_consecutive_failures() -> None:
    assert Driven({"failure_threshold": 3}).results("FSFFF") == ["closed"] * 4 + ["open"]


def test_v82_two_of_three() -> None:
    settings = {"window": {"calls": 3}, "minimum_calls": 2, "failure_rate": 2 / 3}
    assert Driven(settings).results("FSF") == ["closed", "closed", "open"]


def test_v82_three_of_four_is_never_reached_by_turns() -> None:
    settings = {"window": {"calls": 4}, "failure_rate": "75%"}
    assert Driven(settings).results("SF" * 20) == ["closed"] * 40


def test_v84_five_of_ten_is_not_reached() -> None:
    driven = Driven({"window": {"calls": 10}, "failure_rate": "50%", "success_may_trip": False})
    driven.results("SFSFSFS")
    driven.results("".join("F" if index % 4 == 0 else "S" for index in range(15)))
    assert (driven.state, driven.breaker.failure_rate(0)) == ("closed", 0.2)


def test_v88_envoys_ejection_as_seen_from_outside() -> None:
    # Envoy takes a host back without a probe. Five probes that all have to fail are the same to callers.
    driven = Driven(
        {"failure_threshold": 5, "timeout": 30}
        | {"half_open_permits": 5, "decide": "when_all_used", "failure_rate": "100%"}
    )
    assert driven.results("FSFFFF") == ["closed"] * 6
    assert driven.results("F", 0) == ["open"]
    assert not driven.breaker.would_admit(ns(9.999))
    assert driven.breaker.would_admit(ns(30.001))
    assert driven.results("FFFFF", 40)[-1] == "open"
    assert driven.events.count("trip") == 2


def test_v90_finagles_success_rate_by_moving_average() -> None:
    driven = Driven({"window": {"ema": 100}, "failure_rate": "50%"})
    assert driven.results("S" * 100 + "F" * 69)[-1] == "closed"
    assert driven.results("F") == ["open"]


@pytest.mark.parametrize(("reopen", "state"), [("at", "half-open"), ("after", "open")])
def test_x1_a_request_at_exactly_opened_at_plus_timeout(reopen: str, state: str) -> None:
    driven = Driven({"timeout": 5, "reopen": reopen})
    driven.open_at(0)
    driven.breaker.try_acquire(ns(5))
    assert driven.state == state


@pytest.mark.parametrize(("may", "states"), [(True, ["open"]), (False, ["closed", "closed"])])
def test_x2_whether_a_success_trips(may: bool, states: list[str]) -> None:
    driven = Driven(RESILIENCE4J, success_may_trip=may)
    assert driven.results("FFFS") == ["closed"] * 4
    assert driven.results("S" * len(states)) == states
    if not may:
        assert driven.results("F") == ["open"]


def test_x2_a_slow_success_is_no_good_one_and_trips_in_any_case() -> None:
    driven = Driven(RESILIENCE4J, success_may_trip=False)
    driven.results("SS", took=4)
    assert driven.results("SS", took=4.1) == ["closed"] * 2
    assert driven.results("S", took=4.1) == ["open"]
    assert (driven.breaker.failure_rate(0), driven.breaker.slow_call_rate(0)) == (0, 0.6)


@pytest.mark.parametrize(("counts_as", "failures", "states"), [("neutral", 1, ["open"]), ("success", 0, ["closed"])])
def test_x3_an_excluded_error_while_closed(counts_as: str, failures: int, states: list[str]) -> None:
    driven = Driven({"failure_threshold": 2, "ignored_counts_as": counts_as})
    driven.results("FX")
    assert driven.breaker.consecutive_failures == failures
    assert driven.results("F") == states


@pytest.mark.parametrize(("counts_as", "rate"), [("neutral", None), ("success", 0.2)])
def test_x3_an_excluded_error_in_a_window(counts_as: str, rate: float | None) -> None:
    driven = Driven(RESILIENCE4J, ignored_counts_as=counts_as)
    driven.results("FSSSX")
    assert driven.breaker.failure_rate(0) == rate


@pytest.mark.parametrize(
    ("decide", "results", "states"),
    [
        ("first_failure", "F", ["open"]),
        ("first_failure", "SSSS", ["half-open"] * 3 + ["closed"]),
        ("when_decided", "FF", ["half-open", "open"]),
        ("when_decided", "SFF", ["half-open", "half-open", "open"]),
        ("when_decided", "SFSS", ["half-open"] * 3 + ["closed"]),
        ("when_decided", "SSS", ["half-open"] * 2 + ["closed"]),
        ("when_all_used", "FFSS", ["half-open"] * 3 + ["open"]),
        ("when_all_used", "SSSF", ["half-open"] * 3 + ["closed"]),
    ],
)
def test_x5_when_the_probes_decide(decide: str, results: str, states: list[str]) -> None:
    driven = Driven({"timeout": 5, "half_open_permits": 4, "decide": decide})
    driven.half_open_at(100)
    assert driven.results(results, 101) == states


@pytest.mark.parametrize(
    ("decide", "states"),
    [
        ("first_failure", ["open"]),
        ("when_decided", ["half-open", "open"]),
        ("when_all_used", ["half-open"] * 3 + ["open"]),
    ],
)
def test_slow_probes_count_against_it(decide: str, states: list[str]) -> None:
    driven = Driven(RESILIENCE4J, decide=decide)
    driven.half_open_at(20)
    assert driven.results("S" * len(states), 20.5, took=5) == states


def test_fidelity_17_no_rate_below_the_minimum_and_then_a_success_trips() -> None:
    driven = Driven(RESILIENCE4J)
    for letter in "FFFS":
        assert driven.results(letter) == ["closed"]
        assert driven.breaker.failure_rate(0) is None
    assert driven.results("S") == ["open"]
    assert driven.breaker.failure_rate(0) == 0.6
    assert driven.refused(0)
    assert driven.breaker.refused == 1


def test_fidelity_17_four_permits_while_half_open_and_the_fifth_is_refused() -> None:
    driven = Driven(RESILIENCE4J)
    driven.open_at(0)
    for _ in range(4):
        driven.permit(6)
    assert driven.refused(6)


def test_metrics_only_counts_and_never_opens() -> None:
    driven = Driven(RESILIENCE4J, initial_state="metrics-only")
    assert driven.results("FFFF", 1) == ["metrics-only"] * 4
    assert driven.breaker.exceeded_at_ns is None
    assert driven.results("F", 2) == ["metrics-only"]
    assert driven.results("FF", 3) == ["metrics-only"] * 2
    breaker = driven.breaker
    assert (breaker.exceeded_at_ns, breaker.failure_rate(ns(3)), len(driven.transitions)) == (ns(2), 1.0, 0)
    breaker.close(ns(4))
    assert (breaker.exceeded_at_ns, breaker.failure_rate(ns(4))) == (None, None)


def test_a_channel_fault_while_metrics_only_would_have_opened_it() -> None:
    driven = Driven({"initial_state": "metrics-only"})
    assert driven.breaker.trip(driven.permit(1), ns(1))
    assert (driven.state, driven.breaker.exceeded_at_ns, driven.breaker.consecutive_failures) == (
        "metrics-only",
        ns(1),
        1,
    )


def test_forced_open_from_the_beginning() -> None:
    driven = Driven({"initial_state": "forced-open"})
    assert driven.refused(10**6)
    assert driven.breaker.admits_at_ns(ns(10**6)) is None
    driven.breaker.close(ns(10**6))
    assert driven.results("S", 10**6) == ["closed"]
