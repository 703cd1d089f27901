"""`simulation.tune`: the cheapest settings that meet the expectations are found, and all that is said of them is so."""

import json
import math
import re
import statistics

import pandas as pd
import pytest
from scenario_tables import written

import simulation
from actors.errors import ConfigurationError
from simulation.experiments.tuning import tune as module
from simulation.experiments.tuning.report import origin, report
from simulation.experiments.tuning.search import Points
from simulation.results.progress import Interrupted
from simulation.scenario import load

ATTEMPTS = "channels.email.retry.max_attempts"
DELAY = "channels.email.retry.initial_delay"

DETERMINISTIC = """
name: deterministic
seed: 3
duration: 30s
workload:
  - {channel: email, arrivals: {constant: 1/s}}
channels:
  email:
    retry: {backoff: constant, initial_delay: 5s, max_attempts: 2}
    circuit_breaker: {enabled: false}
faults:
  - {channel: email, at: 0s, for: 12s, outage: true}
expect:
  - dead_lettered == 0
"""

RANDOM = """
name: random
seed: 3
duration: 20s
workload:
  - {channel: email, arrivals: {poisson: 4/s}}
channels:
  email:
    retry: {max_attempts: 2, initial_delay: 1s}
    circuit_breaker: {enabled: false}
    provider: {latency: {exponential: {mean: 100ms}}, failure_rate: 30%}
expect:
  - dead_lettered <= 2
  - delivery_time_s.p95 <= 40
sweep:
  channels.email.retry.max_attempts: [2, 4, 6]
"""
QUICK = {"probability": 0.8, "replicates": 6}
"""Confirmed after 16 runs, where the first is."""


deterministic = written("deterministic.yaml", DETERMINISTIC)


random = written("random.yaml", RANDOM)


def test_the_fewest_attempts_that_outlast_an_outage(deterministic):
    # What arrives at 0 s is tried at 0, 5, 10 and, after the outage of 12 s, at 15 s: four attempts, and more are never
    # used. Fewer make fewer requests, and lose some.
    tuning = simulation.tune(deterministic, {ATTEMPTS: "1..8"}, **QUICK)
    assert tuning.best.setting.values == ((ATTEMPTS, "4"),)
    assert tuning.exhaustive
    assert tuning.baseline.setting.values == ()
    assert [margin.document for margin in tuning.margins(tuning.best)] == [
        {"expectation": "dead_lettered == 0", "held": 16, "runs": 16, "worst": 0.0, "usual": 0.0, "median": 0.0,
         "spare": 0.0, "relative": None, "spare_at_worst": 0.0, "never": 0}
    ]  # fmt: skip
    # 30 arrive. Those of the first 2 s are tried four times, of the next 5 s three times, and of the next 5 s twice.
    assert tuning.document["found"][0]["figures"] == {"requests": 30 + 2 * 3 + 5 * 2 + 5}
    (objective,) = tuning.goal.objectives
    apart = tuning.difference(tuning.baseline, tuning.best, objective)
    assert (apart.mean, apart.half_width) == (-(2 * 2 + 5), 0.0)  # with two attempts the others are lost


@pytest.mark.thorough
def test_of_settings_that_cost_the_same_the_least_change_is_found_and_the_range_said(deterministic):
    tuning = simulation.tune(deterministic, {ATTEMPTS: "1..8"}, **QUICK)
    assert f"{ATTEMPTS}: 4 to 8 do the same; this is the least change." in report(tuning).splitlines()
    own = simulation.tune(deterministic, {ATTEMPTS: "1..8"}, sets=[f"{ATTEMPTS}=7"], **QUICK)
    assert own.best is own.baseline
    assert f"{ATTEMPTS}: 4 to 8 do the same; this is the least change." in report(own).splitlines()


def test_what_is_nearer_by_chance_alone_is_not_the_nearest(random):
    # With either number of attempts no delivery is within a nanosecond, and the mean differs by chance.
    sets = ["expect=[delivery_time_s.p50 <= 1ms]", "channels.email.provider.failure_rate=0"]
    tuning = simulation.tune(random, {"channels.email.timeout": ["9s", "10s", "11s"]}, sets=sets, **QUICK)
    assert tuning.nearest is tuning.baseline
    text = report(tuning)
    assert "No other comes nearer by more than chance than the file's own:" in text
    assert "Nothing else was turned." in text.splitlines()


def test_a_setting_that_another_takes_the_effect_of_is_not_the_nearest(random):
    sets = ["expect=[delivery_time_s.p50 <= 1ms]"]
    vary = {"channels.email.retry.initial_delay": ["1s", "3m"], "channels.email.retry.max_delay": ["30s"]}
    tuning = simulation.tune(random, vary, sets=sets, **QUICK)
    contradicting = [trial for trial in tuning.trials if trial.change.contradicts]
    assert [dict(trial.setting.values)["channels.email.retry.initial_delay"] for trial in contradicting] == ["3m"]
    assert tuning.nearest not in contradicting


def test_all_runs_of_the_search_has_only_the_best(deterministic):
    tuning = simulation.tune(deterministic, {ATTEMPTS: "1..8"}, probability=0.8, replicates=12)
    runs = {trial.label: len(trial.searched) for trial in tuning.trials}
    assert runs.pop("max_attempts=4") == 12
    # Those with fewer attempts fail at once, and those with more make as many requests: of either it shows a few.
    assert sorted(runs.values()) == [2, 5, 5, 5, 5, 5, 5]
    assert runs["the file's own"] == 5
    assert not tuning.baseline.fresh


@pytest.mark.thorough
def test_a_delay_may_do_what_attempts_do(deterministic):
    # With two attempts the second one has to come 12 s after the first, and people are to wait no longer than 12.5 s.
    tuning = simulation.tune(
        deterministic,
        {DELAY: {"from": "1s", "to": "20s"}, ATTEMPTS: [1, 2, 3]},
        sets=["expect=[dead_lettered == 0, sent_time_s.max <= 12.5]"],
        trials=40,
        **QUICK,
    )
    values = dict(tuning.best.setting.values)
    assert values[ATTEMPTS] in ("2", "3")
    delay = float(values[DELAY].removesuffix("s"))
    assert 12 <= delay <= 12.5
    # The one attempt more of each of the first 12 is the least that an outage takes.
    assert tuning.document["found"][0]["figures"] == {"requests": 42}
    assert not tuning.exhaustive


def test_where_nothing_can_meet_them_the_nearest_is_said(deterministic):
    tuning = simulation.tune(deterministic, {ATTEMPTS: "1..3"}, **QUICK)
    assert tuning.found == []
    assert tuning.best is None
    assert tuning.nearest.setting.values == ((ATTEMPTS, "3"),)
    (margin,) = tuning.margins(tuning.nearest)
    assert (margin.held, margin.runs, margin.median, margin.spare_at_worst) == (0, 6, 2.0, -2.0)
    assert tuning.document["met"] is False
    assert tuning.document["nearest"]["setting"] == {ATTEMPTS: 3}


@pytest.mark.thorough
def test_what_is_found_is_what_the_run_command_shows_with_seeds_that_the_search_has_not_seen(random):
    tuning = simulation.tune(random, {ATTEMPTS: "1..8"}, minimize=["attempts"], **QUICK)
    best = tuning.best
    assert len(best.searched) == 6
    first = 3 + 6
    sets = [f"{ATTEMPTS}={dict(best.setting.values)[ATTEMPTS]}"]
    seen = [simulation.run(random, seed=seed, sets=sets) for seed in range(first, first + len(best.fresh))]
    assert [run.digest for run in best.fresh] == [result.summary["digest"] for result in seen]
    assert tuning.held(best.fresh) == sum(result.holds for result in seen)
    figures = tuning.document["found"][0]["figures"]
    assert figures == {"attempts": pytest.approx(statistics.mean(result.summary["attempts"] for result in seen))}
    runs = tuning.runs
    assert set(runs.loc[runs["fresh"], "seed"]).isdisjoint(runs.loc[~runs["fresh"], "seed"])
    own = [simulation.run(random, seed=seed) for seed in range(3, 3 + len(tuning.baseline.searched))]
    assert [run.digest for run in tuning.baseline.searched] == [result.summary["digest"] for result in own]


@pytest.mark.thorough
def test_nothing_cheaper_would_have_done(random):
    tuning = simulation.tune(random, {ATTEMPTS: "1..6", "channels.email.retry.jitter": "none,full"}, **QUICK)
    best = tuning.best
    for trial in tuning.trials[1:]:
        if trial.costs < best.costs:
            sets = [f"{path}={value}" for path, value in trial.setting.values]
            held = [simulation.run(random, seed=seed, sets=sets).holds for seed in range(100, 120)]
            assert sum(held) < 19, "it costs less, and holds in 95% of other runs"


def test_the_values_of_two_settings_differ_by_their_difference(random):
    tuning = simulation.tune(random, {ATTEMPTS: "1..8"}, **QUICK)
    (objective,) = tuning.goal.objectives
    best = tuning.value(tuning.best, objective)
    fresh = [run.figures["requests"] for run in tuning.best.fresh]
    assert best == pytest.approx(sum(fresh) / len(fresh))
    others = [trial for trial in tuning.trials if trial is not tuning.best]
    assert others
    for trial in others:
        apart = tuning.difference(trial, tuning.best, objective)
        assert tuning.value(trial, objective) - best == pytest.approx(apart.mean)
    values = [tuning.value(trial, objective) for trial in tuning.trials]
    assert tuning.table["requests"].tolist() == values
    # The file's own with the same seeds, which the search has not done all of, cost about as much.
    own = [simulation.run(random, seed=tuning.first_fresh_seed + place).summary["requests"] for place in range(4)]
    assert tuning.value(tuning.baseline, objective) == pytest.approx(sum(own) / len(own), rel=0.1)


def test_the_file_s_own_settings_are_found_where_they_are_best(random):
    tuning = simulation.tune(random, {ATTEMPTS: "5..8"}, sets=[f"{ATTEMPTS}=5"], **QUICK)
    assert tuning.best is tuning.baseline
    assert len(tuning.trials) == 4  # 5 is not run twice
    same = simulation.tune(random, {"drain": "1h,60m"}, sets=["expect=[sent >= 1]"], **QUICK)
    assert len(same.trials) == 1  # and neither are equal settings that are written in another way


def test_what_is_not_searched_is_not_found_though_it_would_be_cheaper(random):
    tuning = simulation.tune(random, {ATTEMPTS: "7,8"}, sets=[f"{ATTEMPTS}=6"], **QUICK)
    assert not tuning.baseline.in_space
    assert tuning.best.setting.values == ((ATTEMPTS, "7"),)
    assert tuning.beaten[0] is tuning.baseline


def test_several_objectives_give_the_settings_that_none_is_better_than(deterministic):
    delays = ["1s", "2s", "5s", "13s"]
    tuning = simulation.tune(
        deterministic, {DELAY: delays, ATTEMPTS: [13]}, minimize=["requests", "sent_time_s.max"], **QUICK
    )
    every = {}
    for delay in delays:
        summary = simulation.run(deterministic, sets=[f"{DELAY}={delay}", f"{ATTEMPTS}=13"]).summary
        every[delay] = (summary["requests"], summary["sent_time_s"]["max"])
    front = {
        delay for delay, pair in every.items()
        if not any(other != pair and other[0] <= pair[0] and other[1] <= pair[1] for other in every.values())
    }  # fmt: skip
    assert 1 < len(front) < len(delays)
    assert {dict(trial.setting.values)[DELAY] for trial in tuning.found} == front
    for entry in tuning.document["found"]:
        assert tuple(entry["figures"].values()) == every[entry["setting"][DELAY]]


@pytest.mark.thorough
def test_a_setting_that_is_never_in_one_run_is_not_the_fastest(random, tmp_path):
    # One attempt loses 30%, two 9%, three 3%: p90 is never with one, in some runs with two, and in hardly any with
    # three. Where it is a time, it is the shorter the fewer attempts there are.
    arguments = {"vary": {ATTEMPTS: "1..4"}, "sets": ["expect=[]"], "replicates": 20, "out": tmp_path / "out"}
    tuning = simulation.tune(random, minimize=["delivery_time_s.p90"], **arguments)
    one, two, *others = sorted(tuning.trials, key=lambda trial: int(tuning.values(trial)[ATTEMPTS]))
    (objective,) = tuning.goal.objectives
    assert tuning.never(one, objective) == len(tuning.runs_of(one))
    assert 0 < tuning.never(two, objective) < 20
    assert (one.given_up, two.given_up, two.costs) == (True, True, None)
    assert tuning.best in others
    assert tuning.never(tuning.best, objective) == 0
    shortest = [run.figures["delivery_time_s.p90"] for run in two.fresh or two.searched]
    assert min(shortest) < tuning.value(tuning.best, objective) < tuning.value(two, objective) == math.inf
    # Nor where it is to be large.
    slowest = simulation.tune(random, maximize=["delivery_time_s.p90"], **arguments)
    assert slowest.never(slowest.best, slowest.goal.objectives[0]) == 0
    # The sampler is never told of anything infinite, and of a bound that is missed where an objective is never.
    assert json.loads((tmp_path / "out" / "tuning.json").read_text())["found"][0]["never"] == {"delivery_time_s.p90": 0}
    assert math.inf in pd.read_parquet(tmp_path / "out" / "trials.parquet")["delivery_time_s.p90"].tolist()


def test_where_it_is_never_with_each_setting_none_is_found(random):
    arguments = {"sets": ["expect=[]"], "replicates": 4, "minimize": ["delivery_time_s.p99_9"]}
    tuning = simulation.tune(random, {ATTEMPTS: "1,2"}, **arguments)
    assert tuning.found == []
    lines = report(tuning).splitlines()
    assert lines[1] == "No setting has the metric delivery_time_s.p99_9 in every run."
    assert re.fullmatch(r"It is never in (\d) of \1 runs of the nearest one:", lines[2])
    json.dumps(tuning.document, allow_nan=False)


def test_the_sampler_is_told_of_no_infinite_cost(random, monkeypatch):
    told, propose = [], Points.propose

    def listening(self, count, learnt, *others):
        told.append(learnt)
        return propose(self, count, learnt, *others)

    monkeypatch.setattr(Points, "propose", listening)
    delays = {DELAY: {"from": "1s", "to": "20s"}, ATTEMPTS: "1..4"}
    arguments = {"sets": ["expect=[]", "duration=5s"], "replicates": 2, "trials": 16}
    simulation.tune(random, delays, minimize=["delivery_time_s.p90", "requests"], **arguments)
    learnt = [one for each in told for one in each.values()]
    assert all(map(math.isfinite, [cost for one in learnt for cost in one.costs]))
    assert all(len(one.costs) == 2 for one in learnt)
    assert {one.shortfall > 0 for one in told[-1].values()} == {True, False}


def test_what_is_to_be_large_is(deterministic):
    tuning = simulation.tune(deterministic, {ATTEMPTS: "1..3"}, maximize=["sent"], sets=["expect=[]"], **QUICK)
    assert tuning.best.setting.values == ((ATTEMPTS, "3"),)
    assert tuning.document["found"][0]["figures"] == {"sent": 28}
    assert tuning.document["expectations"] == []


def test_without_vary_it_is_the_sweep_of_the_file(random):
    tuning = simulation.tune(random, **QUICK)
    assert [dict(trial.setting.values).get(ATTEMPTS) for trial in tuning.trials] == [None, "4", "6"]
    assert tuning.best.setting.values in (((ATTEMPTS, "4"),), ((ATTEMPTS, "6"),))


def test_combinations_that_a_scenario_cannot_have_are_left_out(random):
    # At most 10 at once, and 20 to begin with: one alone is not valid beside the defaults, and both are not.
    limit = "channels.email.concurrency_limit"
    tuning = simulation.tune(
        random, {f"{limit}.maximum": "10,30", f"{limit}.initial": "1,20"}, sets=["expect=[sent >= 1]"], **QUICK
    )
    assert tuning.invalid == 1
    assert [trial.setting.values for trial in tuning.trials[1:]] == [
        ((f"{limit}.maximum", maximum), (f"{limit}.initial", initial))
        for maximum, initial in (("10", "1"), ("30", "1"), ("30", "20"))
    ]


@pytest.mark.thorough
def test_an_interrupted_search_has_what_it_had_come_to_and_goes_on_from_there(random, tmp_path, monkeypatch):
    from simulation.running import executors

    done, do = [], executors.do

    def interrupted(task):
        if len(done) == 30:
            raise KeyboardInterrupt
        done.append(task)
        return do(task)

    arguments = {"vary": {ATTEMPTS: "1..8"}, "out": tmp_path / "out", **QUICK}
    monkeypatch.setattr(executors, "do", interrupted)
    with pytest.raises(Interrupted) as stopped:
        simulation.tune(random, **arguments)
    so_far = stopped.value.so_far
    assert not so_far.is_finished
    assert so_far.found == []
    assert not so_far.nearest.given_up
    assert not (tmp_path / "out" / "tuned.yaml").exists()
    done.clear()
    monkeypatch.setattr(executors, "do", lambda task: done.append(task) or do(task))
    gone_on = simulation.tune(random, **arguments)
    assert len(done) == gone_on.document["runs"] - 30
    assert gone_on.document == simulation.tune(random, vary={ATTEMPTS: "1..8"}, **QUICK).document
    done.clear()
    simulation.tune(random, **arguments)
    assert done == []  # all of it is there


def test_progress_ends_where_it_says(random):
    reported = []
    tuning = simulation.tune(
        random, {ATTEMPTS: "1..8"}, progress=lambda over, of, cell=None: reported.append((over, of, cell)), **QUICK
    )
    assert reported[0][0] == 0
    assert reported[-1] == (tuning.document["runs"], tuning.document["runs"], None)
    assert [over for over, _, _ in reported] == sorted(over for over, _, _ in reported)
    assert all(over <= of for over, of, _ in reported)
    # Of the settings it has been shown those that hold, with what is searched by.
    cells = {cell.label: cell.figures for _, _, cell in reported if cell is not None}
    holding = [trial for trial in tuning.trials if len(trial.searched) == 6 and not trial.given_up]
    assert cells == {trial.label: {"requests": trial.costs[0]} for trial in holding}


def test_the_files_hold_it_all_and_the_scenario_that_was_found(random, tmp_path):
    out = tmp_path / "out"
    tuning = simulation.tune(random, {ATTEMPTS: "1..8"}, sets=["drain=2m"], seed=50, out=out, **QUICK)
    text = (out / "tuned.yaml").read_text()
    best = dict(tuning.best.setting.values)[ATTEMPTS]
    assert text.startswith(
        f"# random.yaml with settings that `retrylab tune` found:\n# {ATTEMPTS}: {best}, was 2\n"
        "# and changed with --set drain=2m\n# confirmed in 16 of 16 runs"
    )
    tuned = load(out / "tuned.yaml")
    assert (tuned.channels.email.retry.max_attempts, tuned.drain, tuned.seed) == (int(best), 120, 50)
    fresh = simulation.run(out / "tuned.yaml", seed=56)
    assert fresh.summary["digest"] == tuning.best.fresh[0].digest
    trials = pd.read_parquet(out / "trials.parquet")
    assert trials["trial"].tolist() == list(range(8))  # 2 is the file's own
    assert trials.loc[trials["status"] == "confirmed", ATTEMPTS].tolist() == [int(best)]
    assert len(pd.read_parquet(out / "runs.parquet")) == tuning.document["runs"]
    # What an earlier search has left there is not taken for what this one has found.
    simulation.tune(random, {ATTEMPTS: "1,2"}, out=out, **QUICK)
    assert not (out / "tuned.yaml").exists()


@pytest.mark.parametrize(
    ("arguments", "problems"),
    [
        ({"vary": {"channels.email.retry.max_atempts": "1..3"}},
         ["--vary channels.email.retry.max_atempts: unknown key; did you mean max_attempts?"]),
        ({"vary": {ATTEMPTS: "0,3", DELAY: "1..5"}},
         [f"--vary {ATTEMPTS}: wanted a whole number of at least 1, or unlimited, got 0",
          f"--vary {DELAY}: wanted a duration such as 80ms, 10s, 5m or 2h "
          "(1 is 1ms if milliseconds were meant, 1s if seconds), got 1",
          f"--vary {DELAY}: wanted a duration such as 80ms, 10s, 5m or 2h "
          "(5 is 5ms if milliseconds were meant, 5s if seconds), got 5"]),
        ({"vary": {"seed": "1,2"}}, ["--vary seed: wanted a setting of the run, got seed"]),
        ({"minimize": ["requets"], "maximize": ["dlq"]},
         ["--minimize requets: wanted a metric of the summary, got requets; did you mean requests?",
          "--maximize dlq: wanted a single metric, such as dlq.final, got dlq"]),
        ({"minimize": ["sent"], "maximize": ["sent"]},
         ["--maximize sent: wanted a metric either small or large, got both"]),
        ({"sets": ["expect=[]"]},
         ["random: wanted expectations to be met, such as --set 'expect=[dead_lettered <= 10]', got none"]),
        ({"sets": ["expect=[sendt >= 1]"]},
         ["--set expect: 0: wanted a metric of the summary, got sendt; did you mean sent?"]),
    ],
)  # fmt: skip
def test_problems_in_plain_words(random, arguments, problems):
    with pytest.raises(ConfigurationError) as refused:
        simulation.tune(random, **arguments)
    assert refused.value.problems == problems


def test_without_anything_to_vary_it_says_how(deterministic):
    with pytest.raises(ConfigurationError) as refused:
        simulation.tune(deterministic)
    assert refused.value.problems == [
        f"{deterministic}: wanted settings to search, as in --vary channels.email.retry.max_attempts=1..10 or in the "
        "file's sweep, got none"
    ]


@pytest.mark.parametrize(
    "wrong", [{"trials": 0}, {"replicates": 0}, {"workers": 0}, {"probability": 1.0}, {"confidence": 0.2}]
)
def test_numbers_out_of_their_range_are_refused(random, wrong):
    with pytest.raises(ValueError, match=r"^wanted "):
        module.tune(random, {ATTEMPTS: "1,2"}, **wrong)


# ── expectations of a share of runs ─────────────────────────────────────────────────────────────────────────────────

FATES = """
name: fates
seed: 3
duration: 1s
workload: [{channel: email, arrivals: {times: [0s]}}]
channels:
  email:
    retry: {max_attempts: 5, initial_delay: 1s}
    circuit_breaker: {enabled: false}
    provider: {failure_rate: 10%}
expect:
  - {that: sent == 1, in: 95% of runs}
"""


fates = written("fates.yaml", FATES)


@pytest.mark.thorough
def test_the_cheapest_setting_that_meets_a_share_of_runs_is_found_and_no_cheaper_one(fates):
    # One attempt is sent in 90% of runs, two in 99%.
    tuning = simulation.tune(fates, {ATTEMPTS: "1..3"}, probability=0.5, replicates=10, sets=[f"{ATTEMPTS}=1"])
    assert tuning.best.setting.values == ((ATTEMPTS, "2"),)
    (margin,) = tuning.margins(tuning.best)
    assert margin.held / margin.runs >= 0.95
    assert margin.usual == 1.0  # in as many runs as wanted, and not in 50%
    (part,) = tuning.goal.parts
    assert part.probability == 0.95
    text = report(tuning)
    assert "the smallest where all expectations hold in their share of runs:" in text
    evidence = f"confirmed in {margin.held} of {margin.runs} runs with fresh seeds (at least 95%, 95% confidence)"
    assert evidence in text
    assert evidence in origin(tuning, tuning.best)
    assert tuning.document["expectations"] == ["sent == 1 in 95% of runs"]


def test_one_that_fails_its_share_is_not_chosen_where_all_else_holds(fates):
    expect = "expect=[{that: sent == 1, in: 80% of runs}, accepted == 1]"
    sets = [expect, "channels.email.provider.failure_rate=40%"]
    tuning = simulation.tune(fates, {ATTEMPTS: "1"}, replicates=5, probability=0.5, sets=sets)
    assert not tuning.found
    assert "meet the expectations in 50% of runs, or their own share of them" in report(tuning)
    tuning = simulation.tune(fates, {ATTEMPTS: "5"}, replicates=5, probability=0.5, sets=sets)
    assert "accepted == 1: confirmed in" in report(tuning)
    assert "sent == 1: confirmed in" in report(tuning)


def test_what_is_not_confirmed_says_where_it_ended_and_what_it_takes(fates):
    sets = ["channels.email.provider.failure_rate=5%"]
    tuning = simulation.tune(fates, {ATTEMPTS: "1"}, replicates=3, seed=20, sets=sets)
    assert (tuning.found, tuning.nearest.decision) == ([], "rejected")
    fresh = tuning.nearest.fresh
    failed = [number for number, run in enumerate(fresh, start=1) if not tuning.goal.holds(run)]
    assert len(failed) == 3
    lines = report(tuning).splitlines()
    end = lines.index(f"all expectations held in {len(fresh) - 3} of {len(fresh)} runs with fresh seeds")
    assert lines[end + 1 : end + 3] == [
        "To confirm 95% takes 66 runs without a failure, 126 with one or 174 with two;",
        f"it was given up at the third one, in run {failed[-1]} of 174.",
    ]


def test_a_share_that_takes_too_many_runs_is_refused(fates):
    with pytest.raises(ConfigurationError, match=r"wanted expectations of at most 99.9% of runs in a search, got"):
        simulation.tune(fates, {ATTEMPTS: "1"}, sets=["expect=[{that: sent == 1, in: 99.95% of runs}]"])


def test_what_is_expected_of_a_part_of_the_run_is_searched_for_too(random):
    windows = "expect=[{from: 5s, to: 10s, that: [dead_lettered <= 2]}, {that: accepted > 0, in: 80% of runs}]"
    sets = [windows, "duration=12s"]
    tuning = simulation.tune(random, {ATTEMPTS: "1,6"}, minimize=["windows(5s,10s).attempts"], sets=sets, **QUICK)
    assert tuning.best.setting.values == ((ATTEMPTS, "6"),)
    text = report(tuning)
    assert text.splitlines()[1].startswith("windows(5s,10s).attempts ")
    assert "dead_lettered <= 2 from 5s to 10s: confirmed in" in text


def test_a_gain_within_the_noise_is_none_and_the_files_own_settings_stay(random):
    sets = ["expect=[]", "channels.email.provider.failure_rate=5%", "channels.email.retry.initial_delay=1s"]
    tuning = simulation.tune(random, {DELAY: "1s,990ms"}, minimize=["delivery_time_s.p50"], sets=sets, replicates=6)
    own = tuning.difference(tuning.trials[1], tuning.baseline, tuning.goal.objectives[0])
    assert not own.excludes_0
    assert tuning.best is tuning.baseline
    text = report(tuning)
    assert "with the file's own settings, on which nothing gains beyond chance\nof what was tried:\n" in text
    assert "the smallest" not in text
    assert "\ncompared with  " in text
