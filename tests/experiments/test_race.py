"""Which runs a trial gets: none that could change nothing, and the same ones however many are done at once."""

from functools import partial

from hypothesis import given, strategies as st

from simulation.experiments.tuning.goal import Goal, Objective
from simulation.experiments.tuning.trial import Bench, Trial
from simulation.running.executors import RunMetrics
from simulation.scenario import Expectation
from simulation.scenario.space import Setting

REPLICATES = 12


class Window:
    """An executor that has some runs under way at once, which end in an order that is drawn."""

    def __init__(self, outcomes, width, pick):
        self.outcomes, self.width, self.pick = outcomes, width, pick
        self.begun = 0

    def run(self, tasks):
        waiting, under_way = enumerate(tasks), []
        while True:
            while len(under_way) < self.width and (one := next(waiting, None)) is not None:
                under_way.append(one)
                self.begun += 1
            if not under_way:
                return
            place, task = under_way.pop(self.pick(len(under_way)))
            held = self.outcomes[task.changes][task.seed]
            yield place, RunMetrics({"sent": float(held), "requests": float(task.seed)}, "")


def on_trial(count):
    goal = Goal((Objective("requests"),), (Expectation.parse("sent >= 1"),), 0.8, 0.95, REPLICATES)
    own = Trial(0, Setting((), ""), None, goal)
    return [own, *(Trial(n, Setting((), f"{n}"), None, goal, own.reference) for n in range(1, count))]


def raced(outcomes, width, pick, *, fresh):
    trials = on_trial(len(outcomes))
    by_label = {trial.setting.label: held for trial, held in zip(trials, outcomes, strict=True)}
    executor = Window(by_label, width, pick)
    bench = Bench(executor, 0, 0 if fresh else REPLICATES, None, None)
    if fresh:
        for trial in trials:
            seen = []
            bench.freshly([(trial, REPLICATES)], lambda run, seen=seen: seen.append(run) or failures(seen) >= 2)
    else:
        bench.search([(trial, REPLICATES) for trial in trials])
    return trials, executor


def failures(runs):
    return sum(run.figures["sent"] < 1 for run in runs)


held = st.lists(st.booleans(), min_size=REPLICATES, max_size=REPLICATES)


@given(st.lists(held, min_size=1, max_size=4), st.integers(1, 7), st.randoms(use_true_random=False), st.booleans())
def test_each_gets_the_runs_up_to_the_one_that_decides_it(outcomes, width, random, fresh):
    trials, _ = raced(outcomes, width, random.randrange, fresh=fresh)
    one_by_one, _ = raced(outcomes, 1, lambda _: 0, fresh=fresh)
    for trial, alone in zip(trials, one_by_one, strict=True):
        assert (trial.searched, trial.fresh, trial.given_up) == (alone.searched, alone.fresh, alone.given_up)
        if fresh:
            assert failures(trial.fresh[:-1]) < 2
        elif trial.is_baseline or not trial.given_up:
            assert len(trial.searched) == REPLICATES
        else:
            before = on_trial(2)[1]
            before.add(trial.searched[:-1])
            assert not before.given_up


@given(st.lists(held, min_size=1, max_size=4))
def test_one_that_is_given_up_would_have_been_after_all_runs(outcomes):
    trials, _ = raced(outcomes, 1, lambda _: 0, fresh=False)
    for trial, of_trial in zip(trials, outcomes, strict=True):
        whole = on_trial(2)[1]
        whole.add([RunMetrics({"sent": float(each), "requests": 0.0}, "") for each in of_trial])
        assert trial.given_up == whole.given_up


def test_what_decides_nothing_any_more_is_not_begun():
    fails, holds = [False] * REPLICATES, [True] * REPLICATES
    _, executor = raced([holds, fails, fails], 1, lambda _: 0, fresh=False)
    assert executor.begun < REPLICATES + 8
    _, executor = raced([fails], 3, partial(min, 0), fresh=True)
    assert executor.begun <= 2 + 3
