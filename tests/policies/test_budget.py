"""Retry budgets: the vectors of peers, and what each of them never allows."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, strategies as st

from actors.instants import ns
from actors.policies.retry.budgets import (
    AwsBudget,
    Budget,
    EnvoyBudget,
    FinagleBudget,
    GrpcBudget,
    TokenBudget,
    make_budget,
)
from actors.policies.retry.policy import FailureKind
from actors.settings.channel import RetryConfig
from actors.settings.quantities import FROM_FILE, Rate

# gRPC


def after_each(budget: GrpcBudget, events: str) -> tuple[list[bool], list[float]]:
    """Return whether each failure may be retried, and the tokens after each event."""
    allowed, tokens = [], []
    for event in events.replace(" ", ""):
        budget.end(0, event == "S", 0)
        if event == "F":
            allowed.append(budget.try_retry("transient", 0) is not None)
        tokens.append(budget.tokens)
    return allowed, tokens


def test_v40_grpc_throttling() -> None:
    allowed, tokens = after_each(GrpcBudget(4, 1.6), "F S F F F F F S S F F S F S F")
    assert allowed == [one == "T" for one in "TTFFFFTFFT"]
    assert tokens == [3, 4, 3, 2, 1, 0, 0, 1.6, 3.2, 2.2, 1.2, 2.8, 1.8, 3.4, 2.4]


def test_v40b_grpc_throttling_with_other_settings_keeps_its_level() -> None:
    budget = GrpcBudget(4, 1)
    budget.end(0, False, 0)
    budget.reconfigure(10, 3)
    assert budget.tokens == 7.5
    allowed, tokens = after_each(budget, "F F F F S F F")
    assert allowed == [True, True, False, False, True, False]
    assert tokens == [6.5, 5.5, 4.5, 3.5, 6.5, 5.5, 4.5]


def test_fidelity_14_an_outage_is_retried_four_times_from_full() -> None:
    allowed, _ = after_each(GrpcBudget(10, 0.1), "F" * 8)
    assert allowed == [True] * 4 + [False] * 4


def test_fidelity_14_from_nothing_it_takes_51_successes_for_a_hedge_and_61_for_a_retry() -> None:
    budget = GrpcBudget(10, 0.1)
    after_each(budget, "F" * 20)
    after_each(budget, "S" * 50)
    assert budget.tokens == 5.0
    assert budget.try_retry("transient", 0) is None
    after_each(budget, "S")
    assert budget.try_retry("transient", 0) is not None
    after_each(budget, "S" * 9)
    assert after_each(budget, "F") == ([False], [5.0])
    after_each(budget, "S" * 11)
    assert after_each(budget, "F") == ([True], [5.1])


def test_fidelity_14_one_failure_in_eleven_keeps_the_level() -> None:
    budget = GrpcBudget(10, 0.1)
    after_each(budget, "F" * 2)
    after_each(budget, ("F" + "S" * 10) * 1000)
    assert budget.tokens == 8.0


def test_grpc_takes_nothing_for_what_says_nothing() -> None:
    budget = GrpcBudget(10, 0.1)
    budget.end(0, None, 0)
    assert budget.tokens == 10


@pytest.mark.parametrize(("max_tokens", "ratio"), [(0, 1), (1, 0), (1, 0.0004), (-1, 1)])
def test_grpc_refuses_less_than_it_can_count(max_tokens: float, ratio: float) -> None:
    with pytest.raises(ValueError, match="thousandth"):
        GrpcBudget(max_tokens, ratio)


@given(st.integers(1, 20), st.integers(1, 3000), st.text("SFn", max_size=120))
def test_grpc_against_exact_arithmetic(max_tokens: int, ratio: int, events: str) -> None:
    budget = GrpcBudget(max_tokens, ratio / 1000)
    tokens, successes, retries = Fraction(max_tokens), 0, 0
    for event in events:
        budget.end(0, {"S": True, "F": False, "n": None}[event], 0)
        if event == "S":
            tokens, successes = min(Fraction(max_tokens), tokens + Fraction(ratio, 1000)), successes + 1
        elif event == "F":
            tokens = max(Fraction(0), tokens - 1)
            allowed = budget.try_retry("transient", 0) is not None
            assert allowed == (tokens > Fraction(max_tokens, 2))
            retries += allowed
        assert budget.tokens == float(tokens)
    assert retries <= Fraction(max_tokens, 2) + successes * Fraction(ratio, 1000)


# Envoy


@pytest.mark.parametrize(("active", "allowed"), [(25, 5), (2, 3), (29, 5), (30, 6), (0, 3)])
def test_v40j_envoy_a_share_of_what_is_under_way_but_three(active: int, allowed: int) -> None:
    budget = EnvoyBudget(0.2, 3)
    for _ in range(active):
        budget.start(0, 0)
    assert [budget.try_retry("transient", 0) for _ in range(allowed + 2)] == [1] * allowed + [None] * 2


def test_v40i_failsafe_allows_one_more_at_the_exact_share() -> None:
    budget = EnvoyBudget(0.5, 1, inclusive=True)

    def retry() -> bool:
        charge = budget.try_retry("transient", 0)
        if charge is not None:
            budget.start(charge, 0)
        return charge is not None

    budget.start(0, 0)
    assert retry(), "two executions, one of them a retry"
    assert [retry(), retry()] == [True, False]
    budget.end(1, None, 0)
    assert [retry(), retry()] == [True, False]


def test_an_envoy_retry_counts_from_its_permission_to_its_end() -> None:
    budget = EnvoyBudget(0, 1)
    assert budget.try_retry("transient", 0) == 1
    assert budget.try_retry("transient", 0) is None
    budget.give_back(1, 0)
    assert budget.try_retry("transient", 0) == 1
    budget.start(1, 0)
    assert budget.try_retry("transient", 0) is None
    budget.end(1, False, 0)
    assert budget.try_retry("transient", 0) == 1


@given(
    st.sampled_from([0.0, 0.011, 0.1, 0.2, 1 / 3, 0.5, 1.0]),
    st.integers(0, 4),
    st.booleans(),
    st.text("serb", max_size=80),
)
def test_envoy_against_a_count_by_hand(share: float, minimum: int, inclusive: bool, events: str) -> None:
    budget = EnvoyBudget(share, minimum, inclusive=inclusive)
    exact = Fraction(share).limit_denominator(1000)
    waiting, active = 0, []
    for event in events:
        if event == "s":
            budget.start(0, 0)
            active.append(0)
        elif event == "e" and active:
            budget.end(active.pop(0), False, 0)
        elif event == "b" and waiting:
            budget.start(1, 0)
            waiting -= 1
            active.append(1)
        elif event == "r":
            retries = waiting + sum(active)
            charge = budget.try_retry("transient", 0)
            bound = exact * len(active)
            assert (charge == 1) == (retries < minimum or (retries <= bound if inclusive else retries + 1 <= bound))
            waiting += charge or 0


# Finagle


def deposit_and_withdraw(budget: FinagleBudget, count: int) -> int:
    retries = 0
    for _ in range(count):
        budget.start(0, 0)
        retries += budget.try_retry("transient", 0) or 0
    return retries


@pytest.mark.parametrize(("share", "expected"), [(0.1, 1000), (0.25, 2500), (0.5, 5000), (0.75, 7500)])
def test_v40f_finagle_a_share_of_first_attempts(share: float, expected: int) -> None:
    budget = FinagleBudget(share, None, 60)
    assert budget.balance(0) == 0
    assert budget.try_retry("transient", 0) is None
    assert deposit_and_withdraw(budget, 10_000) == expected


def test_v40g_finagle_a_minimum_for_each_second() -> None:
    floor = FinagleBudget(0, Rate(10, 1), 1)
    assert [floor.try_retry("transient", 0) for _ in range(12)] == [1] * 10 + [None] * 2
    assert deposit_and_withdraw(FinagleBudget(0.1, Rate(10, 1), 1), 10_000) == 1010
    assert deposit_and_withdraw(FinagleBudget(0.5, Rate(5, 1), 2), 10_000) == 5010


def test_v40g_finagle_more_than_one_retry_for_each() -> None:
    budget = FinagleBudget(2, None, 60)
    for _ in range(10_000):
        budget.start(0, 0)
    assert budget.balance(0) == 20_000


def test_v40h_the_leaky_bucket_under_it() -> None:
    # A retry costs one token and a first attempt puts one in; a hundred in reserve.
    budget = FinagleBudget(1, Rate(100, 3), 3)

    def get(count: int, at_s: int) -> bool:
        if budget.balance(ns(at_s)) < count:
            return False
        return all(budget.try_retry("transient", ns(at_s)) for _ in range(count))

    assert [get(50, 0), get(50, 0), get(1, 0)] == [True, True, False]
    budget.start(0, 0)
    assert get(1, 0)
    assert [get(1, 1), get(1, 2), get(1, 3)] == [False, False, False]
    assert get(50, 4)
    assert [get(100, 7), get(1, 7)] == [True, False]


def test_finagle_what_is_given_back_can_be_had_again() -> None:
    budget = FinagleBudget(0.2, Rate(1, 10), 10)
    assert [budget.try_retry("transient", 0), budget.try_retry("transient", 0)] == [1, None]
    budget.give_back(1, 0)
    assert budget.try_retry("transient", 0) == 1


def test_finagle_a_retry_puts_nothing_in() -> None:
    budget = FinagleBudget(1, None, 10)
    budget.start(1, 0)
    assert budget.try_retry("transient", 0) is None


@given(
    st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.0, 1.5]),
    st.integers(0, 5),
    st.lists(st.tuples(st.sampled_from([0, 0, 0, 1, 3, 10, 40, 200]), st.booleans()), max_size=100),
)
def test_finagle_never_allows_more_than_its_share_and_the_minimum(
    share: float, per_ttl: int, calls: list[tuple[int, bool]]
) -> None:
    ttl_ns = 100
    budget = FinagleBudget(share, Rate(per_ttl, 1e-7) if per_ttl else None, 1e-7)
    firsts: list[int] = []
    retries: list[int] = []
    now = 0
    for gap, is_first in calls:
        now += gap
        if is_first:
            budget.start(0, now)
            firsts.append(now)
        elif budget.try_retry("transient", now):
            retries.append(now)
            lately = sum(now - 9 * ttl_ns // 10 < one for one in retries)
            assert lately <= per_ttl + Fraction(str(share)) * sum(now - 2 * ttl_ns < one for one in firsts)
        else:
            # Refused only when what it remembers is used up; it remembers nothing longer than twice its time.
            lately = sum(now - 2 * ttl_ns < one for one in retries)
            remembered = sum(now - 9 * ttl_ns // 10 < one for one in firsts)
            assert lately + 1 > per_ttl + Fraction(str(share)) * remembered


# AWS


def outage(budget: AwsBudget, count: int, kind: FailureKind = "transient") -> list[int | None]:
    charges = []
    for _ in range(count):
        budget.end(0, False, 0)
        charges.append(budget.try_retry(kind, 0))
    return charges


def test_v40c_a_retry_that_succeeds_gets_its_cost_back() -> None:
    budget = AwsBudget(500, 14, 5)
    assert outage(budget, 1) == [14]
    assert budget.available == 486
    budget.end(14, True, 0)
    assert budget.available == 500
    assert outage(budget, 1, "throttled") == [5]
    budget.end(5, True, 0)
    assert budget.available == 500


def test_v40c_and_fidelity_15_a_retry_that_fails_does_not() -> None:
    budget = AwsBudget(500, 14, 5)
    levels = []
    for _ in range(3):
        outage(budget, 1)
        levels.append(budget.available)
    assert levels == [486, 472, 458]
    budget.end(14, False, 0)
    assert budget.available == 458


def test_v40c_a_clean_success_gives_one_up_to_the_capacity() -> None:
    budget = AwsBudget(500, 14, 5)
    outage(budget, 1)
    budget.end(0, True, 0)
    assert budget.available == 487
    for _ in range(20):
        budget.end(0, True, 0)
    assert budget.available == 500


def test_v40d_a_quota_for_one_retry() -> None:
    assert outage(AwsBudget(14, 14, 5), 2) == [14, None]


def test_v40e_the_legacy_mode_charges_timeouts_double() -> None:
    budget = AwsBudget(500, 5, 5, timeout_cost=10)
    assert outage(budget, 1) == [5]
    assert budget.available == 495
    assert outage(budget, 1, "ambiguous") == [10]
    assert AwsBudget(500, 14, 5).try_retry("ambiguous", 0) == 14


@given(st.integers(1, 60), st.lists(st.sampled_from(["clean", "retry", "retried", "failed"]), max_size=100))
def test_aws_what_has_failed_never_costs_more_than_the_quota(capacity: int, events: list[str]) -> None:
    budget = AwsBudget(capacity, 7, 3)
    clean, unpaid, under_way = 0, 0, []
    for event in events:
        if event == "clean":
            budget.end(0, True, 0)
            clean += 1
        elif event == "retry":
            if (charge := budget.try_retry("transient", 0)) is not None:
                under_way.append(charge)
        elif under_way:
            charge = under_way.pop()
            budget.end(charge, event == "retried", 0)
            unpaid += charge * (event == "failed")
        assert 0 <= budget.available <= capacity
        assert unpaid + sum(under_way) <= capacity + clean


# Token bucket


def test_brookers_bucket_of_five_allows_four_retries_to_begin_with_and_one_for_ten_calls_later() -> None:
    """As in the simulator: a call puts a tenth in, up to five, and retries are made while there is more than one."""
    budget = TokenBudget(0.1, 5, inclusive=False)
    budget.start(0, 0)
    assert [budget.try_retry("transient", 0) for _ in range(6)] == [1] * 4 + [None] * 2
    assert budget.tokens == 1
    retries = 0
    for _ in range(1000):
        budget.start(0, 0)
        retries += budget.try_retry("transient", 0) or 0
    assert (retries, budget.tokens) == (100, 1)


def test_a_bucket_may_be_used_up() -> None:
    budget = TokenBudget(0.1, 5)
    assert [budget.try_retry("transient", 0) for _ in range(6)] == [1] * 5 + [None]
    for _ in range(10):  # ten times a tenth are a whole one
        assert budget.try_retry("transient", 0) is None
        budget.start(0, 0)
    budget.start(1, 0)  # a retry puts nothing in
    assert [budget.try_retry("transient", 0), budget.try_retry("transient", 0)] == [1, None]
    budget.give_back(1, 0)
    assert budget.tokens == 1


@given(st.sampled_from([0.0, 0.011, 0.1, 1 / 3, 1.0]), st.integers(1, 5), st.booleans(), st.text("srRb", max_size=120))
def test_a_bucket_against_exact_arithmetic(share: float, capacity: int, inclusive: bool, events: str) -> None:
    budget = TokenBudget(share, capacity, inclusive=inclusive)
    exact, tokens, granted = Fraction(share).limit_denominator(1000), Fraction(capacity), 0
    firsts = retries = 0
    for event in events:
        if event == "s":
            budget.start(0, 0)
            tokens, firsts = min(Fraction(capacity), tokens + exact), firsts + 1
        elif event == "b" and granted:
            budget.give_back(1, 0)
            tokens, granted, retries = min(Fraction(capacity), tokens + 1), granted - 1, retries - 1
        elif event in "rR":
            allowed = budget.try_retry("transient", 0) == 1
            assert allowed == (tokens >= 1 if inclusive else tokens > 1)
            tokens, granted, retries = tokens - allowed, granted + allowed, retries + allowed
        assert budget.tokens == pytest.approx(float(tokens))
    assert retries <= capacity + exact * firsts


# From settings


@pytest.mark.parametrize(
    ("settings", "cls"),
    [
        ({"kind": "grpc", "max_tokens": 10, "token_ratio": 0.1}, GrpcBudget),
        ({"kind": "envoy", "share": "20%", "min_concurrency": 3}, EnvoyBudget),
        ({"share": "20%", "min_rate": "10/s", "ttl": "10s"}, FinagleBudget),
        ({"kind": "finagle", "min_rate": None}, FinagleBudget),
        ({"kind": "aws", "capacity": 500}, AwsBudget),
        ({"kind": "token_bucket", "share": "10%", "inclusive": False}, TokenBudget),
    ],
)
def test_settings_choose_the_budget(settings: dict[str, Any], cls: type) -> None:
    config = RetryConfig.model_validate({"budget": settings}, context=FROM_FILE)
    assert config.budget is not None
    budget: Budget = make_budget(config.budget)
    assert isinstance(budget, cls)


@pytest.mark.parametrize(
    ("settings", "reserve"), [({}, 1), ({"kind": "share"}, 1), ({"kind": "finagle"}, 100), ({"min_rate": None}, 0)]
)
def test_the_default_budget_is_a_fifth_and_that_of_finagle_has_a_hundred_in_reserve(settings, reserve) -> None:
    config = RetryConfig.model_validate({"budget": settings}).budget
    assert config is not None
    budget = make_budget(config)
    assert isinstance(budget, FinagleBudget)
    assert deposit_and_withdraw(budget, 1000) == 200 + reserve
