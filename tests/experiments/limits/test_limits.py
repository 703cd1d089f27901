"""`simulation.limits`: the edges that are known by arithmetic, and what is said of those that are none."""

import functools
import itertools
import json
import math
import random
from pathlib import Path

import pytest
import yaml
from console_command import app
from effort import sliced
from shipped import SCENARIOS
from typer.testing import CliRunner

import simulation
from actors.errors import ConfigurationError
from simulation.experiments.limits.expected import BROKEN_EARLY, Trial, figures_wanted, held_of, judged_run, under
from simulation.experiments.limits.limits import ask
from simulation.experiments.limits.result import Limits
from simulation.experiments.limits.search import CONFIDENCE, MOST, SEEDS, Search
from simulation.experiments.limits.stress import stresses
from simulation.scenario.limits import wanted_limits
from simulation.scenario.writing import write

KNOWN = yaml.safe_load((Path(__file__).parent / "known_edges.yaml").read_text(encoding="utf-8"))
LADDER, QUOTA, *_ = KNOWN


def scenario_of(known, **changes):
    keys = {key: value for key, value in (known | changes).items() if key not in ("name", "of", "edge", "tolerance")}
    return simulation.parse(yaml.safe_dump(keys), "known.yaml")


@pytest.mark.thorough
@pytest.mark.parametrize("known", [pytest.param(each, id=each["name"]) for each in KNOWN])
def test_an_edge_that_is_known_is_found(known):
    found = simulation.limits(scenario_of(known), [known["of"]])
    (edge,) = found.edges
    tolerance = known.get("tolerance", 0.02) * known["edge"]
    assert edge.holds_to == pytest.approx(known["edge"], abs=tolerance)
    assert edge.holds_to < edge.breaks_at <= max(edge.holds_to * 1.021, edge.holds_to + edge.stress.kind.is_whole)
    low, high = edge.interval
    assert low <= edge.holds_to
    assert edge.breaks_at <= high


@functools.cache
def ladder_outage():
    (stress,), _ = stresses(scenario_of(LADDER), ["outage"])
    return stress


class Known:
    """A scenario that holds with some amounts of an outage, by seed."""

    def __init__(self, holds, expectations=1):
        self.search = Search(ladder_outage(), expectations)
        self.asked = []
        for probes in self.search.steps():
            for amount, seed in probes:
                self.asked.append((amount, seed))
                held = holds(amount, seed)
                self.search.add((amount, seed), held if isinstance(held, tuple) else (held,))
        self.edge = self.search.edge


def test_an_edge_of_which_seeds_differ_is_that_of_most():
    edges = [10, 51, 100, 20, 80]  # the first seed breaks early
    known = Known(lambda amount, seed: amount < edges[seed])
    assert 50 <= known.edge.holds_to < 51 <= known.edge.breaks_at <= 51 * 1.02
    assert not known.edge.is_confirmed
    low, high = known.edge.interval
    assert low < 10
    assert high >= 100
    agreeing = Known(lambda amount, _: amount < 51)
    assert agreeing.edge.is_confirmed
    assert agreeing.edge.interval == (agreeing.edge.holds_to, agreeing.edge.breaks_at)
    assert agreeing.edge.runs == len(agreeing.asked) <= 23


def test_the_interval_has_the_edge_of_half_of_all_seeds_as_often_as_it_says():
    draw = random.Random(1)
    inside = 0
    for _ in range(100):
        edges = [draw.lognormvariate(3, 0.2) for _ in range(SEEDS)]
        low, high = Known(lambda amount, seed, edges=edges: amount < edges[seed]).edge.interval
        inside += low <= math.exp(3) < high
    assert inside / 100 >= CONFIDENCE - 0.1


def test_a_seed_that_holds_by_chance_with_nothing_put_on_is_not_believed():
    by_chance = Known(lambda amount, seed: amount == seed == 0).edge
    assert (by_chance.holds_to, by_chance.breaks_at, by_chance.left_out) == (None, None, (0,))
    two = Known(lambda amount, seed: (amount == seed == 0, amount < 20), expectations=2).edge
    assert two.left_out == (0,)
    assert two.holds_to == pytest.approx(20, rel=0.02)


@pytest.mark.thorough
def test_all_channels_together_are_tried_at_the_least_edge_of_one():
    workload = [{"channel": channel, "arrivals": {"constant": "30/min"}} for channel in ("webhook", "sms")]
    ladders = {
        "webhook": LADDER["channels"]["webhook"],
        "sms": LADDER["channels"]["webhook"] | {"retry": {"schedule": ["10s", "30s"]}},
    }
    found = simulation.limits(scenario_of(LADDER, workload=workload, channels=ladders), ["outage"])
    edges = {edge.stress.on: edge for edge in found.edges}
    assert edges["all"].holds_to == edges["sms"].holds_to == pytest.approx(40, rel=0.02)
    assert edges["webhook"].holds_to == pytest.approx(100, rel=0.02)
    assert edges["all"].runs <= 11 < edges["sms"].runs


def test_what_holds_again_beyond_its_edge_is_said():
    known = Known(lambda amount, _: not 20 < amount < 40)
    assert known.edge.holds_to == pytest.approx(20, rel=0.02)
    assert known.edge.holds_again == [64.9, 120.0]


def test_what_never_breaks_and_what_breaks_at_once():
    never = Known(lambda *_: True).edge
    assert (never.holds_to, never.breaks_at, never.interval) == (120.0, None, (120.0, None))
    at_once = Known(lambda amount, _: amount == 0).edge
    assert at_once.holds_to == 0
    assert 0 < at_once.breaks_at < 0.1
    broken = Known(lambda *_: False).edge
    assert (broken.holds_to, broken.left_out, broken.runs) == (None, (0,), MOST)
    sheet = Limits(scenario_of(LADDER), [never, broken], [], ["it is well"]).sheet()
    assert sheet.rows[0].cells[1:] == ["2 min", "not in what was tried", None, "2 min or more"]
    assert "left out of webhook.outage, as it does not hold even without: it is well" in sheet.notes


def test_an_outage_takes_the_place_and_the_number_of_the_file_s_own():
    scenario = scenario_of(
        LADDER,
        faults=[
            {"channel": "webhook", "at": "10s", "for": "5s", "failure_rate": "50%"},
            {"channel": "webhook", "at": "20s", "for": "5s", "outage": True},
            {"channel": "webhook", "at": "40s", "for": "5s", "outage": True, "latency_factor": 2},
        ],
    )
    (stress,), _ = stresses(scenario, ["outage"], at=60.0)
    put_on = stress.put_on(30.0)
    assert [(fault.at, fault.for_, sorted(fault.injects)) for fault in put_on.faults] == [
        (10.0, 5.0, ["failure_rate"]),
        (60.0, 30.0, ["outage"]),
        (40.0, 5.0, ["latency_factor"]),
    ]
    assert put_on.duration == 60 + 30 + 600


@pytest.mark.parametrize("path", sliced(SCENARIOS, 9), ids=lambda path: path.stem)
def test_what_is_put_on_a_shipped_scenario_can_be_written_and_read(path):
    scenario = simulation.load(path)
    for stress in stresses(scenario)[0]:
        for amount in (stress.kind.mildest, stress.grid[-1]):
            found = stress.put_on(amount)
            again = simulation.parse(write(found), str(path))
            assert (again.faults, again.duration, again.expect) == (found.faults, found.duration, scenario.expect)


ARRIVALS = [
    {"constant": "10/s"},
    {"poisson": "10/s"},
    {"burst": {"size": 100, "every": "10s"}},
    {"ramp": {"from": "5/s", "to": "15/s"}},
    {"diurnal": {"mean": "10/s", "peak": "10/s", "peak_at": "0s"}},
    {"weekly": {"mean": "10/s", "factors": [1] * 168}},
    {"daily": {"at": "00:00", "count": 1000, "over": "90s"}},
    {"stages": [{"to": "10/s", "over": "0s"}]},
    {"times": [f"{tenth / 10}s" for tenth in range(1000)]},
    {"trace": "counts.csv", "column": "count", "every": "10s"},
]


@pytest.mark.parametrize("arrivals", ARRIVALS, ids=lambda arrivals: next(iter(arrivals)))
def test_all_kinds_of_arrivals_are_multiplied(arrivals, tmp_path):
    (tmp_path / "counts.csv").write_text("count\n" + "100\n" * 10)
    entry = {"channel": "webhook", "arrivals": arrivals}
    scenario = simulation.parse(yaml.safe_dump({"duration": "100s", "workload": [entry]}), str(tmp_path / "a.yaml"))
    (stress,), _ = stresses(scenario, ["load"])
    offered = [simulation.run(stress.put_on(factor)).summary["offered"] for factor in (1.0, 2.5)]
    assert offered == pytest.approx([1000, 2500], rel=0.1)
    written = simulation.parse(write(stress.put_on(2.5)), str(tmp_path / "b.yaml"))
    assert simulation.run(written).summary["offered"] == offered[1]


def test_without_expect_a_backlog_that_does_not_end_breaks_and_one_that_stays_as_it_is_does_not():
    """Twenty of the forty that are pending are with the provider, whose answers take long."""
    slow = scenario_of(QUOTA, channels={"webhook": {"timeout": "60s", "provider": {"latency": {"constant": "20s"}}}})
    (latency,), _ = stresses(slow, ["latency"])
    scenario = under(latency, 2.0)
    figures = simulation.sweep(scenario, {"record": ["full"]}, replicates=1).runs.iloc[0].to_dict()
    assert held_of(latency, scenario, figures) == (True, True)
    (load,), _ = stresses(scenario_of(QUOTA), ["load"])
    scenario = under(load, 2.1)
    figures = simulation.sweep(scenario, {"record": ["full"]}, replicates=1).runs.iloc[0].to_dict()
    assert held_of(load, scenario, figures) == (True, False)


BROKEN_FOR_GOOD = [
    "dlq.peak <= 5",
    "channels.webhook.dead_lettered < 6",
    "sent_fraction >= 99.5%",
    "delivered_within(5s) >= 99%",
    "channels.webhook.delivery_time_s.p99 <= 5s",
    "breaker.webhook.opened == 0",
    "channels.webhook.breaker.open_s <= 10s",
    "peaks.requests_per_s <= 20",
    "faults.0.backlog_cleared_s <= 1s",
]


@pytest.mark.parametrize("bound", sliced(BROKEN_FOR_GOOD, 3))
def test_a_run_that_ends_early_is_one_that_breaks_at_its_end_too(bound):
    scenario = simulation.parse(
        yaml.safe_dump(
            {
                "duration": "5m",
                "workload": [{"channel": "webhook", "arrivals": {"poisson": "20/s"}}],
                "channels": {"webhook": {"retry": {"max_attempts": 1}, "circuit_breaker": {"timeout": "15s"}}},
                "faults": [
                    {"channel": "webhook", "at": "20s", "for": "20s", "outage": True},
                    {"channel": "webhook", "at": "60s", "for": "1m", "failure_rate": "40%"},
                ],
                "expect": [bound],
                "record": "aggregates",
            }
        )
    )
    figures = judged_run(Trial(scenario, 0, judged=(0,))).figures
    (path, _) = figures_wanted(scenario)
    assert (figures[BROKEN_EARLY], figures[path]) == (0, None)
    assert not scenario.expect[0].holds_of(judged_run(Trial(scenario, 0)).figures[path])


def test_what_cannot_be_put_on_is_refused_or_said():
    with pytest.raises(ConfigurationError) as refused:
        simulation.limits(scenario_of(LADDER), ["outages", "load"], on=["sms"], at=120.0)
    assert refused.value.problems == [
        "--of outages: wanted a kind of outage, latency, failure_rate, load, capacity, nodes, got 'outages'",
        "--on sms: wanted webhook, all, got 'sms'",
        "--at: wanted an instant before arrivals end at 2 min, got 120s",
    ]
    found = simulation.limits(scenario_of(LADDER), ["capacity", "nodes"])
    assert found.edges == []
    assert found.lacking == ["capacity: no provider has a capacity of more than one", "nodes: there is one process"]
    of_one = simulation.limits(scenario_of(LADDER), ["capacity"], on=["webhook"])
    assert of_one.lacking == ["capacity: no provider of webhook has a capacity of more than one"]


def test_the_files_on_either_side_of_an_edge_run_as_it_says(tmp_path):
    found = simulation.limits(scenario_of(LADDER), ["outage"], out=tmp_path)
    holds, breaks = (simulation.run(tmp_path / f"webhook.outage-{side}.yaml") for side in ("holds", "breaks"))
    assert (holds.holds, breaks.holds) == (True, False)
    assert found.edges[0].holds_to == pytest.approx(100, rel=0.02)
    assert found.edges[0].is_confirmed
    assert breaks.summary["expectations"][0]["text"] == found.first_broken(found.edges[0]) == "sent_fraction == 1"


def test_what_the_file_wants_is_asked_exactly_and_what_is_beyond_the_grid_too():
    wanted = {"webhook.outage": ">= 90s", "all.outage": ">= 3m", "webhook.latency": ">= 12"}
    scenario = scenario_of(LADDER, limits=wanted)
    met = {limit.text: ask(scenario, limit) for limit in wanted_limits(scenario.limits)}
    assert met == {
        "webhook.outage >= 90s": (True, "holds"),
        "all.outage >= 3m": (
            False,
            "`sent_fraction == 1` breaks with 3 of 3 seeds: it is 90.12% with the first of them",
        ),
        "webhook.latency >= 12": (True, "holds"),
    }


@pytest.mark.thorough
def test_a_search_asks_what_the_file_wants_of_what_it_puts_on():
    wanted = {"webhook.outage": ">= 90s", "all.outage": ">= 3m", "webhook.latency": ">= 12"}
    found = simulation.limits(scenario_of(LADDER, limits=wanted), ["outage"])
    assert found.met == {"webhook.outage >= 90s": True, "all.outage >= 3m": False}
    assert found.not_asked == ["webhook.latency >= 12"]


def test_a_limit_of_what_is_not_there_or_in_another_unit_is_refused_with_its_place():
    text = yaml.safe_dump({"duration": "1m", "workload": LADDER["workload"]})
    wrong = {"webhook.outage": ">= 90", "sms.outage": ">= 1m", "all.nodes": ">= 10%", "webhook.load": "<= 2"}
    with pytest.raises(ConfigurationError) as refused:
        simulation.parse(text + yaml.safe_dump({"limits": wrong}))
    assert sorted(problem.partition(": ")[2].partition(",")[0] for problem in refused.value.problems) == [
        "limits.all.nodes: wanted how many may be lost",
        "limits.sms.outage: wanted a place (webhook",
        "limits.webhook.load: wanted a factor of at least 1 such as >= 1.5",
        "limits.webhook.outage: wanted a duration such as >= 2m",
    ]


def test_a_limit_that_cannot_be_put_on_does_not_hold():
    scenario = scenario_of(LADDER, limits={"all.nodes": ">= 1"})
    (wanted,) = wanted_limits(scenario.limits)
    assert ask(scenario, wanted) == (False, "it cannot be asked, nodes: there is one process")


def test_what_is_interrupted_says_what_the_first_seed_has_shown():
    search = Search(ladder_outage(), 1)
    steps = search.steps()
    for probes in itertools.islice(steps, 2):
        for amount, seed in probes:
            search.add((amount, seed), (amount < 40,))
    assert (search.edge.holds_to, search.edge.breaks_at, search.edge.is_complete) == (35.1, 64.9, False)


def test_at_the_shell_an_interrupt_before_the_search_is_a_document_too(tmp_path, monkeypatch):
    path = tmp_path / "ladder.yaml"
    path.write_text(yaml.safe_dump({key: LADDER[key] for key in ("duration", "workload", "channels", "expect")}))

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("simulation.experiments.limits.limits.limits", interrupt)
    done = CliRunner().invoke(app, ["limits", str(path), "--json"])
    assert (done.exit_code, json.loads(done.stdout)) == (130, {"limits": [], "complete": False})
    done = CliRunner().invoke(app, ["limits", str(path), "--for", "10s"])
    assert (done.exit_code, done.stderr) == (
        2,
        "--for: wanted --map, too: --for is how long the trigger of a map lasts\n",
    )
