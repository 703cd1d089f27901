"""`at` and `for` on an entry of the workload: arrivals as if the run began at `at`, cut at `duration`."""

from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, strategies as st

import simulation
from actors.errors import ConfigurationError
from actors.instants import NS_PER_S, ns
from simulation.scenario import Scenario, parse
from simulation.scenario.arrivals import DAY_NS, arrival_times_ns
from simulation.scenario.expected_arrivals import expected_in_window, expected_notifications, most_in_windows
from simulation.scenario.lint import lint_scenario
from simulation.scenario.writing import write
from simulation.verification.drawing.swarm import case
from simulation.verification.exploring.shrink import _arrivals_ns

COUNTS = Path(__file__).with_name("counts.csv")


def of_entries(*entries: str, duration: str = "duration: 60s", rest: str = "") -> Scenario:
    lines = "\n".join(f"  - {{channel: email, {entry}}}" for entry in entries)
    return parse(f"{duration}\nworkload:\n{lines}\n{rest}")


def arrived_ns(scenario: Scenario, number: int = 0, seed: int = 5) -> list[int]:
    entry: Any = scenario.workload[number]
    return list(scenario.arrival_times_ns(entry, Random(seed)))


def requested(scenario: Scenario) -> list[float]:
    return list(simulation.run(scenario).notifications["requested_at_s"])


PROCESSES = (
    "{constant: 3/s}",
    "{poisson: 3/s}",
    "{burst: {size: 4, every: 7s}}",
    "{ramp: {from: 1/s, to: 9/s}}",
    "{times: [0s, 1.5s, 20s, 40s]}",
)


@given(st.sampled_from(PROCESSES), st.integers(0, 70), st.integers(1, 70), st.integers(0, 99))
def test_a_window_is_a_run_that_begins_then_and_is_cut_at_the_end(process: str, at: int, lasts: int, seed: int) -> None:
    within = of_entries(f"arrivals: {process}, at: {at}s, for: {lasts}s")
    alone = of_entries(f"arrivals: {process}", duration=f"duration: {lasts}s")
    shifted = [at * NS_PER_S + at_ns for at_ns in arrived_ns(alone, seed=seed)]
    assert arrived_ns(within, seed=seed) == [at_ns for at_ns in shifted if at_ns < 60 * NS_PER_S]


@pytest.mark.parametrize("process", PROCESSES)
def test_without_an_end_it_lasts_to_the_duration(process: str) -> None:
    within = of_entries(f"arrivals: {process}, at: 25s")
    alone = of_entries(f"arrivals: {process}", duration="duration: 35s")
    assert arrived_ns(within) == [25 * NS_PER_S + at_ns for at_ns in arrived_ns(alone)] != []


def test_a_ramp_goes_over_its_window_and_not_over_what_is_left_of_it() -> None:
    cut = of_entries("arrivals: {ramp: {from: 1/s, to: 200/s}}, at: 30s, for: 60s")
    whole = of_entries("arrivals: {ramp: {from: 1/s, to: 200/s}}, at: 30s, for: 30s")
    assert (expected_in_window(cut, cut.workload[0]), expected_in_window(whole, whole.workload[0])) == (
        pytest.approx(30 * (1 + 100.5) / 2),
        pytest.approx(30 * 201 / 2),
    )
    for scenario in (cut, whole):
        expected = expected_in_window(scenario, scenario.workload[0])
        assert abs(len(arrived_ns(scenario)) - expected) < 5 * expected**0.5


def test_the_time_of_day_is_that_of_the_calendar() -> None:
    text = "arrivals: {diurnal: {mean: 360/h, peak: 720/h, peak_at: 18h}}, at: 12h, for: 12h"
    scenario = of_entries(text, duration="duration: 2d\nstart: 2026-01-05T06:00:00Z")
    wave = scenario.workload[0].arrivals  # type: ignore[union-attr]
    same = arrival_times_ns(wave, Random(5), DAY_NS // 2, epoch_ns=DAY_NS * 18 // 24)
    assert arrived_ns(scenario) == [DAY_NS // 2 + at_ns for at_ns in same]
    expected = expected_in_window(scenario, scenario.workload[0])  # type: ignore[arg-type]
    assert expected == pytest.approx(12 * 360, rel=1e-3), "half a day from the peak on: as much above as below"
    assert abs(len(arrived_ns(scenario)) - expected) < 5 * expected**0.5


def test_a_run_has_each_entry_in_its_window() -> None:
    scenario = of_entries(
        "arrivals: {constant: 1/s}, at: 10s, for: 3s",
        "arrivals: {times: [0s, 2s]}, at: 59s",
        "arrivals: {constant: 1/50s}",
    )
    assert requested(scenario) == [0, 10, 11, 12, 50, 59]
    assert simulation.run(scenario).summary["simulated_s"] == 60


def test_clients_come_think_and_stop_in_their_window() -> None:
    scenario = of_entries("clients: 2, think: 3s, at: 10s, for: 7s")
    assert requested(scenario) == [13, 13, 16, 16]
    assert requested(of_entries("clients: 1, think: 20s, at: 19s")) == [39, 59]
    assert simulation.run(scenario, runtime="trio").history == simulation.run(scenario).history


def test_a_trace_is_replayed_whole_from_there_or_until_its_window_ends() -> None:
    trace = f"trace: {COUNTS}, column: value, every: 5s"
    alone = of_entries(f"arrivals: {{{trace}}}", duration="")
    later = of_entries(f"arrivals: {{{trace}}}, at: 7s", duration="")
    cut = of_entries(f"arrivals: {{{trace}}}, at: 7s, for: 6s", duration="")
    lasts_ns = alone.arrivals_end_ns
    assert later.arrivals_end_ns == later.arrivals_end_of(later.workload[0]) == 7 * NS_PER_S + lasts_ns
    assert later.duration == pytest.approx(7 + lasts_ns / NS_PER_S)
    assert arrived_ns(later) == [7 * NS_PER_S + at_ns for at_ns in arrived_ns(alone)]
    assert arrived_ns(cut) == [at_ns for at_ns in arrived_ns(later) if at_ns < 13 * NS_PER_S] != arrived_ns(later)
    assert (cut.duration, cut.arrivals_end_ns) == (13, 13 * NS_PER_S)
    shorter = of_entries(f"arrivals: {{{trace}}}, at: 7s", duration="duration: 8s")
    assert arrived_ns(shorter) == arrived_ns(later), "as a trace without a window is"


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("arrivals: {poisson: 1/s}, at: -5s", "workload.0.at: wanted a duration such as 80ms"),
        ("arrivals: {poisson: 1/s}, at: 5", "workload.0.at: wanted a duration such as 80ms"),
        ("arrivals: {poisson: 1/s}, for: 0s", "workload.0.for: wanted a duration of more than 0"),
        ("clients: 1, think: 1s, form: 3s", "workload.0.form: unknown key; did you mean for?"),
    ],
)
def test_what_is_no_window_is_said(entry: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        of_entries(entry)
    assert problem in str(raised.value)


# ── who knows of it ─────────────────────────────────────────────────────────────────────────────────────────────


def said(scenario: Scenario) -> list[str]:
    return [str(finding) for finding in lint_scenario(scenario)]


def test_the_linter_says_that_a_window_never_opens() -> None:
    text = "is not before the 60s at which arrivals end: none comes"
    assert said(of_entries("arrivals: {poisson: 1/s}, at: 1m")) == [f"workload.0.at: 60s {text}"]
    assert said(of_entries("clients: 1, think: 1s, at: 90s")) == [f"workload.0.at: 90s {text}"]
    assert said(of_entries(f"arrivals: {{trace: {COUNTS}, column: value, every: 5s}}, at: 90s")) == []
    assert said(of_entries("arrivals: {poisson: 1/s}, at: 59s, for: 1h")) == []


def test_the_linter_counts_what_arrives_in_windows() -> None:
    limit = "channels: {email: {quota: {rate: 10/s}}}"
    always = of_entries("arrivals: {constant: 40/s}", rest=limit)
    briefly = of_entries("arrivals: {constant: 40/s}, at: 10s, for: 10s", rest=limit)
    assert any("quota" in text for text in said(always))
    assert not any("quota" in text for text in said(briefly)), "400 in a minute are 6.7/s"


def test_windows_that_never_meet_do_not_add_up() -> None:
    scenario = of_entries(
        "arrivals: {constant: 10/s}, at: 0s, for: 10s",
        "arrivals: {constant: 10/s}, at: 30s, for: 10s",
        "arrivals: {constant: 1/s}",
    )
    entries: Any = scenario.workload
    assert most_in_windows(scenario, entries, 5) == pytest.approx(55)
    assert most_in_windows(scenario, entries, 20) == pytest.approx(120)
    assert most_in_windows(scenario, entries, 21) == pytest.approx(221), "a second of each is at hand at least"
    assert most_in_windows(scenario, entries, 1e9) == pytest.approx(260)


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 30), st.sampled_from(PROCESSES)), min_size=1, max_size=4),
    st.floats(0.5, 80),
    st.floats(0, 60),
)
def test_no_stretch_over_windows_is_busier_than_the_busiest(
    windows: list[tuple[int, int, str]], width: float, start: float
) -> None:
    scenario = of_entries(*(f"arrivals: {process}, at: {at}s, for: {lasts}s" for at, lasts, process in windows))
    times = [at_ns for number in range(len(windows)) for at_ns in arrived_ns(scenario, number)]
    within = sum(ns(start) < at_ns <= ns(start + width) for at_ns in times)
    entries: Any = scenario.workload
    most = most_in_windows(scenario, entries, width)
    assert within <= most + 6 * most**0.5 + 2 * len(windows)


def test_how_many_are_expected_so_far() -> None:
    scenario = of_entries("arrivals: {constant: 2/s}, at: 10s, for: 20s", "clients: 5, think: 2s, at: 20s, for: 10s")
    first, second = scenario.workload
    assert [expected_notifications(scenario, first, until) for until in (5, 10, 20, 30, 60)] == [0, 0, 20, 40, 40]
    assert [expected_notifications(scenario, second, until) for until in (10, 25, 60)] == pytest.approx([0, 12.5, 25])


def test_a_case_of_a_swarm_keeps_the_windows_in_proportion() -> None:
    scenario = of_entries("arrivals: {poisson: 50/s}, at: 20m, for: 10m", duration="duration: 1h")
    drawn_cases = (case(scenario, seed) for seed in range(12))
    kept = [drawn for drawn in drawn_cases if drawn.duration < 3600]  # the others have a pause of an hour or more
    assert len(kept) >= 8
    for drawn in kept:
        (entry,) = drawn.workload
        assert entry.at == pytest.approx(drawn.duration / 3, rel=0.02)
        assert entry.for_ == pytest.approx(drawn.duration / 6, rel=0.02)
        assert parse(write(drawn)).workload == drawn.workload


def test_what_shrinking_starts_from_has_the_instants_of_the_run() -> None:
    scenario = of_entries("arrivals: {poisson: 2/s}, at: 10s, for: 20s")
    assert [at_ns / NS_PER_S for at_ns in _arrivals_ns(scenario, 0)] == requested(scenario) != []
