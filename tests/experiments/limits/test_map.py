"""`retrylab limits --map`: what comes back after a trigger, where the boundary is, and what moves it."""

import json
import random

import pytest
import yaml
from effort import sliced, thorough

import simulation
from actors.errors import ConfigurationError
from simulation.experiments.limits.map import _Plan, limits_map
from simulation.experiments.limits.map_result import LimitsMap
from simulation.experiments.limits.trend import VERDICTS, Triggered, Verdict, _fall, judge
from simulation.running.executors import RunMetrics
from simulation.scenario import load

STORM = """
name: storm
duration: 5m
workload: [{channel: webhook, arrivals: {constant: 4/s}}]
channels:
  webhook:
    retry: {max_attempts: 2, initial_delay: 1s, backoff: constant}
    timeout: 1s
    circuit_breaker: {enabled: false}
    provider: {latency: {constant: 100ms}, capacity: 1}
faults: [{channel: webhook, at: 60s, for: 10s, speed: 0}]
"""
"""Bronson and others, HotOS 2021: a server of 10/s works on dead requests too, each of which is sent twice. After a
freeze it is behind for ever where twice the load is more than it does, so from 5/s on."""


@pytest.fixture
def storm(tmp_path):
    path = tmp_path / "storm.yaml"
    path.write_text(STORM)
    return path


def verdict(path, load_of, lasts, *more, place=0):
    plan = _Plan.of(path, ["load", "trigger"], "all", None, 60.0, 10, None, ())
    run = judge(plan.triggered((load_of, lasts), place, more))
    return VERDICTS[int(run.figures["verdict"])], run.figures["after_s"]


def test_a_retry_storm_recovers_below_half_of_what_the_provider_does(storm):
    recovers, after_s = verdict(storm, 1.0, 10.0)
    assert recovers is Verdict.RECOVERS
    assert after_s == pytest.approx(2 * 4 * 10 / (10 - 8), abs=10)  # what has come in the freeze, at what is left over
    assert verdict(storm, 1.3, 10.0)[0] is Verdict.STUCK
    assert verdict(storm, 2.6, 10.0)[0] is Verdict.OVERLOADED


def test_what_recovers_after_the_end_of_the_run_does_so_by_its_trend(storm):
    late, after_s = verdict(storm, 1.2, 100.0)
    assert late is Verdict.LATE
    assert after_s == pytest.approx(2 * 4.8 * 100 / (10 - 9.6), rel=0.15)
    assert verdict(storm, 1.26, 100.0)[0] is Verdict.STUCK


def test_a_backlog_of_slow_requests_from_the_trigger_is_no_storm(storm):
    """Of 160 requests each takes the provider two seconds, also after the trigger, and so long new ones pile up."""
    storm.write_text(STORM.replace("speed: 0", "latency_factor: 20"))
    late, after_s = verdict(storm, 0.5, 40.0)
    assert late is Verdict.LATE
    assert after_s == pytest.approx((160 * 2 - 40) / (1 - 0.4), rel=0.1)
    assert verdict(storm, 1.4, 20.0)[0] is Verdict.STUCK


@pytest.mark.parametrize("lasts", sliced([68.0, 70.0, 72.0, 74.0, 76.0, 78.0], 3, 1))
def test_what_recovers_just_as_the_run_ends_is_late(storm, lasts):
    assert verdict(storm, 1.0, lasts)[0] in (Verdict.RECOVERS, Verdict.LATE)


@pytest.mark.parametrize("drift", [-1.0, 0.0, 1.0])
def test_a_random_walk_falls_where_it_drifts_down(drift):
    found = []
    for seed in range(40):
        draw = random.Random(seed)
        levels = [1000.0]
        for _ in range(100):
            levels.append(levels[-1] + drift * 5 + draw.gauss(0, 5))
        found.append(_fall(levels))
    falling = sum(falls > 2 * error for falls, error in found)
    assert falling == 40 if drift < 0 else falling <= 3
    assert sum(falls for falls, _ in found) / 40 == pytest.approx(-5 * drift, abs=0.5)


@pytest.mark.parametrize("places", [[1], thorough([0, 1, 2])])
@pytest.mark.parametrize("load_of", [0.97, 1.04])
def test_chance_does_not_hide_the_boundary_of_a_storm_of_few_random_arrivals(storm, load_of, places):
    """Five minutes show a fall only from 5% below the boundary on."""
    storm.write_text(STORM.replace("constant: 4/s", "poisson: 4/s"))
    found = [verdict(storm, load_of * 5 / 4, 60.0, place=place)[0] for place in places]
    assert (2 * sum(each is Verdict.STUCK for each in found) > len(places)) is (load_of > 1)


def test_what_stays_as_it_is_and_what_waits_for_long_are_told_apart(storm):
    """Those who wait for an hour after an outage are no backlog: what comes then is sent at once."""
    text = yaml.safe_load(STORM)
    text["channels"]["webhook"] = {"retry": {"schedule": ["1h"]}, "circuit_breaker": {"enabled": False}}
    text["faults"] = [{"channel": "webhook", "at": "60s", "for": "30s", "outage": True}]
    storm.write_text(yaml.safe_dump(text))
    assert verdict(storm, 1.0, 30.0) == (Verdict.RECOVERS, 0.0)


@pytest.mark.thorough
def test_the_boundary_of_a_storm_is_where_it_is_known_to_be_and_the_remedy_recovers(storm, tmp_path):
    out = tmp_path / "out"
    found = limits_map(storm, ["load=1..2", "trigger=10s..20s"], cells=3, out=out)
    assert found.boundary
    for low, high in found.boundary:
        assert low[0] * 4 < 5 * 1.02
        assert high[0] * 4 > 5 * 0.98
        assert high[0] <= low[0] * 1.05
        assert low[1] == high[1]
    document = json.loads((out / "map.json").read_text())
    assert document["remedy"]["sets"] == ["channels.webhook.retry.budget={share: 10%}"]
    low, high = document["remedy"]["moved_to"]
    assert low > 1.25
    lasts_s = document["remedy"]["cell"]["trigger"]
    said = [judge(Triggered(load(out / name), 0, 60.0, 60.0 + lasts_s)) for name in ("stuck.yaml", "remedy.yaml")]
    assert [VERDICTS[int(run.figures["verdict"])] for run in said] == [Verdict.STUCK, Verdict.RECOVERS]
    assert (out / "map.png").stat().st_size > 10_000
    assert "does not recover" in found.finding
    assert "retry.budget" in found.finding


@pytest.mark.thorough
def test_a_map_goes_on_where_it_stopped(storm, tmp_path, monkeypatch):
    how = {"cells": 2, "out": tmp_path / "out"}
    first = limits_map(storm, ["load=0.2..0.4", "trigger=5s..10s"], **how).document()
    monkeypatch.setattr("simulation.experiments.limits.map.judge", None)
    assert limits_map(storm, ["load=0.2..0.4", "trigger=5s..10s"], **how).document() == first
    assert first["finding"] == "storm: after each trigger it recovers, wherever it is well before"


def test_the_boundary_is_that_of_most_seeds(storm, monkeypatch):
    def judged(task):
        stuck_from = {0: 5.0, 1: 6.0}.get(task.seed, 7.0)
        verdict = (
            Verdict.STUCK if task.scenario.workload[0].arrivals.constant.per_second >= stuck_from else Verdict.LATE
        )
        return RunMetrics({"verdict": float(VERDICTS.index(verdict)), "after_s": None}, "")

    monkeypatch.setattr("simulation.experiments.limits.map.judge", judged)
    found = limits_map(storm, ["load=1..2", "trigger=10s..20s"], cells=3)
    assert len(found.boundary) == 3
    assert all(low[0] * 4 < 6 <= high[0] * 4 < 6.3 for low, high in found.boundary)
    assert found.remedy is None


def test_all_kinds_can_be_triggers(storm):
    plan = _Plan.of(storm, ["load=1..2", "outage=10s..20s"], "webhook", 30.0, 20.0, 2, None, ())
    run = plan.triggered((1.5, 12.0))
    assert [(fault.at, fault.for_, sorted(fault.injects)) for fault in run.scenario.faults] == [(30, 12, ["outage"])]
    assert (run.begins_s, run.ends_s, run.scenario.duration) == (30, 42, 342)
    for kind, amount in (("latency", 3.0), ("failure_rate", 0.5)):
        plan = _Plan.of(
            storm, [f"{kind}=10%..90%" if amount < 1 else f"{kind}=2..4", "load"], "all", None, 20.0, 2, None, ()
        )
        (fault,) = plan.triggered((amount, 1.0)).scenario.faults
        assert (fault.at, fault.for_, fault.ends_at) == (60, 20, 80)


def test_counts_are_whole_and_between_their_ends(storm):
    sets = ["channels.webhook.provider.capacity=20", "nodes=3"]
    plan = _Plan.of(storm, ["capacity=2..6", "nodes"], "all", None, 60.0, 10, None, sets)
    assert [axis.amounts for axis in plan.axes] == [(2, 3, 4, 5, 6), (1, 2, 3)]
    capacity, crash = plan.triggered((4.0, 2.0)).scenario.faults
    assert (capacity.capacity, capacity.for_, crash.node, crash.restart_after) == (16, 60.0, (1, 2), 60.0)


def test_the_words_name_the_boundary_from_its_first_row_to_its_last(storm):
    rows = [
        ((factor, lasts_s), (factor + 0.1, lasts_s))
        for factor, lasts_s in ((1.5, 10), (1.6, 30), (1.4, 60), (1.5, 300))
    ]
    found = LimitsMap(load(storm), ("load", "outage"), "all", 60.0, boundary=rows)
    assert "the boundary goes from load ×1.5 with 10 s to ×1.5 with 5 min (outage)" in str(found.sheet())


def test_what_cannot_be_mapped_is_refused(storm):
    for axes, problem in (
        (["load"], "--map: wanted two of outage, latency, failure_rate, load, capacity, nodes, trigger, such as"),
        (["trigger", "outage"], "--map: wanted outage or trigger, got both: either is what"),
        (["load", "capacity"], "--map capacity: wanted a provider with a capacity of more than one, got none"),
        (["load", "nodes"], "--map nodes: wanted a scenario with several nodes, got one process"),
        (["load=2..1", "trigger"], "--map load: wanted the smaller amount first, such as load=0.5..2, got '2..1'"),
        (["load", "failure_rate=5%..150%"], "--map failure_rate: wanted two amounts such as failure_rate=5%..50%"),
    ):
        with pytest.raises(ConfigurationError) as refused:
            limits_map(storm, axes)
        assert refused.value.problems[0].startswith(problem)
    plain = simulation.parse(STORM.partition("faults")[0])
    with pytest.raises(ConfigurationError, match="a fault in the file that begins and ends during the run, got none"):
        limits_map(plain, ["load", "trigger"])
