"""The cases that seeds draw of a scenario: small, varied, readable as files, and the same in any process."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from effort import sliced, thorough

import simulation
from actors.settings.faults import FAULT_KEYS, FLEET_FAULT_KEYS
from simulation.scenario import load, parse
from simulation.scenario.workload import count_of
from simulation.scenario.writing import write
from simulation.verification.drawing.swarm import KINDS, case

ROOT = Path(__file__).parents[3]
SWARM = ROOT / "tests" / "verification" / "drawing" / "swarm.yaml"
HUNTED = ROOT / "tests" / "mutants" / "scenarios"
SHIPPED = sorted((ROOT / "scenarios").glob("*.yaml"))

TRACED = """
duration: 20m
workload:
  - {{channel: email, arrivals: {{trace: {trace}, column: value, every: 5m}}}}
  - {{channel: email, arrivals: {{times: [1s, 2s, 3s]}}}}
"""


def digest_of_cases():
    scenario = load(SWARM)
    texts = "".join(write(case(scenario, seed)) for seed in range(40))
    return hashlib.sha256(texts.encode()).hexdigest()


@pytest.mark.thorough
@pytest.mark.integration
@pytest.mark.parametrize("hash_seed", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_the_same_in_any_process(hash_seed):
    folders = [str(Path(__file__).parent), str(ROOT / "tests" / "support")]
    code = f"import sys; sys.path[:0] = {folders!r}; import test_swarm; print(test_swarm.digest_of_cases())"
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == digest_of_cases()


@pytest.mark.parametrize("path", sliced([SWARM, *SHIPPED], 18), ids=lambda path: path.stem)
def test_every_case_is_a_file_that_can_be_read(path):
    scenario = load(path)
    for seed in range(15):
        drawn = case(scenario, seed)
        assert parse(write(drawn), str(path)) == drawn
        assert case(scenario, seed, settings="given").channels == scenario.channels
        assert drawn.seed == seed


@pytest.mark.parametrize(
    ("name", "seed"),
    [
        ("pausing", 6400042),  # a breaker by host, beside a spare's for the channel
        ("pausing", 448),  # a time-out above the longest that it grows to
        ("copies-held-back", 58),  # a fault behind a provider that has no upstream any more
        ("layers", 65),  # the file's own fault, at a layer that is none any more
        ("restarts", 76),  # a crash of a limiter that is none any more
    ],
)
def test_settings_drawn_one_after_the_other_fit_together(name, seed):
    drawn = case(load(HUNTED / f"{name}.yaml"), seed, settings="drawn")
    assert parse(write(drawn)) == drawn


@pytest.mark.thorough
def test_whatever_many_seeds_runs_is_a_file_that_can_be_read():
    scenarios = [load(path) for path in (SWARM, *sorted(HUNTED.glob("*.yaml")))]
    for seed in range(500):
        for settings in ("mixed", "drawn"):
            drawn = case(scenarios[seed % len(scenarios)], seed, settings=settings)
            assert parse(write(drawn)) == drawn, (seed, settings)


def test_no_fault_is_at_hosts_to_which_nothing_is_sent_any_more():
    scenario = load(HUNTED / "pausing.yaml")
    cases = [case(scenario, seed, settings="given") for seed in range(40)]
    at_hosts = [any(fault.host for fault in each.faults) for each in cases]
    sends = [any(getattr(entry, "hosts", None) for entry in each.workload) for each in cases]
    met = set(zip(at_hosts, sends, strict=True))
    assert (True, True) in met, "where something is sent there, the fault stays"
    assert (True, False) not in met


@pytest.mark.parametrize("seeds", [8, thorough(40)])
def test_cases_are_small_and_none_is_like_another(seeds):
    scenario = load(SWARM)
    cases = [case(scenario, seed, settings="given") for seed in range(seeds)]
    sizes = sorted(simulation.run(each, invariants=[]).summary["accepted"] for each in cases)
    assert 20 <= sizes[seeds // 4] <= sizes[seeds * 3 // 4] <= 450, "half of them are about as large as they should be"
    assert sizes[-1] < 1500
    assert len({write(each.model_copy(update={"seed": 0})) for each in cases}) == seeds


def test_every_kind_of_fault_operation_and_schedule_is_drawn():
    scenario = load(SWARM)
    cases = [case(scenario, seed, settings="given") for seed in range(400)]
    keys = Counter(
        "crash_process" if fault.crash == "process" else key
        for drawn in cases
        for fault in drawn.faults
        for key in fault.model_fields_set
    )
    assert min(keys[kind] for kind in {*KINDS, *FAULT_KEYS} - FLEET_FAULT_KEYS) >= 10, keys
    assert {fault.provider for drawn in cases for fault in drawn.faults} == {None, "primary", "backup", "mirror"}
    latencies = [fault.latency.constant for drawn in cases for fault in drawn.faults if fault.latency is not None]
    timeouts = {
        lane.timeout for each in scenario.channels_used for lane in scenario.channel_config(each).by_provider().values()
    }
    assert sum(latency in timeouts for latency in latencies) > 5
    rates = ("failure_rate", "permanent_rate", "channel_fault_rate", "lost_reply_rate", "dead_destination_rate")
    mixed = [sum(getattr(fault, rate) is not None for rate in rates) for each in cases for fault in each.faults]
    assert sum(count > 1 for count in mixed) > 50, "a notification meets failures of several kinds"
    operations = [operation for drawn in cases for operation in drawn.operations]
    assert {operation.breaker for operation in operations} == {None, "force-open", "disable", "close", "metrics-only"}
    assert {key for operation in operations for key in operation.model_fields_set} >= {
        "redrive", "discard", "cancel", "provider", "edit", "served",
    }  # fmt: skip
    edits = {key for operation in operations if operation.edit is not None for key in operation.edit.changes()}
    assert edits == {"recipient", "message", "expires_after"}
    schedules = Counter(
        "normal" if drawn.schedule is None else "walk" if drawn.schedule.random_walk else "pct" for drawn in cases
    )
    assert min(schedules.values()) > 60
    assert len(schedules) == 3
    assert {drawn.start.hour for drawn in cases} == set(range(24)), "quiet hours are met at any time"
    assert sum(meets_an_edge(drawn) for drawn in cases) > 100, "they begin or end in the midst of a case"
    assert sum(any(getattr(entry, "not_before", None) for entry in drawn.workload) for drawn in cases) > 40
    assert any(
        fault.crash not in (None, "process") and fault.restart_after == 0.0 for each in cases for fault in each.faults
    )


def meets_an_edge(drawn):
    """Tell whether quiet hours of some users begin or end while notifications arrive."""
    start, end = (
        (drawn.start + timedelta(seconds=after)).astimezone(ZoneInfo(drawn.quiet_hours[0].zone)).time()
        for after in (0, drawn.duration)
    )
    edges = (drawn.quiet_hours[0].from_, drawn.quiet_hours[0].to)
    return any((start <= edge <= end) if start <= end else (edge >= start or edge <= end) for edge in edges)


def test_an_order_to_a_breaker_is_taken_back():
    scenario = load(SWARM)
    for seed in range(200):
        left = {}
        for operation in case(scenario, seed, settings="given").operations:
            if operation.breaker is not None:
                left[operation.channel] = operation.breaker
        assert set(left.values()) <= {"close", "disable", "metrics-only"}


def test_what_the_file_says_goes_wrong_does_so_in_half_of_the_cases():
    scenario = parse("""
duration: 10m
workload: [{channel: email, arrivals: {constant: 1/s}}]
faults: [{channel: email, at: 5m, for: 1m, capacity: 77}]
operations: [{at: 8m, redrive: {reason: mine}}]
""")
    drawn_cases = [case(scenario, seed, settings="given") for seed in range(120)]
    cases = [drawn for drawn in drawn_cases if drawn.duration <= 600.0]  # in others all comes once more after hours
    own = [(drawn, fault) for drawn in cases for fault in drawn.faults if fault.capacity == 77]
    assert 30 <= len(own) <= 70
    for drawn, fault in own:
        assert fault.at / drawn.duration == pytest.approx(0.5, rel=0.02)
        assert fault.for_ / drawn.duration == pytest.approx(0.1, rel=0.02)
    redriven = [op for drawn in cases for op in drawn.operations if op.redrive and op.redrive != "all"]
    assert 30 <= sum(op.redrive.reason == "mine" for op in redriven) <= 70


@pytest.mark.thorough
def test_in_some_cases_clocks_change_soon_after_the_start():
    zone, starts = ZoneInfo("Europe/Berlin"), [case(load(SWARM), seed, settings="given").start for seed in range(40)]
    offsets = [(start.astimezone(zone).utcoffset(), (start + timedelta(hours=10)).astimezone(zone)) for start in starts]
    assert 1 <= sum(before != after.utcoffset() for before, after in offsets) <= 15


@pytest.fixture(scope="module")
def cases_as_given():
    return [case(load(SWARM), seed, settings="given") for seed in range(50)]


@pytest.mark.thorough
def test_in_some_cases_much_comes_once_more_after_hours(cases_as_given):
    paused = [drawn for drawn in cases_as_given if drawn.duration > 3600.0]
    assert 1 <= len(paused) <= 15
    assert all(entry.at + entry.for_ <= 300.0 for drawn in paused for entry in drawn.workload if entry.at < 3600.0)
    assert any(entry.at >= 3600.0 for drawn in paused for entry in drawn.workload)
    assert any(fault.at >= 3600.0 for drawn in paused for fault in drawn.faults)


@pytest.mark.thorough
def test_in_some_cases_hardly_anybody_gets_two(cases_as_given):
    crowds = [{count_of(entry.users) == 1000 for entry in drawn.workload} for drawn in cases_as_given]
    assert 1 <= crowds.count({True}) <= 15
    assert crowds.count({True}) + crowds.count({False}) == len(crowds)


def test_arrivals_that_are_known_one_by_one_are_thinned():
    scenario = parse(TRACED.format(trace=ROOT / "tests" / "scenario" / "counts.csv"))
    for seed in range(20):
        for entry in case(scenario, seed, settings="given").workload:
            times = entry.arrivals.times
            assert times is not None
            assert list(times) == sorted(times)


@pytest.mark.parametrize(("kind", "key"), [("normal", None), ("random-walk", "random_walk"), ("pct", "pct")])
def test_a_schedule_of_ones_own_choice(kind, key):
    drawn = [case(load(SWARM), seed, schedule=kind).schedule for seed in range(5)]
    assert all((schedule is None) if key is None else getattr(schedule, key) for schedule in drawn)
