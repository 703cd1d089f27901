"""What a breaker makes of what other nodes say of theirs."""

from typing import Any

import pytest
from hypothesis import given, strategies as st

from actors.instants import ns
from actors.messages import BreakerState
from actors.policies.breaker.breaker import Breaker, BreakerEvent, Transition
from actors.policies.breaker.per_host import BreakerGroup
from actors.policies.breaker.sharing import Sharing
from actors.settings.breaker import CircuitBreakerConfig

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def make(shared: Any = "any", nodes: int = 2, **settings: Any) -> tuple[Breaker, list[Transition]]:
    transitions: list[Transition] = []
    config = CircuitBreakerConfig(shared=shared, **settings)
    return Breaker(config, on_transition=transitions.append, sharing=Sharing(shared, nodes)), transitions


def hear(breaker: Breaker, node: int, until_s: float | None, at_s: float) -> BreakerState:
    breaker.hear(node, None if until_s is None else ns(until_s), ns(at_s))
    return breaker.state


def test_it_is_open_while_another_says_so_and_probes_at_the_very_instant_at_which_that_lapses():
    breaker, transitions = make()
    assert hear(breaker, 2, 60, 1) is OPEN
    assert transitions == [Transition(CLOSED, OPEN, BreakerEvent.OTHERS_OPEN, ns(1))]
    assert breaker.reopen_at_ns == ns(60)
    assert breaker.try_acquire(ns(60) - 1) is None
    permit = breaker.try_acquire(ns(60))
    assert permit is not None
    assert breaker.state is HALF_OPEN
    assert breaker.record_success(permit, ns(61))
    assert breaker.state is CLOSED


def test_a_probe_that_fails_opens_it_by_itself_for_its_first_open_time():
    """What it was told counts for nothing in how its own openings grow."""
    breaker, transitions = make(timeout=30, open_growth={"multiplier": 4, "max": 600})
    hear(breaker, 2, 60, 1)
    for round_s, longer_s in ((60, 30), (90, 120)):
        permit = breaker.try_acquire(ns(round_s))
        assert permit is not None
        assert breaker.record_failure(permit, ns(round_s))
        assert breaker.reopen_at_ns == ns(round_s + longer_s)
    assert transitions[-1] == Transition(HALF_OPEN, OPEN, BreakerEvent.TRIP, ns(90))
    assert transitions[-1].reopen_at_ns == ns(210)


def test_news_while_it_probes_open_it_and_the_answer_counts_no_more():
    breaker, _ = make(timeout=10)
    breaker.trip(breaker.generation, ns(0))
    permit = breaker.try_acquire(ns(10))
    assert permit is not None
    assert hear(breaker, 2, 50, 11) is OPEN
    assert not breaker.record_success(permit, ns(12))
    assert (breaker.state, breaker.reopen_at_ns) == (OPEN, ns(50))


def test_what_its_own_calls_have_opened_is_open_for_its_own_time_at_least():
    breaker, _ = make(timeout=30)
    breaker.trip(breaker.generation, ns(0))
    hear(breaker, 2, 20, 1)
    assert breaker.reopen_at_ns == ns(30)
    hear(breaker, 2, 70, 2)
    assert breaker.reopen_at_ns == ns(70)
    hear(breaker, 2, None, 3)
    assert breaker.reopen_at_ns == ns(30)


def test_who_was_only_told_may_probe_as_soon_as_that_is_taken_back():
    breaker, _ = make()
    hear(breaker, 2, 60, 1)
    hear(breaker, 3, 50, 2)
    hear(breaker, 2, None, 3)
    assert breaker.reopen_at_ns == ns(50)
    breaker.recount({1, 2}, ns(4))  # node 3 is gone
    assert breaker.admits_at_ns(ns(4)) == ns(4)
    assert breaker.try_acquire(ns(4)) is not None
    assert breaker.state is HALF_OPEN


@pytest.mark.parametrize(("nodes", "needed"), [(2, 2), (3, 2), (4, 3), (5, 3), (12, 7)])
def test_a_quorum_is_more_than_half_of_all_nodes_whatever_it_says_itself(nodes, needed):
    breaker, _ = make("quorum", nodes)
    for other in range(2, 2 + needed - 1):
        assert hear(breaker, other, 100 + other, 1) is CLOSED
    assert hear(breaker, 50, 50, 2) is OPEN
    assert breaker.reopen_at_ns == ns(50)  # then there is one too few


def test_a_quorum_of_fewer_may_be_reached_without_a_word():
    sharing = Sharing("quorum", 5)
    breaker = Breaker(CircuitBreakerConfig(shared="quorum"), sharing=sharing)
    assert [hear(breaker, node, 60, 1) for node in (2, 3)] == [CLOSED, CLOSED]
    sharing.count(3)
    breaker.recount({1, 2, 3}, ns(5))
    assert breaker.state is OPEN


def test_what_comes_after_its_end_says_nothing():
    breaker, transitions = make()
    assert hear(breaker, 2, 60, 60) is CLOSED
    assert transitions == []


@pytest.mark.parametrize("order", ["force_open", "disable", "metrics_only"])
def test_an_operator_s_word_is_above_what_others_say_and_has_that_forgotten(order):
    breaker, _ = make()
    hear(breaker, 2, 60, 1)
    getattr(breaker, order)(ns(2))
    state = breaker.state
    assert hear(breaker, 3, 60, 3) is state
    breaker.close(ns(4))
    breaker.recount({1, 2, 3}, ns(5))
    assert breaker.state is CLOSED
    assert hear(breaker, 2, 60, 6) is OPEN


def test_of_hosts_each_is_spoken_of_for_itself():
    heard: list[tuple[str, BreakerEvent]] = []
    config = CircuitBreakerConfig(per="host", shared="any")
    group = BreakerGroup(config, on_transition=lambda key, of: heard.append((key, of.event)))
    group.hear(2, "a", ns(60), ns(1))
    assert group.of("a", ns(2)).state is OPEN
    assert group.of("b", ns(2)).state is CLOSED
    assert heard == [("a", BreakerEvent.OTHERS_OPEN)]


def test_who_shares_with_nobody_hears_nothing():
    breaker = Breaker(CircuitBreakerConfig())
    assert hear(breaker, 2, 60, 1) is CLOSED


@given(
    st.sampled_from(["any", "quorum"]),
    st.integers(1, 6),
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(2, 6), st.none() | st.integers(0, 20), st.sampled_from("SFN")),
        max_size=40,
    ),
)
def test_it_lets_nothing_through_while_as_many_say_so_as_it_takes_and_else_not_for_longer_than_by_itself(
    shared, nodes, course
):
    breaker, _ = make(shared, nodes, timeout=5, failure_threshold=2)
    alone = Breaker(CircuitBreakerConfig(timeout=5, failure_threshold=2))
    said: dict[int, float] = {}
    now_s, told_s = 0, -1.0
    for after_s, node, for_s, result in course:
        now_s += after_s
        hear(breaker, node, None if for_s is None else now_s + for_s, now_s)
        said[node] = now_s if for_s is None else now_s + for_s
        standing = sum(until_s > now_s for until_s in said.values())
        is_told = standing >= (1 if shared == "any" else nodes // 2 + 1)
        if is_told:
            told_s = now_s
        permit = breaker.try_acquire(ns(now_s))
        assert permit is None or not is_told
        if told_s < 0:  # until others have had a say it does what it would do alone
            assert alone.try_acquire(ns(now_s)) == permit
        for of in (breaker, alone) if told_s < 0 else (breaker,):
            if permit is not None:
                record = {"S": of.record_success, "F": of.record_failure, "N": of.record_neutral}[result]
                record(permit, ns(now_s))
