"""Settings on trial: what they cost, which are best, and how far they are from the bounds."""

import math

import pytest
from hypothesis import given, strategies as st

from simulation.experiments.tuning.goal import Goal, Objective, distance, margins
from simulation.experiments.tuning.trial import UNCHANGED, Trial, best, nearest, no_worse, ranked
from simulation.running.executors import RunMetrics
from simulation.scenario import Expectation
from simulation.scenario.space import Setting


def goal(*objectives, expect=("sent >= 10",), probability=0.9, replicates=4):
    return Goal(tuple(objectives), tuple(map(Expectation.parse, expect)), probability, 0.95, replicates)


def on_trial(wanted, *of_each):
    """Return a trial for each list of runs, which are dicts of metrics; the first is the file's own."""
    trials = [Trial(0, Setting((), ""), None, wanted)]
    trials += [Trial(n, Setting((), f"{n}"), None, wanted, trials[0].reference) for n in range(1, len(of_each))]
    for trial, runs in zip(trials, of_each, strict=True):
        trial.add([RunMetrics(figures, "") for figures in runs])
    return trials


def test_one_with_few_runs_is_measured_by_the_reference_on_the_seeds_that_both_met():
    own, other = on_trial(
        goal(Objective("requests"), Objective("sent", maximize=True)),
        [{"requests": 10.0 * n, "sent": 10.0} for n in range(4)],
        [{"requests": 1.0, "sent": 12.0}, {"requests": 11.0, "sent": 12.0}],
    )
    assert own.costs == (15.0, -10.0)
    # On the first two seeds the reference has 5 on average, and this one 6: of all four it would be 16.
    assert other.costs == (16.0, -12.0)
    other.add([RunMetrics({"requests": 21.0, "sent": 12.0}, ""), RunMetrics({"requests": 31.0, "sent": 12.0}, "")])
    assert other.costs == (16.0, -12.0)


def test_one_without_the_figure_has_no_cost_and_is_never_best():
    own, lacking = on_trial(
        goal(Objective("delivery_time_s.p99")),
        [{"delivery_time_s.p99": 3.0, "sent": 10.0}],
        [{"delivery_time_s.p99": None, "sent": 10.0}],
    )
    assert lacking.costs is None
    assert best([own, lacking]) == [own]
    assert ranked([own, lacking]) == [own]
    assert no_worse(own.costs, lacking.costs)
    assert not no_worse(lacking.costs, own.costs)


def test_one_that_is_never_in_one_run_of_twenty_is_given_up_and_never_best():
    figure, many = "delivery_time_s.p99", [{"delivery_time_s.p99": 1.0, "sent": 10.0}] * 19
    for maximize in (False, True):
        own, fast = on_trial(
            goal(Objective(figure, maximize), replicates=20),
            [{figure: 3.0, "sent": 10.0}] * 20,
            [*many, {figure: math.inf, "sent": 10.0}],
        )
        assert (fast.given_up, fast.is_never, fast.costs) == (True, True, None)
        assert best([own, fast]) == ranked([own, fast]) == [own]
        assert nearest([own, fast]) is own
        assert 0 == own.shortfall < fast.shortfall


def test_of_equal_costs_the_one_with_more_to_spare_is_best_and_then_the_first():
    trials = on_trial(
        goal(Objective("requests")),
        *([{"requests": 5.0, "sent": sent}] for sent in (11.0, 14.0, 14.0, 12.0)),
    )
    assert best(trials) == [trials[1]]
    assert ranked(trials) == [trials[1], trials[2], trials[3], trials[0]]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_the_pareto_set_is_what_its_definition_says(pairs):
    trials = on_trial(
        goal(Objective("requests"), Objective("sent", maximize=True)),
        *([{"requests": float(one), "sent": float(other)}] for one, other in pairs),
    )
    found = best(trials)
    for trial in trials:
        better = [
            other for other in trials
            if other.costs != trial.costs and no_worse(other.costs, trial.costs)
        ]  # fmt: skip
        equal_before = [other for other in found if other is not trial and other.costs == trial.costs]
        assert (trial in found) == (not better and not equal_before)
    order = ranked(trials)
    assert sorted(trial.number for trial in order) == list(range(len(pairs)))
    assert order[: len(found)] == found
    for place, trial in enumerate(order):  # none comes before one that is better
        assert not any(
            no_worse(other.costs, trial.costs) and other.costs != trial.costs for other in order[place + 1 :]
        )


def test_it_is_rejected_once_it_has_failed_too_often_and_the_nearest_is_the_one_least_off():
    own, near, far, outside = on_trial(
        goal(Objective("requests"), expect=("sent >= 10", "dead_lettered <= 0")),
        [{"requests": 1.0, "sent": 2.0, "dead_lettered": 8.0}],
        [{"requests": 9.0, "sent": 9.0, "dead_lettered": 1.0}],
        [{"requests": 1.0, "sent": 9.0, "dead_lettered": 5.0}],
        [{"requests": 1.0, "sent": 10.0, "dead_lettered": 0.0}],
    )
    outside.in_space = False
    assert [trial.given_up for trial in (own, near, far, outside)] == [True, True, True, False]
    assert nearest([own, near, far, outside]) is near
    assert 0 < near.shortfall < far.shortfall < own.shortfall < 2
    assert near.spare < 0 < outside.spare + 0.01
    near.change = UNCHANGED._replace(others=2)
    less = Trial(4, near.setting, near.scenario, near.goal, change=UNCHANGED._replace(others=1))
    less.add(near.searched)
    assert nearest([own, near, far, outside, less]) is less


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("sent <= 10", 8.0, 2.0), ("sent < 10", 12.0, -2.0), ("sent >= 10", 8.0, -2.0), ("sent > 10", 12.0, 2.0),
        ("sent == 10", 12.0, -2.0), ("sent == 10", 10.0, 0.0), ("sent != 10", 8.0, 2.0),
        ("sent <= 10", None, float("-inf")), ("sent >= 10", None, float("-inf")),
        ("sent <= 10", math.inf, float("-inf")), ("sent >= 10", math.inf, float("-inf")),
        ("sent != 10", math.inf, float("-inf")),
    ],
)  # fmt: skip
def test_the_distance_to_a_bound_is_on_the_side_where_it_holds(text, value, expected):
    assert distance(Expectation.parse(text), value) == expected


def test_margins_have_the_worst_run_and_what_the_stated_share_of_runs_keeps():
    wanted = goal(Objective("requests"), expect=("delivery_time_s.p99 <= 60s", "sent >= 5", "dead_lettered == 0"))
    runs = [
        RunMetrics({"delivery_time_s.p99": float(n), "sent": 5.0 + n, "dead_lettered": 0.0}, "") for n in range(20, 40)
    ]
    runs[7] = RunMetrics({"delivery_time_s.p99": None, "sent": 4.0, "dead_lettered": 1.0}, "")
    times, sent, dead = margins(wanted, runs)
    assert (times.held, times.runs, times.worst, times.spare_at_worst) == (19, 20, None, None)
    # Two of twenty runs may be worse: the one without, and 39.
    assert (times.usual, times.spare, times.relative(times.spare)) == (38.0, 22.0, 22 / 60)
    assert (sent.worst, sent.spare_at_worst, sent.relative(-1.0), sent.held) == (4.0, -1.0, -0.2, 19)
    assert (sent.usual, sent.spare) == (26.0, 21.0)
    assert (dead.worst, dead.spare_at_worst, dead.relative(-1.0), dead.usual, dead.spare) == (1.0, -1.0, None, 0.0, 0.0)


@pytest.mark.parametrize("bound", ["<= 60s", ">= 1s", "!= 5s"])
def test_no_bound_holds_in_a_run_in_which_the_metric_is_never(bound):
    wanted = goal(Objective("requests"), expect=(f"delivery_time_s.p99 {bound}",), probability=0.95)
    runs = [RunMetrics({"delivery_time_s.p99": 20.0}, "")] * 19 + [RunMetrics({"delivery_time_s.p99": math.inf}, "")]
    (times,) = margins(wanted, runs)
    assert [wanted.holds(run) for run in runs] == [True] * 19 + [False]
    assert (times.held, times.never, times.worst, times.spare_at_worst) == (19, 1, math.inf, -math.inf)
    assert times.usual == 20.0
    assert times.document["worst"] is None
    assert times.document["spare_at_worst"] is None
    assert wanted.shortfall(runs[-1]) == 1.0
    assert wanted.spare(runs[-1]) == -1.0
