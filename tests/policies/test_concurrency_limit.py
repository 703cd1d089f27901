"""Adaptive concurrency limits: the vectors of Vegas, and both against a provider whose queue grows under load."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, strategies as st
from pydantic import TypeAdapter, ValidationError

from actors.instants import ns
from actors.policies.adaptive.concurrency import ConcurrencyLimit, GradientLimit, VegasLimit, make_concurrency_limit
from actors.settings.adaptive import ConcurrencyLimitConfig, GradientConfig, VegasConfig

MS = 1_000_000


def vegas(**settings: Any) -> VegasLimit:
    return VegasLimit(VegasConfig(kind="vegas", **settings), random.Random(1))


def limits(limit: ConcurrencyLimit, latencies_ms: Sequence[float], in_flight: int, **settings: Any) -> list[int]:
    got = []
    for latency in latencies_ms:
        limit.on_result(round(latency * MS), in_flight, **settings)
        got.append(limit.limit)
    return got


@pytest.mark.parametrize(
    ("latencies", "in_flight", "expected"),
    [([10, 10], 11, [10, 16]), ([10, 50], 11, [10, 9]), ([10, 14], 14, [10, 10])],
)
def test_v106_vegas_by_the_length_of_the_queue(latencies: list[float], in_flight: int, expected: list[int]) -> None:
    assert limits(vegas(alpha=3, beta=6, initial=10, maximum=20), latencies, in_flight) == expected


@pytest.mark.parametrize(("smoothing", "expected"), [(1, [100, 50, 25]), (0.5, [100, 75, 56])])
def test_v106_vegas_halving(smoothing: float, expected: list[int]) -> None:
    limit = vegas(initial=100, maximum=200, decrease=0.5, smoothing=smoothing)
    assert limits(limit, [10, 20, 20], 100) == expected


def test_vegas_falls_for_what_is_dropped_and_keeps_still_when_it_is_not_the_limit_that_holds_back() -> None:
    assert limits(vegas(initial=10), [10, 11], 4) == [10, 10]
    assert limits(vegas(initial=10), [10, 11], 4, dropped=True) == [10, 9]


def test_vegas_measures_the_lowest_latency_anew() -> None:
    limit = vegas(initial=10, probe_multiplier=1)
    assert limits(limit, [10], 11) == [10]
    slower_for_good = limits(limit, [40] * 300, 11)
    assert min(slower_for_good) < 10 < slower_for_good[-1]


def test_gradient_by_hand() -> None:
    limit = GradientLimit(GradientConfig(initial=100, tolerance=1, smoothing=0.5, maximum=200))
    # g = 1, so to 104, by half; then an average of 15 against 20, so to 0.75 · 102 + 4; then one half at the least.
    assert limits(limit, [10, 20], 100) == [102, 91]
    assert limit.limit == int(0.5 * 102 + 0.5 * (102 * 0.75 + 4))
    before = 0.5 * 102 + 0.5 * (102 * 0.75 + 4)
    limit.on_result(10**12, 100)
    assert limit.limit in (int(0.5 * before + 0.5 * (before * 0.5 + 4)), int(before * 0.5 * (1 + 1003 / 3000) + 2))


def test_gradient_tolerates_what_it_is_told_to() -> None:
    tolerant = GradientLimit(GradientConfig(initial=50, tolerance=2))
    assert limits(tolerant, [10] * 20 + [18], 50)[-1] > 50
    strict = GradientLimit(GradientConfig(initial=50, tolerance=1))
    before, after = limits(strict, [10] * 20 + [18], 50)[-2:]
    assert after < before


def test_gradient_lets_go_of_bad_times() -> None:
    limit = GradientLimit(GradientConfig(initial=50, tolerance=1, maximum=500))
    limits(limit, [1000] * 50, 500)
    rising = limits(limit, [10] * 20 + [15] * 5, 500)
    assert rising[-1] > rising[-6], "15 is still less than an average that remembers 1000"
    falling = limits(limit, [10] * 60 + [25] * 5, 500)
    assert falling[-1] < falling[-6], "a hundred attempts later it is not"


class Queue:
    """A provider that works on ten at once, 100 ms each; the rest queue."""

    def latency_ms(self, in_flight: int) -> float:
        return 100 * max(1.0, in_flight / 10)


@pytest.mark.parametrize("kind", ["vegas", "gradient"])
@pytest.mark.parametrize("initial", [2, 150])
def test_it_comes_near_to_what_the_provider_works_on_at_once(kind: str, initial: int) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(ConcurrencyLimitConfig)
    own = {"gradient": {"tolerance": 1}, "vegas": {"probe_multiplier": 10**6}}
    settings = {"kind": kind, "initial": initial} | own[kind]
    limit = make_concurrency_limit(adapter.validate_python(settings), random.Random(3))
    for _ in range(40):  # what it has to get before anything: that an empty provider is fast
        limit.on_result(100 * MS, 1)
    seen = []
    for _ in range(1200):
        in_flight = limit.limit
        limit.on_result(round(Queue().latency_ms(in_flight) * MS), in_flight)
        seen.append(limit.limit)
    settled = seen[400:]
    assert min(settled) >= 10
    assert max(settled) <= (16 if kind == "vegas" else 45)


@given(
    st.sampled_from(["vegas", "gradient"]),
    st.lists(st.tuples(st.integers(1, ns(1e6)), st.integers(0, 300), st.booleans()), max_size=80),
)
def test_it_stays_within_its_bounds(kind: str, results: list[tuple[int, int, bool]]) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(ConcurrencyLimitConfig)
    config = adapter.validate_python({"kind": kind, "initial": 5, "minimum": 3, "maximum": 30})
    limit = make_concurrency_limit(config, random.Random(1))
    for latency, in_flight, dropped in results:
        limit.on_result(latency, in_flight, dropped=dropped)
        assert 3 <= limit.limit <= 30


def test_settings_that_do_not_go_together() -> None:
    with pytest.raises(ValidationError, match="initial between minimum and maximum"):
        GradientConfig(initial=500)
    with pytest.raises(ValidationError, match="unknown key"):
        TypeAdapter(ConcurrencyLimitConfig).validate_python({"kind": "vegas", "tolerance": 2})
