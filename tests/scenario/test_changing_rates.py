"""Stages and weeks: Poisson arrivals whose counts have the integral of the rate for their mean, in every part."""

import math
from bisect import bisect_left
from itertools import accumulate, pairwise
from random import Random
from typing import Any

import pytest
from beside import tables
from hypothesis import given, strategies as st

import simulation
from actors.errors import ConfigurationError
from actors.instants import NS_PER_S, ns
from simulation.scenario import Scenario, parse
from simulation.scenario.arrivals import (
    HOUR_NS,
    MONDAY_NS,
    Arrivals,
    Piece,
    arrival_times_ns,
    expected_along,
    most_along,
    pieces_of_weeks,
    poisson_along,
)
from simulation.scenario.expected_arrivals import expected_arrivals
from simulation.scenario.writing import write
from simulation.verification.drawing.swarm import case

WEEK_S = 7 * 86_400


def of(arrivals: str, duration: str = "10m", start: str = "2026-01-05T00:00:00Z") -> Scenario:
    return parse(f"duration: {duration}\nstart: {start}\nworkload: [{{channel: email, arrivals: {{{arrivals}}}}}]")


def problems(arrivals: str) -> str:
    with pytest.raises(ConfigurationError) as raised:
        of(arrivals)
    return str(raised.value)


def times_of(scenario: Scenario, seed: int) -> list[int]:
    entry: Any = scenario.workload[0]
    return list(scenario.arrival_times_ns(entry, Random(seed)))


def counts(times: list[int], edges_s: list[float]) -> list[int]:
    return [bisect_left(times, ns(high)) - bisect_left(times, ns(low)) for low, high in pairwise(edges_s)]


# ── stages ──────────────────────────────────────────────────────────────────────────────────────────────────────

STAGES = "stages: [{to: 20/s, over: 100s}, {hold: 50s}, {to: 5/s, over: 0s}, {hold: 100s}, {to: 0/s, over: 50s}, \
{hold: 100s}, {to: 12/s, over: 60s}]"
EDGES = [0, 50, 100, 150, 250, 275, 300, 400, 430, 460, 600]
MEANS = [250, 750, 1000, 500, 93.75, 31.25, 0, 90, 270, 140 * 12]
"""The integral of the rate between each two of the edges, by hand."""


def test_stages_have_the_integral_of_their_rate_between_any_two_instants() -> None:
    for count, mean in zip(counts(times_of(of(STAGES), 3), [float(edge) for edge in EDGES]), MEANS, strict=True):
        assert abs(count - mean) <= 5 * math.sqrt(mean)


def test_counts_of_stages_are_poisson_and_independent() -> None:
    """The index of dispersion of every part over many seeds: the sum of (count - mean)²/mean is chi-square."""
    seeds = range(30)
    scenario, edges = of(STAGES), [float(edge) for edge in EDGES]
    found = [counts(times_of(scenario, seed), edges) for seed in seeds]
    terms = [(row[part] - mean) ** 2 / mean for row in found for part, mean in enumerate(MEANS) if mean]
    assert abs(sum(terms) - len(terms)) < 5 * math.sqrt(2 * len(terms)), "chi-square with so many degrees of freedom"
    neighbours = [
        (row[part] - MEANS[part]) * (row[part + 1] - MEANS[part + 1]) / math.sqrt(MEANS[part] * MEANS[part + 1])
        for row in found
        for part in range(5)
    ]
    assert abs(sum(neighbours)) < 5 * math.sqrt(len(neighbours)), "no part knows of the one before"


@given(
    st.lists(st.tuples(st.floats(0.1, 9), st.floats(0.1, 9), st.floats(1, 20)), min_size=1, max_size=4),
    st.integers(0, 99),
)
def test_the_integral_of_the_rate_makes_a_unit_process_of_it(
    parts: list[tuple[float, float, float]], seed: int
) -> None:
    """Time change: mapped by the integrated rate, the arrivals are those of a process of rate 1 with the same draws."""
    pieces = [Piece(ns(length), first, last) for first, last, length in parts]
    total_ns = sum(piece.length_ns for piece in pieces)
    times = list(poisson_along(pieces, Random(seed), total_ns))
    random = Random(seed)
    unit = list(accumulate(random.expovariate(1.0) for _ in times))
    mapped = [expected_along(pieces, at_ns) for at_ns in times]
    assert mapped == pytest.approx(unit, rel=1e-6, abs=1e-6)
    assert unit == [] or unit[-1] <= expected_along(pieces, total_ns) * (1 + 1e-9)


def test_a_ramp_is_a_stage_and_a_constant_rate_another() -> None:
    ramp = Arrivals.model_validate({"ramp": {"from": "2/s", "to": "30/s"}})
    stages = Arrivals.model_validate({"stages": [{"to": "2/s", "over": "0s"}, {"to": "30/s", "over": "100s"}]})
    once = list(arrival_times_ns(ramp, Random(1), ns(100)))
    assert once == list(arrival_times_ns(stages, Random(1), ns(100)))
    assert len(once) > 1000


def test_the_last_value_holds_to_the_end_of_the_window() -> None:
    scenario = parse("""
        duration: 1h
        workload: [{channel: email, arrivals: {stages: [{to: 4/s, over: 10s}]}, at: 10m, for: 20m}]
        """)
    times = times_of(scenario, 1)
    assert times[0] >= ns(600)
    assert ns(1795) < times[-1] < ns(1800)
    mean = 20 + 4 * (1200 - 10)
    assert abs(len(times) - mean) < 5 * math.sqrt(mean)


def test_nothing_arrives_where_the_rate_is_0() -> None:
    assert times_of(of("stages: [{hold: 5m}]"), 1) == []
    assert times_of(of("stages: [{hold: 5m}, {to: 0/s, over: 5m}]"), 1) == []
    later = times_of(of("stages: [{hold: 5m}, {to: 1/s, over: 0s}]"), 1)
    assert ns(300) < later[0]
    assert abs(len(later) - 300) < 5 * math.sqrt(300)


def test_a_run_follows_its_stages() -> None:
    result = simulation.run(of("stages: [{to: 6/s, over: 5m}, {to: 0/s, over: 5m}]"))
    mean = 6 * 300
    assert abs(result.summary["accepted"] - mean) < 5 * math.sqrt(mean)
    assert result.notifications["requested_at_s"].median() == pytest.approx(300, abs=15)


@pytest.mark.parametrize(("stages", "problem"), tables(__file__)["no_stages"])
def test_what_is_no_stage_is_said(stages: str, problem: str) -> None:
    assert problem in problems(f"stages: {stages}")


# ── weeks ───────────────────────────────────────────────────────────────────────────────────────────────────────


def week(factors: list[float], mean: str = "60/h") -> str:
    return f"weekly: {{mean: {mean}, factors: {factors}}}"


def test_hours_of_the_week_have_their_share() -> None:
    factors = [float(number % 5) for number in range(168)]
    scenario = of(week(factors), duration="21d", start="2026-01-07T05:30:00Z")  # a Wednesday
    begins_s = 2 * 86_400 + 5.5 * 3600
    found = [0] * 168
    for at_ns in times_of(scenario, 2):
        found[int((at_ns / NS_PER_S + begins_s) // 3600) % 168] += 1
    for number, count in enumerate(found):
        mean = 3 * 60 * factors[number] * 168 / sum(factors)
        assert abs(count - mean) <= 5 * math.sqrt(mean)
    assert abs(sum(found) - 3 * 60 * 168) < 5 * math.sqrt(3 * 60 * 168), "the mean is that of the week"


def test_only_the_proportion_of_the_factors_counts() -> None:
    factors = [float(1 + number % 3) for number in range(168)]
    once, thrice = of(week(factors), "2d"), of(week([3 * factor for factor in factors]), "2d")
    assert times_of(once, 1) == pytest.approx(times_of(thrice, 1))


@given(st.integers(0, 3 * WEEK_S * NS_PER_S))
def test_weeks_begin_where_the_run_does(time_of_week_ns: int) -> None:
    rates = [float(hour) for hour in range(168)]
    pieces = pieces_of_weeks(rates, time_of_week_ns)
    first, second = next(pieces), next(pieces)
    hour = time_of_week_ns // HOUR_NS
    assert (first.first, second.first) == (rates[hour % 168], rates[(hour + 1) % 168])
    assert (time_of_week_ns + first.length_ns) % HOUR_NS == 0 < first.length_ns
    assert second.length_ns == HOUR_NS


def test_a_week_is_expected_whole_whenever_it_begins() -> None:
    arrivals = Arrivals.model_validate({"weekly": {"mean": "2/s", "factors": [hour % 9 for hour in range(168)]}})
    for begins in (0.0, 12_345.0, WEEK_S - 1.0):
        assert expected_arrivals(arrivals, 2.0 * WEEK_S, epoch_ns=MONDAY_NS + ns(begins)) == pytest.approx(4 * WEEK_S)
        parts = [
            expected_arrivals(arrivals, 50_000.0, epoch_ns=MONDAY_NS + ns(begins + at))
            for at in range(0, WEEK_S, 50_400)
        ]
        rest = [
            expected_arrivals(arrivals, 400.0, epoch_ns=MONDAY_NS + ns(begins + at + 50_000))
            for at in range(0, WEEK_S, 50_400)
        ]
        assert sum(parts) + sum(rest) == pytest.approx(2 * WEEK_S)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("weekly: {mean: 1/s, factors: [1, 2]}", "weekly.factors: wanted 168 factors, one for each hour, got 2"),
        (week([0.0] * 168), "weekly.factors: wanted a factor above 0"),
        (week([-1.0] * 168), "weekly.factors.0: wanted a number of at least 0, got -1"),
        ("weekly: [1, 2]", "weekly: wanted a week such as {mean: 10/s, factors:"),
    ],
)
def test_what_is_no_week_is_said(text: str, problem: str) -> None:
    assert problem in problems(text)


# ── the busiest stretch ─────────────────────────────────────────────────────────────────────────────────────────


@given(
    st.lists(st.tuples(st.integers(0, 9), st.floats(0, 9), st.floats(0, 9)), min_size=1, max_size=6),
    st.floats(0.1, 40),
)
def test_the_busiest_stretch_is_found(parts: list[tuple[int, float, float]], stretch: float) -> None:
    pieces = [Piece(ns(length), first, last) for length, first, last in parts]
    end = sum(length for length, _, _ in parts)
    most = most_along(pieces, stretch)

    def within(at: float) -> float:
        return expected_along(pieces, ns(at + stretch)) - expected_along(pieces, ns(at))

    tried = max(within(at / 20) for at in range(20 * end + 1))
    assert tried <= most * (1 + 1e-9) + 1e-6
    assert most <= tried + 9 * 0.05, "off by no more than a twentieth of a second at the highest rate"


def test_a_case_of_a_swarm_keeps_the_shape() -> None:
    for text in (
        "stages: [{to: 90/s, over: 20m}, {hold: 20m}, {to: 0/s, over: 20m}]",
        week([1.0] * 167 + [9.0], "90/s"),
    ):
        scenario = of(text, duration="1h")
        for seed in range(5):
            drawn = case(scenario, seed, settings="given")
            assert parse(write(drawn)).workload == drawn.workload
            entry: Any = drawn.workload[0]
            if entry.arrivals.stages is not None:
                first, second, _ = entry.arrivals.stages
                assert first.over == second.hold == pytest.approx(drawn.duration / 3, rel=0.02)
            else:
                assert entry.arrivals.weekly.factors[167] == 9
