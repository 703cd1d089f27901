"""The breaker: the numbers of the specification and of peers, state by state."""

from typing import Any

import pytest
from each_row import over_each

from actors.errors import RetrylabError
from actors.instants import ns
from actors.messages import BreakerState
from actors.policies.breaker.breaker import TRANSITIONS, Breaker, BreakerEvent, IllegalTransition, Transition
from actors.settings.channel import CircuitBreakerConfig


def make(**settings: Any) -> tuple[Breaker, list[Transition]]:
    transitions: list[Transition] = []
    return Breaker(CircuitBreakerConfig(**settings), name="email", on_transition=transitions.append), transitions


def permit(breaker: Breaker, at_s: float) -> int:
    got = breaker.try_acquire(ns(at_s))
    assert got is not None
    return got


def results(breaker: Breaker, text: str, at_s: float) -> list[str]:
    """Send one call for each letter (S success, F failure, I neutral), and return the state after each."""
    states = []
    for letter in text:
        record = {"S": breaker.record_success, "F": breaker.record_failure, "I": breaker.record_neutral}[letter]
        assert record(permit(breaker, at_s), ns(at_s))
        states.append(str(breaker.state))
    return states


def tripped(at_s: float, **settings: Any) -> tuple[Breaker, list[Transition]]:
    breaker, transitions = make(**settings)
    breaker.trip(permit(breaker, at_s), ns(at_s))
    return breaker, transitions


def half_open(**settings: Any) -> Breaker:
    """Return a breaker that went half-open at 60 s, with no probe under way."""
    breaker, _ = tripped(0, **settings)
    breaker.record_neutral(permit(breaker, 60), ns(60))
    assert breaker.state is BreakerState.HALF_OPEN
    return breaker


def test_five_failures_in_a_row_open_it_and_sixty_seconds_later_a_probe_closes_it() -> None:
    breaker, transitions = make()
    assert results(breaker, "FFFF", 10) == ["closed"] * 4
    assert results(breaker, "F", 10) == ["open"]
    assert (breaker.opened_at_ns, breaker.reopen_at_ns) == (ns(10), ns(70))
    assert breaker.try_acquire(ns(70) - 1) is None
    probe = permit(breaker, 70)
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.record_success(probe, ns(71))
    assert (breaker.state, breaker.consecutive_failures, breaker.reopen_at_ns) == (BreakerState.CLOSED, 0, None)
    assert transitions == [
        Transition(BreakerState.CLOSED, BreakerState.OPEN, BreakerEvent.TRIP, ns(10)),
        Transition(BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerEvent.WAIT_OVER, ns(70)),
        Transition(BreakerState.HALF_OPEN, BreakerState.CLOSED, BreakerEvent.RECOVER, ns(71)),
    ]


def test_v82_a_success_in_between_starts_the_count_anew() -> None:
    breaker, _ = make(failure_threshold=3)
    assert results(breaker, "FSFFF", 0) == ["closed", "closed", "closed", "closed", "open"]


def test_v86_two_failures_then_a_probe_that_succeeds_and_one_that_fails() -> None:
    breaker, transitions = make(failure_threshold=2, timeout=10)
    results(breaker, "FF", 0)
    results(breaker, "S", 10)
    results(breaker, "FF", 20)
    results(breaker, "F", 30)
    assert [(str(step.from_state), str(step.to_state)) for step in transitions] == [
        ("closed", "open"),
        ("open", "half-open"),
        ("half-open", "closed"),
        ("closed", "open"),
        ("open", "half-open"),
        ("half-open", "open"),
    ]
    assert breaker.opened_at_ns == ns(30)


def test_v52_open_for_five_seconds() -> None:
    breaker, _ = tripped(0, timeout=5)
    assert breaker.try_acquire(0) is None
    assert breaker.try_acquire(ns(3)) is None
    permit(breaker, 6)
    assert (breaker.state, breaker.consecutive_failures) == (BreakerState.HALF_OPEN, 0)


def test_v56_closed_by_its_probes_it_counts_from_zero() -> None:
    breaker = half_open(half_open_permits=4)
    assert results(breaker, "SSSS", 60) == ["half-open"] * 3 + ["closed"]
    assert results(breaker, "FFFF", 61) == ["closed"] * 4
    assert breaker.consecutive_failures == 4


def test_the_first_failed_probe_of_several_opens_it_again() -> None:
    breaker = half_open(half_open_permits=4)
    assert results(breaker, "SSF", 62) == ["half-open", "half-open", "open"]
    assert breaker.reopen_at_ns == ns(122)


def test_v58_four_permits_and_one_given_back() -> None:
    breaker = half_open(half_open_permits=4)
    got = [breaker.try_acquire(ns(60)) for _ in range(6)]
    assert [one is not None for one in got] == [True] * 4 + [False] * 2
    assert got[0] is not None
    breaker.record_neutral(got[0], ns(60))
    assert breaker.try_acquire(ns(60)) is not None


def test_a_success_leaves_no_room_for_more_probes_than_it_takes() -> None:
    breaker = half_open(half_open_permits=2)
    first = permit(breaker, 60)
    permit(breaker, 60)
    breaker.record_success(first, ns(61))
    assert breaker.try_acquire(ns(61)) is None


def test_v60_neutral_probes_decide_nothing() -> None:
    breaker = half_open(half_open_permits=4)
    assert results(breaker, "IIIISSSS", 60) == ["half-open"] * 7 + ["closed"]


def test_v62_disabled_it_admits_everything_and_counts_nothing() -> None:
    breaker, transitions = make(failure_threshold=1, enabled=False)
    assert results(breaker, "SFFFF", 0) == ["disabled"] * 5
    assert breaker.trip(permit(breaker, 1), ns(1))
    assert (breaker.state, breaker.consecutive_failures, transitions) == (BreakerState.DISABLED, 0, [])


@pytest.mark.parametrize("order", ["force_open", "disable", "metrics_only", "close"])
def test_v64_a_refused_order_changes_nothing(order: str) -> None:
    breaker, transitions = make()
    if order != "close":
        getattr(breaker, order)(ns(1))
    before = (breaker.state, breaker.opened_at_ns, breaker.would_admit(ns(2)), list(transitions))
    with pytest.raises(IllegalTransition):
        getattr(breaker, order)(ns(2))
    assert (breaker.state, breaker.opened_at_ns, breaker.would_admit(ns(2)), transitions) == before


def test_the_refusal_names_the_breaker_its_state_and_the_event_and_can_be_rebuilt() -> None:
    error = IllegalTransition("email", BreakerState.CLOSED, BreakerEvent.WAIT_OVER)
    assert isinstance(error, RetrylabError)
    assert str(error) == (
        "breaker 'email' is closed and knows no wait-over there (possible: trip, others-open, force-open, "
        "disable, metrics-only)"
    )
    assert str(type(error)(*error.args)) == str(error)


def test_the_table_knows_every_state_and_no_transition_to_itself() -> None:
    assert set(TRANSITIONS) == set(BreakerState)
    for state, row in TRANSITIONS.items():
        assert row, f"{state} could never be left"
        assert state not in row.values()


@pytest.mark.parametrize(("reopen", "first_ns"), [("at", ns(60)), ("after", ns(60) + 1)])
def test_x1_the_instant_at_which_it_reopens(reopen: str, first_ns: int) -> None:
    breaker, _ = tripped(0, reopen=reopen)
    assert breaker.reopen_at_ns == first_ns
    assert not breaker.would_admit(first_ns - 1)
    assert breaker.try_acquire(first_ns - 1) is None
    assert breaker.would_admit(first_ns)
    assert breaker.state is BreakerState.OPEN, "would_admit changes nothing"
    assert breaker.try_acquire(first_ns) is not None


@pytest.mark.parametrize("at_s", [4.1, 11.2, 0.1 + 0.2, 1e6 + 0.7])
def test_it_reopens_exactly_where_floats_would_not(at_s: float) -> None:
    breaker, _ = tripped(at_s, timeout=60)
    assert breaker.try_acquire(ns(at_s) + ns(60)) is not None


@pytest.mark.parametrize("late", ["record_success", "record_failure", "record_neutral", "record_reachable", "trip"])
@pytest.mark.parametrize("state", ["open", "half-open", "closed-again"])
def test_a_late_result_from_before_the_trip_changes_nothing(late: str, state: str) -> None:
    breaker, transitions = make(failure_threshold=1)
    late_permit = permit(breaker, 0)
    results(breaker, "F", 0)
    if state != "open":
        probe = permit(breaker, 60)
        if state == "closed-again":
            breaker.record_success(probe, ns(60))
    before = (breaker.state, breaker.reopen_at_ns, breaker.consecutive_failures, len(transitions))
    admits = breaker.would_admit(ns(61))
    assert getattr(breaker, late)(late_permit, ns(61)) is False
    assert (breaker.state, breaker.reopen_at_ns, breaker.consecutive_failures, len(transitions)) == before
    assert breaker.would_admit(ns(61)) == admits


@pytest.mark.parametrize("late", ["record_success", "record_failure", "record_neutral", "trip"])
def test_a_late_result_does_what_is_due_like_any_call(late: str) -> None:
    breaker, transitions = make(failure_threshold=1, timeout=60.0, half_open_max=5.0)
    first, stale = permit(breaker, 0.0), permit(breaker, 0.0)
    assert breaker.record_failure(first, 0)
    permit(breaker, 60.0)
    assert not getattr(breaker, late)(stale, ns(66.0))
    assert (breaker.state, transitions[-1].at_ns) == (BreakerState.OPEN, ns(65.0))


def test_a_second_result_of_the_same_probe_frees_no_further_permit() -> None:
    breaker = half_open(half_open_permits=1)
    probe = permit(breaker, 60)
    breaker.record_neutral(probe, ns(60))
    breaker.record_neutral(probe, ns(60))
    permit(breaker, 60)
    assert breaker.try_acquire(ns(60)) is None


def test_a_permanent_failure_neither_counts_nor_resets_while_closed() -> None:
    breaker, _ = make()
    results(breaker, "FFFF", 0)
    assert breaker.record_reachable(permit(breaker, 0), 0)
    assert (breaker.state, breaker.consecutive_failures) == (BreakerState.CLOSED, 4)


def test_a_throttled_answer_neither_counts_nor_resets_while_closed() -> None:
    breaker, _ = make()
    assert results(breaker, "FFFFI", 0) == ["closed"] * 5
    assert breaker.consecutive_failures == 4


def test_a_permanent_failure_as_a_probes_answer_closes_it() -> None:
    breaker = half_open()
    assert breaker.record_reachable(permit(breaker, 60), ns(61))
    assert breaker.state is BreakerState.CLOSED


def test_a_channel_fault_opens_it_at_once_from_closed_and_from_half_open() -> None:
    breaker, _ = make()
    assert breaker.trip(permit(breaker, 3), ns(3))
    assert breaker.reopen_at_ns == ns(63)
    assert breaker.trip(permit(breaker, 63), ns(64))
    assert breaker.reopen_at_ns == ns(124)


def test_forced_open_it_stays_so_until_an_operator_closes_it() -> None:
    breaker, _ = make()
    before = permit(breaker, 0)
    breaker.force_open(ns(1))
    assert (breaker.opened_at_ns, breaker.reopen_at_ns) == (ns(1), None)
    assert breaker.record_failure(before, ns(2)) is False
    assert breaker.try_acquire(ns(10**6)) is None
    assert not breaker.would_admit(ns(10**6))
    breaker.close(ns(10**6))
    assert results(breaker, "S", 10**6) == ["closed"]


def test_closing_an_open_breaker_by_hand_zeroes_the_count() -> None:
    breaker, _ = make()
    results(breaker, "FFFFF", 0)
    assert breaker.consecutive_failures == 5
    breaker.close(ns(1))
    assert (breaker.consecutive_failures, breaker.opened_at_ns) == (0, None)
    assert results(breaker, "FFFF", 1) == ["closed"] * 4


def test_an_error_of_the_listener_leaves_the_transition_done() -> None:
    def listener(_transition: Transition) -> None:
        raise RuntimeError("metrics are down")

    breaker = Breaker(CircuitBreakerConfig(failure_threshold=1), on_transition=listener)
    first = permit(breaker, 0)
    with pytest.raises(RuntimeError):
        breaker.record_failure(first, 0)
    assert (breaker.state, breaker.reopen_at_ns) == (BreakerState.OPEN, ns(60))
    with pytest.raises(RuntimeError):
        breaker.try_acquire(ns(60))
    assert breaker.try_acquire(ns(60)) is not None, "no permit was lost with the error"


def test_every_permit_counts_as_true() -> None:
    breaker, _ = make()
    assert breaker.try_acquire(0), "a caller may write `if permit:`"


def test_a_timeout_beyond_all_time_is_a_long_one() -> None:
    breaker, _ = tripped(0, timeout=1e300)
    assert breaker.try_acquire(2**61) is None


TEN = {"window": {"calls": 10}, "failure_rate": 0.5}


@over_each(
    [
        ("S" * 20 + "FFFFF", "", True, {}),
        ("SSSSSF" + "S" * 14 + "FFFFF", "", True, {}),  # one of twenty
        ("S" * 19 + "FFFFF", "", False, {}),
        ("FSSSSSF" + "S" * 13 + "FFFFF", "", False, {}),  # two of twenty
        ("FS" + "FFFFF", "F" * 7, False, {}),
        ("FS" + "FFFFF", "F" * 8, True, {}),  # nine in ten of those under way, of which there are eight
        ("FS" + "FFFFF", "FFFFFFFFS", False, {}),
        ("FS" + "FFFFF", "SFFFFFFFFF", True, {}),
        ("SSS" + "FFFFF", "FFF", True, {}),  # eight in a row, and the first to fail
        ("SSS" + "FFFFF", "FF", False, {}),
        ("SSS" + "FFFFF", "FFFS", False, {}),
        ("S" * 20 + "FSFSFSFSF", "", True, TEN),  # all that failed in the window
        ("FS" + "S" * 18 + "FSFSFSFSF", "", True, TEN),
        ("SSS" + "FSFSFSFSF", "FFFFFFF", True, TEN),
        ("F" + "S" * 10 + "FSFSFSFSF", "FFFFFFF", False, TEN),
    ]
)
def test_an_overload_trips_it_abruptly_and_ordinary_failures_do_not(calls, late, is_abrupt, settings):
    breaker, _ = make(**settings)
    before = permit(breaker, 0)
    results(breaker, calls, 0)
    assert breaker.state is BreakerState.OPEN
    for letter in late:
        (breaker.record_failure if letter == "F" else breaker.record_success)(before, 1)
    assert breaker.tripped_abruptly is is_abrupt


@pytest.mark.parametrize("event", ["trip", "force-open"])
def test_a_channel_fault_or_an_operator_trips_it_without_any_overload(event):
    breaker, _ = make()
    results(breaker, "S" * 30, 0)
    before = permit(breaker, 0)
    if event == "trip":
        breaker.trip(before, 0)
    else:
        breaker.force_open(0)
    for _ in range(30):
        breaker.record_failure(before, 1)
    assert not breaker.tripped_abruptly
