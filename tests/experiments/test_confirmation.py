"""The confirmation as a whole: how often what it says is wrong, over all that it tries."""

import math
import random
from dataclasses import replace
from types import SimpleNamespace

import pytest
from effort import sliced
from scipy.stats import binom

from simulation.experiments.tuning.goal import Goal, Objective
from simulation.experiments.tuning.trial import Trial
from simulation.experiments.tuning.tune import REJECTED_MAX, compared, confirm, error_at, judge
from simulation.running.executors import RunMetrics
from simulation.running.sequential_test import Decision, plan
from simulation.scenario import Expectation
from simulation.scenario.space import Setting

STATED = 0.9


class Coins:
    """Stands in for runs: whether all expectations hold is tossed, with each trial's own probability."""

    races = True
    """Whether no more runs are done once it is clear what they would show."""

    def __init__(self, seed, probabilities, common):
        self.rng = random.Random(seed)
        self.probabilities = probabilities
        self.common = common
        self.draws = []
        self.ahead = 0

    def toss(self, trial, place):
        if not self.common:
            return self.rng.random() < self.probabilities[trial.number]
        while len(self.draws) <= place:
            self.draws.append(self.rng.random())
        return self.draws[place] < self.probabilities[trial.number]

    def outcome(self, trial, place):
        return run(self.toss(trial, place), trial.number)

    def freshly(self, wanted, is_clear=lambda run: False):
        for trial, count in wanted:
            for place in range(len(trial.fresh), count):
                trial.fresh.append(self.outcome(trial, place))
                if is_clear(trial.fresh[-1]) and self.races:
                    break

    def search(self, wanted):
        for trial, count in wanted:
            trial.add([run(True, trial.number)] * (count - len(trial.searched)))


def run(holds, cost):
    return RunMetrics({"sent": float(holds), "requests": float(cost), "attempts": -float(cost)}, "")


def searched(count, objectives=("requests",)):
    """Return a search in which each trial costs more than the one before, and held in its only run."""
    goal = Goal(
        tuple(map(Objective, objectives)), (Expectation.parse("sent >= 1"),), STATED, confidence=0.95, replicates=1
    )
    baseline = Trial(0, Setting((), ""), None, goal, in_space=False)
    trials = [baseline, *(Trial(number, Setting((), ""), None, goal, baseline.reference) for number in range(1, count))]
    for trial in trials:
        trial.add([run(True, trial.number)])
    alive = [trial for trial in trials if trial.in_space]
    return SimpleNamespace(
        goal=goal, trials=trials, alive=alive, baseline=baseline, finish=lambda trials, bench: None
    )  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize("common", sliced([False, True], 4))
@pytest.mark.parametrize("objectives", [("requests",), ("requests", "attempts")])
def test_of_many_that_are_just_below_the_probability_hardly_any_is_confirmed(common, objectives):
    tries, confirmed = 300, 0
    for seed in range(tries):
        search = searched(9, objectives)
        bench = Coins(seed, [STATED - 0.002] * 9, common)
        confirmed += bool(confirm(search, bench))
    # The whole of it may err in 5% of the cases, however many it tries and however much their seeds are the same.
    assert confirmed <= binom.ppf(0.999, tries, 0.05)


def test_the_cheapest_that_reaches_the_probability_is_found_behind_some_that_do_not():
    found = 0
    for seed in range(50):
        search = searched(8)
        bench = Coins(seed, [0.3, 0.5, 0.7, 0.6, 0.995, 1.0, 1.0, 1.0], common=True)
        (trial,) = confirm(search, bench)
        assert trial.number in (4, 5)
        assert trial.decision is Decision.CONFIRMED
        assert [each.decision for each in search.trials[1:4]] == [Decision.REJECTED] * 3
        assert all(not each.fresh for each in search.trials[trial.number + 1 :])
        assert search.baseline.decision is Decision.REJECTED
        found += trial.number == 4
        beaten = compared(search, [trial], bench)
        assert beaten[0] is search.baseline
        assert {each.number for each in beaten[1:4]} <= {1, 2, 3, 4}
        assert [each.number for each in beaten[4:]] == [number for number in (5, 6, 7) if number > trial.number]
    assert found >= 45


def test_of_several_objectives_all_that_none_is_better_than_are_confirmed():
    # What costs more requests has fewer attempts: none is better than another.
    search = searched(6, ("requests", "attempts"))
    confirmed = confirm(search, Coins(1, [0.0, 1.0, 0.2, 1.0, 1.0, 0.2], common=False))
    assert [trial.number for trial in confirmed] == [1, 3, 4]


@pytest.mark.parametrize("expect", [True, False])
def test_one_whose_objective_is_never_in_a_fresh_run_is_not_confirmed(expect):
    search = searched(4, ("requests",))
    if not expect:
        goal = Goal(search.goal.objectives, (), STATED, confidence=0.95, replicates=30)
        search.goal = goal
        for trial in search.trials:
            trial.goal = goal

    class Never(Coins):
        def toss(self, trial, place):
            return True

        def outcome(self, trial, place):
            return run(True, math.inf if (trial.number, place) == (1, 20) else trial.number)

    (found,) = confirm(search, Never(1, [1.0] * 4, common=False))
    assert search.trials[1].decision is Decision.REJECTED
    assert found is search.trials[2]


@pytest.mark.parametrize("objectives", [("requests",), ("requests", "attempts")])
def test_all_places_together_may_err_as_often_as_the_whole(objectives):
    goal = searched(2, objectives).goal
    errors = [error_at(place, goal) for place in range(1, 20_001)]
    assert 0.0499 < math.fsum(errors) < 1 - goal.confidence
    assert errors == sorted(errors, reverse=True)


def test_it_stops_after_ten():
    search = searched(30)
    assert confirm(search, Coins(1, [0.1] * 30, common=False)) == []
    assert [trial.number for trial in search.alive if trial.fresh] == list(range(1, REJECTED_MAX + 1))


def test_one_that_falls_short_of_a_share_of_runs_is_hardly_ever_confirmed_however_well_the_rest_holds():
    of_all, in_a_share = Expectation.parse("requests >= 0"), replace(Expectation.parse("sent >= 1"), share=0.8)
    confirmed = {0.75: 0, 0.97: 0}
    for probability in confirmed:
        for seed in range(100):
            found = searched(2)
            goal = replace(found.goal, expectations=(of_all, in_a_share))
            assert [part.probability for part in goal.parts] == [STATED, 0.8]
            trial = Trial(1, Setting((), ""), None, goal)
            judge(trial, Coins(seed, [0, probability], common=False), 0.05)
            confirmed[probability] += trial.decision is Decision.CONFIRMED
            if trial.decision is Decision.CONFIRMED:
                assert len(trial.fresh) >= plan(STATED, 0.05)[0]  # as many as the rest takes
    assert confirmed[0.75] <= 8
    assert confirmed[0.97] >= 80


@pytest.mark.parametrize("probability", [0.5, 0.85, 0.9, 0.95, 0.99, 1.0])
def test_runs_that_are_not_done_would_have_changed_no_decision(probability):
    counts = {True: 0, False: 0}
    for seed in range(40):
        decisions = {}
        for races in (True, False):
            trial = Trial(1, Setting((), ""), None, searched(2).goal)
            bench = Coins(seed, [0, probability], common=True)
            bench.races = races
            judge(trial, bench, 0.05)
            decisions[races] = trial.decision
            counts[races] += len(trial.fresh)
        assert decisions[True] is decisions[False]
    assert counts[True] < counts[False]


class AsManyRequests(Coins):
    """With fresh seeds each setting makes as many requests."""

    def outcome(self, trial, place):
        return RunMetrics({"sent": 1.0, "requests": 5.0, "attempts": -float(trial.number)}, "")


def test_what_another_is_better_than_in_the_fresh_runs_is_not_of_the_pareto_set():
    search = searched(4, ("requests", "attempts"))
    (found,) = confirm(search, AsManyRequests(1, [1.0] * 4, common=False))
    assert found.number == 3
    assert [trial.decision for trial in search.trials[1:]] == [Decision.CONFIRMED] * 3


class Noisy(Coins):
    """All expectations hold; trial 1 costs in turn more and less than the file's own, and `less` besides."""

    def __init__(self, less):
        super().__init__(1, {}, common=True)
        self.less = less

    def outcome(self, trial, place):
        return run(True, 100 + place + trial.number * ((-1) ** place * 3 - self.less))


@pytest.mark.parametrize(("less", "number"), [(0.2, 0), (5, 1)])
def test_the_files_own_settings_stay_where_the_best_gains_no_more_than_chance(less, number):
    search = searched(2)
    search.baseline.in_space = True
    (found,) = confirm(search, Noisy(less))
    assert found.number == number
    search.baseline.in_space = False
    assert [each.number for each in confirm(search, Noisy(less))] == [1]
