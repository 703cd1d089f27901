"""Invariants of the arrival processes, and their statistics at fixed seeds.

Bounds of the statistics: five standard deviations of what is estimated, so that a right process fails about once in two
million seeds, and one that is off by the margin that each test names always does.
"""

import itertools
import math
import statistics
from collections import Counter
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import pytest
from effort import sliced
from hypothesis import assume, given, strategies as st

from actors.errors import ConfigurationError
from actors.instants import NS_PER_S, ns
from actors.settings.quantities import Rate
from simulation.scenario import parse
from simulation.scenario.arrivals import (
    DAY_NS,
    MONDAY_NS,
    Arrivals,
    BurstArrivals,
    DailyArrivals,
    arrival_times_ns,
    bursts,
    constant,
    daily,
    diurnal,
    poisson,
    ramp,
    trace,
    wave,
)

HOUR_NS = 3600 * NS_PER_S

rates = st.floats(1e-3, 1e3)
durations = st.integers(0, 30 * NS_PER_S)
seeds = st.integers(0, 2**32)


def in_order_and_range(times: list[int], duration_ns: int) -> bool:
    ordered = all(earlier <= later for earlier, later in itertools.pairwise(times))
    return ordered and all(type(at_ns) is int and 0 <= at_ns < duration_ns for at_ns in times)


# ── invariants ──────────────────────────────────────────────────────────────────────────────────────────────────


stage = st.one_of(
    st.builds(
        lambda rate, over: {"to": Rate(rate, 1), "over": over}, st.just(0.0) | rates, st.just(0.0) | st.floats(0, 9)
    ),
    st.builds(lambda seconds: {"hold": seconds}, st.floats(1e-9, 9)),
)
processes = st.one_of(
    st.builds(lambda rate: {"constant": Rate(rate, 1)}, rates),
    st.builds(lambda rate: {"poisson": Rate(rate, 1)}, rates),
    st.builds(lambda size, every: {"burst": {"size": size, "every": every}}, st.integers(1, 5), st.floats(0.1, 40)),
    st.builds(lambda a, b: {"ramp": {"from": Rate(a, 1), "to": Rate(b, 1)}}, rates, rates),
    st.builds(
        lambda mean, ratio, at: {"diurnal": {"mean": Rate(mean, 1), "peak": Rate(mean * ratio, 1), "peak_at": at}},
        st.floats(1e-3, 100),
        st.floats(1, 10),
        st.floats(0, 86400),
    ),
    st.builds(lambda times: {"times": sorted(times)}, st.lists(st.floats(0, 40), min_size=1)),
    st.builds(
        lambda mean, factors: {"weekly": {"mean": Rate(mean, 1), "factors": factors}},
        st.floats(1e-3, 100),
        st.lists(st.sampled_from([0.0, 0.5, 2.0]), min_size=24, max_size=24).map(lambda day: [*day * 6, *[1.0] * 24]),
    ),
    st.builds(lambda stages: {"stages": stages}, st.lists(stage, min_size=1, max_size=5)),
)


@given(processes, seeds, durations)
def test_arrivals_are_in_order_and_in_range_and_the_same_again(process: Any, seed: int, duration_ns: int) -> None:
    arrivals = Arrivals.model_validate(process)
    times = list(arrival_times_ns(arrivals, Random(seed), duration_ns))
    assert in_order_and_range(times, duration_ns)
    assert list(arrival_times_ns(arrivals, Random(seed), duration_ns)) == times


@given(st.floats(0.01, 1e4), st.sampled_from([1.0, 60.0, 0.001, 3600.0]), durations)
def test_constant_arrivals_are_exact(count: float, period: float, duration_ns: int) -> None:
    assume(duration_ns / NS_PER_S * count / period < 10_000)
    times = list(constant(Rate(count, period), duration_ns))
    exact = Fraction(period) * NS_PER_S / Fraction(count)
    assert all(abs(at_ns - k * exact) <= Fraction(1, 2) for k, at_ns in enumerate(times))
    assert len(times) * exact + Fraction(1, 2) >= duration_ns, "one more would have been too late"


def test_constant_arrivals_do_not_drift() -> None:
    *_, last = constant(Rate(3, 1), 1_000_000 * NS_PER_S)
    assert last == 1_000_000 * NS_PER_S - 333_333_333
    assert list(constant(Rate(100, 60), ns(2))) == [0, 600_000_000, 1_200_000_000, 1_800_000_000]
    assert list(constant(Rate(5, 1), ns(1))) == [0, 200_000_000, 400_000_000, 600_000_000, 800_000_000]
    assert list(constant(Rate(1e-300, 1), ns(1e6))) == [0]


@given(st.integers(1, 9), st.integers(1, NS_PER_S), durations)
def test_bursts_come_whole(size: int, every_ns: int, duration_ns: int) -> None:
    assume(duration_ns < 1000 * every_ns)
    burst = BurstArrivals(size=size, every=every_ns / NS_PER_S)
    times = list(bursts(burst, Random(1), duration_ns))
    starts = list(range(0, duration_ns, every_ns))
    assert times == [start for start in starts for _ in range(size)]


SIZES: list[dict[str, Any]] = [
    {"uniform": {"low": 3, "high": 9}},
    {"exponential": {"mean": 40}},
    {"lognormal": {"median": 20, "p99": 90}},
    {"pareto": {"minimum": 4, "alpha": 2.5}},
]


@pytest.mark.parametrize("size", sliced(SIZES, 4), ids=lambda size: next(iter(size)))
@pytest.mark.parametrize("every", ["3s", {"exponential": {"mean": "3s"}}, {"uniform": {"low": "1s", "high": "5s"}}])
def test_drawn_bursts_have_the_mean_size_and_the_mean_interval(size: dict[str, Any], every: Any) -> None:
    burst = BurstArrivals.model_validate({"size": size, "every": every})
    times = list(bursts(burst, Random(7), ns(30_000)))
    assert times[0] == 0
    assert in_order_and_range(times, ns(30_000))
    starts = Counter(times)
    assert len(starts) == pytest.approx(10_000, rel=0.05)
    assert len(times) / len(starts) == pytest.approx(burst.mean_size, rel=0.06)
    assert burst.mean_size * burst.expected_bursts(30_000) == pytest.approx(len(times), rel=0.1)
    assert list(bursts(burst, Random(7), ns(300))) == [at_ns for at_ns in times if at_ns < ns(300)]


def test_intervals_that_are_all_nothing_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"burst\.every: wanted intervals that are not all 0s"):
        parse("duration: 1m\nworkload: [{channel: email, arrivals: {burst: {size: 1, every: {constant: 0s}}}}]")


@given(st.integers(1, 9), st.integers(0, 86_400), st.integers(0, 3 * 86_400), st.integers(1, 5 * 86_400), seeds)
def test_each_day_has_its_count_within_a_while(count: int, over: int, begins: int, lasts: int, seed: int) -> None:
    """Law: the days are those of :mod:`simulation.scenario.arrivals`; the end cuts off what is behind it."""
    epoch_ns = ns(datetime(2026, 3, 27, tzinfo=UTC).timestamp() + begins)  # in Berlin one of the days has 23 hours
    config = DailyArrivals(at="08:00", zone="Europe/Berlin", count=count, over=over)
    times = list(daily(config, epoch_ns, Random(seed), ns(lasts)))
    starts = list(config.starts_ns(epoch_ns, ns(lasts)))
    assert in_order_and_range(times, ns(lasts))
    assert len([at_ns for at_ns in starts if at_ns + ns(over) < ns(lasts)]) * count <= len(times) <= len(starts) * count
    assert (
        set(times) <= set(starts) if over == 0 else all(any(0 <= at - one < ns(over) for one in starts) for at in times)
    )
    longer = list(daily(config, epoch_ns, Random(seed), ns(lasts + 200_000)))
    assert [at_ns for at_ns in longer if at_ns < ns(lasts)] == times


@given(st.lists(st.integers(0, 20), max_size=20), st.integers(1, NS_PER_S), seeds)
def test_a_trace_has_exactly_its_counts(counts: list[int], every_ns: int, seed: int) -> None:
    times = list(trace(tuple(counts), every_ns, Random(seed), len(counts) * every_ns))
    assert in_order_and_range(times, len(counts) * every_ns)
    found = [0] * len(counts)
    for at_ns in times:
        found[at_ns // every_ns] += 1
    assert found == counts


@given(st.lists(st.integers(0, 20), max_size=20), st.integers(1, NS_PER_S), seeds, durations)
def test_what_a_duration_cuts_off_a_trace_is_its_end(
    counts: list[int], every_ns: int, seed: int, duration_ns: int
) -> None:
    whole = list(trace(tuple(counts), every_ns, Random(seed), len(counts) * every_ns))
    cut = list(trace(tuple(counts), every_ns, Random(seed), duration_ns))
    assert cut == [at_ns for at_ns in whole if at_ns < duration_ns]


@given(rates, seeds, durations, durations)
def test_a_longer_run_begins_like_a_shorter_one(rate: float, seed: int, one_ns: int, other_ns: int) -> None:
    short, long = sorted((one_ns, other_ns))
    times = list(poisson(rate, Random(seed), long))
    assert list(poisson(rate, Random(seed), short)) == [at_ns for at_ns in times if at_ns < short]


def test_arrivals_are_lazy() -> None:
    for process in (
        constant(Rate(1e6, 1), 10**18),
        poisson(1e6, Random(1), 10**18),
        bursts(BurstArrivals(size=10**12, every=1e-9), Random(1), 10**18),
        ramp(1e6, 2e6, Random(1), 10**18),
        diurnal(1e6, 2e6, 0, Random(1), 10**18),
        trace((3,) * 1000, 1, Random(1), 10**18),
    ):
        assert len(list(itertools.islice(process, 10))) == 10


def test_a_poisson_arrival_costs_one_draw() -> None:
    class Counting(Random):
        draws = 0

        def random(self) -> float:
            self.draws += 1
            return super().random()

    source = Counting(1)
    times = list(poisson(20.0, source, ns(100)))
    assert source.draws == len(times) + 1


def test_extreme_rates_end() -> None:
    assert list(poisson(1e-12, Random(1), ns(1e9))) == []
    assert list(ramp(1e-12, 1e-12, Random(1), ns(1e9))) == []
    assert list(ramp(1e-12, 1e-12, Random(1), 0)) == []


# ── statistics ──────────────────────────────────────────────────────────────────────────────────────────────────


def counts_in_buckets(times: list[int], width_ns: int, buckets: int) -> list[int]:
    counts = [0] * buckets
    for at_ns in times:
        counts[at_ns // width_ns] += 1
    return counts


def test_poisson_mean_and_dispersion() -> None:
    buckets, rate = 5_000, 20.0
    counts = counts_in_buckets(list(poisson(rate, Random(1), buckets * NS_PER_S)), NS_PER_S, buckets)
    expected = rate * buckets
    assert abs(sum(counts) - expected) < 5 * math.sqrt(expected), "sd of the total is sqrt(100,000) = 0.3%"
    dispersion = statistics.variance(counts) / statistics.mean(counts)
    assert abs(dispersion - 1) < 5 * math.sqrt(2 / (buckets - 1)), "(n - 1) · index is chi-square: sd 2%"


def test_poisson_gaps_are_exponential() -> None:
    times = list(poisson(10.0, Random(2), ns(2_000)))
    gaps = sorted(later - earlier for earlier, later in itertools.pairwise(times))
    distance = max(abs((i + 1) / len(gaps) - (1 - math.exp(-gap / 1e8))) for i, gap in enumerate(gaps))
    assert distance < 1.95 / math.sqrt(len(gaps)), "Kolmogorov's 0.1% point"


@pytest.mark.parametrize(("start", "end"), [(1.0, 50.0), (50.0, 1.0), (20.0, 20.0), (40.0, 1e-9)])
def test_a_ramp_has_the_integral_of_its_rate_in_every_tenth(start: float, end: float) -> None:
    seconds = 4_000
    times = list(ramp(start, end, Random(3), ns(seconds)))
    counts = counts_in_buckets(times, ns(seconds / 10), 10)
    for tenth, count in enumerate(counts):
        mean_rate = start + (end - start) * (tenth + 0.5) / 10
        expected = mean_rate * seconds / 10
        assert abs(count - expected) < 5 * math.sqrt(expected)


@pytest.mark.parametrize(("peak", "start_hour"), sliced([(1.0, 17), (1.5, 0), (2.0, 17), (3.0, 0), (8.0, 17)], 6))
def test_diurnal_arrivals_have_their_mean_and_peak(peak: float, start_hour: int) -> None:
    mean, peak_hour, days = 1.0, 18, 3
    arrivals = Arrivals.model_validate(
        {"diurnal": {"mean": Rate(mean, 1), "peak": Rate(peak, 1), "peak_at": peak_hour * 3600}}
    )
    times = arrival_times_ns(arrivals, Random(4), days * DAY_NS, epoch_ns=MONDAY_NS + start_hour * HOUR_NS)
    by_hour = [0] * 24
    for at_ns in times:
        by_hour[(at_ns // HOUR_NS + start_hour) % 24] += 1
    expected = mean * days * 86_400
    assert abs(sum(by_hour) - expected) < 5 * math.sqrt(expected)
    level, swing = wave(mean, peak)
    for hour, count in enumerate(by_hour):
        within = [math.cos(2 * math.pi * (hour - peak_hour + (i + 0.5) / 60) / 24) for i in range(60)]
        expected = days * 3600 * statistics.mean(max(0.0, level + swing * cosine) for cosine in within)
        assert abs(count - expected) <= 5 * math.sqrt(expected) + 1


@given(st.floats(1e-3, 1e3), st.floats(1, 1000))
def test_a_wave_has_its_mean_and_its_peak(mean: float, ratio: float) -> None:
    peak = mean * ratio
    level, swing = wave(mean, peak)
    assert level + swing == pytest.approx(peak)
    steps = 20_000
    area = sum(max(0.0, level + swing * math.cos(2 * math.pi * (i + 0.5) / steps)) for i in range(steps)) / steps
    assert area == pytest.approx(mean, rel=1e-3)
    if ratio <= 2:
        assert (level, swing) == (mean, peak - mean)


def test_a_trace_spreads_evenly_within_its_buckets() -> None:
    every_ns = NS_PER_S
    times = trace((100,) * 1000, every_ns, Random(5), 1000 * every_ns)
    counts = counts_in_buckets([at_ns % every_ns for at_ns in times], every_ns // 10, 10)
    chi_square = sum((count - 10_000) ** 2 / 10_000 for count in counts)
    assert chi_square < 27.9, "the 0.1% point of chi-square with 9 degrees of freedom"


# ── settings ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_python_may_name_a_trace_in_either_form(tmp_path: Path) -> None:
    file = tmp_path / "counts.csv"
    file.write_text("time, value\n1,94.0\n\n2,5.6e1\n")
    flat = Arrivals.model_validate({"trace": str(file), "column": "value", "every": 300})
    nested = Arrivals.model_validate({"trace": {"file": str(file), "column": "value", "every": 300}})
    assert flat.trace is not None
    assert nested.trace is not None
    assert flat.trace.counts == nested.trace.counts == (94, 56)
    assert flat.trace.duration == 600


def test_a_trace_without_a_header_has_one_column(tmp_path: Path) -> None:
    file = tmp_path / "counts.csv"
    file.write_text("3\n4\n")
    arrivals = Arrivals.model_validate({"trace": str(file), "column": "value", "every": 60})
    assert arrivals.trace is not None
    assert arrivals.trace.counts == (3, 4)


def test_given_instants_are_those_below_the_duration_to_the_nanosecond() -> None:
    arrivals = Arrivals.model_validate({"times": ["0s", "1.5s", "1500ms", "2.000000001s", "1m"]})
    assert list(arrival_times_ns(arrivals, Random(1), ns(60))) == [0, 1_500_000_000, 1_500_000_000, 2_000_000_001]


@pytest.mark.parametrize("times", [[], ["2s", "1s"], ["-1s"], ["soon"], "1s"])
def test_given_instants_are_a_list_in_order(times: Any) -> None:
    with pytest.raises(ValueError, match=r"wanted (instants in order|a list|a duration)"):
        Arrivals.model_validate({"times": times})


def test_lines_of_nothing_but_blanks_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "counts.csv"
    file.write_text("value\n3\n  \n\t\n4\n \n")
    arrivals = Arrivals.model_validate({"trace": str(file), "column": "value", "every": 60})
    assert arrivals.trace is not None
    assert arrivals.trace.counts == (3, 4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("value\n10000001\n", "wanted a whole count from 0 to 10,000,000 in line 2 of counts.csv, got another number"),
        ("value,value\n1,2\n", "wanted one column named value in counts.csv, got 2"),
        ("time,value\n1,\n", "wanted a number in line 2, column 2 of counts.csv, got nothing"),
    ],
)
def test_a_trace_that_is_none_says_which_number_it_is_about(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "counts.csv"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        parse(
            "workload: [{channel: sms, arrivals: {trace: counts.csv, column: value, every: 1m}}]",
            str(tmp_path / "of-counts.yaml"),
        )
    (problem,) = refused.value.problems
    assert problem.endswith(f": workload.0.arrivals.trace: {said}")
