"""The points of a space: which there are, which are the file's own, and which are proposed."""

import logging
import random
import statistics
import warnings

import pytest

from simulation.experiments.tuning.search import Learnt, Points
from simulation.scenario.space import space

TWO = {"a.b": "1..20", "c.d": {"from": "100ms", "to": "10s", "scale": "log"}}


def value(text):
    return float(text.removesuffix("ms")) / 1000 if text.endswith("ms") else float(text.removesuffix("s"))


def test_all_combinations_of_few_values_in_their_order():
    points = Points(space({"a": "3,1,10", "b": "none,full", "c": "1..2", "d": {"from": "0s", "to": "1s", "steps": 3}}))
    assert points.count == 3 * 2 * 2 * 3
    assert len(set(points.all())) == points.count
    assert points.all()[0] == ("1", "none", "1", "0s")
    assert points.all()[-1] == ("10", "full", "2", "1s")
    assert Points(space(TWO)).count == float("inf")


@pytest.mark.parametrize(
    ("choices", "own", "point"),
    [
        ("5s..60s", "1m", "60s"),
        ("5s..60s", "2m", None),
        ("5s..60s", None, None),
        ("1..8", 3, "3"),
        ("1..8", 9, None),
        ("10/s..100/s", "600/60s", "10/s"),
        ("10%..50%", 0.3, "30%"),
        ("0.1..0.5", 0.3, "0.3"),
        ("60s,1.5m", "1m", "60s"),
        ("none,full", "full", "full"),
        ("none,full", "equal", None),
        ("true,false", True, None),  # of a file's own the sampler knows only what it would write
        ({"from": "1.23456s", "to": "2.34567s"}, "2.34567s", "2.34567s"),
    ],
)
def test_a_value_of_the_file_is_found_in_the_space_whatever_its_unit(choices, own, point):
    found = Points(space({"a": choices})).point([own])
    assert found == (None if point is None else (point,))


def test_no_value_is_outside_of_its_range_however_it_is_rounded():
    points = Points(space({"a": {"from": "1.23456s", "to": "1.23459s"}}))
    proposed = points.propose(8, {}, [], 1, seed=3)
    assert proposed
    assert all(1.23456 <= value(text) <= 1.23459 for (text,) in proposed)


def test_proposals_are_new_and_the_same_for_the_same_seed():
    points = Points(space(TWO))
    first = points.propose(8, {}, [], 1, seed=3)
    assert len(set(first)) == 8
    assert points.propose(8, {}, [], 1, seed=3) == first
    assert points.propose(8, {}, [], 1, seed=4) != first
    learnt = {point: Learnt((value(point[1]),), 0.0) for point in first}
    second = points.propose(8, learnt, learnt, 1, seed=5)
    assert len(set(second)) == 8
    assert not set(second) & set(first)
    assert points.propose(8, learnt, learnt, 1, seed=5) == second


def test_a_space_of_few_points_is_used_up_and_then_there_are_no_more():
    points = Points(space({"a": "1..3", "b": "x,y"}))
    known = {}
    for batch in range(9):
        for point in points.propose(2, known, known, 1, seed=batch):
            assert point not in known
            known[point] = Learnt((1.0,), 0.0)
    assert set(known) == set(points.all())
    assert points.propose(2, known, known, 1, seed=99) == []


def tried(points, judge, objectives, seed):
    known = {}
    for batch in range(5):
        for point in points.propose(8, known, known, objectives, seed=10 * seed + batch):
            known[point] = judge(point)
    return list(known.values())


def drawn(choices, judge, seed):
    rng = random.Random(seed)
    return [judge(tuple(each.at(rng.random()) for each in choices.values())) for _ in range(40)]


def test_what_is_learnt_leads_to_what_is_cheap_and_holds():
    # The cheapest that holds is (7, 3s), at 10; at random one of forty points comes to 13 or so.
    def judge(point):
        count, delay = int(point[0]), value(point[1])
        return Learnt((count + delay,), max(0.0, 7 - count) + max(0.0, 3 - delay))

    def cheapest(learnt):
        return min(each.costs[0] for each in learnt if not each.shortfall)

    searched = [cheapest(tried(Points(space(TWO)), judge, 1, seed)) for seed in range(6)]
    at_random = [cheapest(drawn(space(TWO), judge, seed)) for seed in range(6)]
    assert min(searched) >= 10
    assert statistics.mean(searched) < statistics.mean(at_random) - 0.7


@pytest.mark.thorough
def test_several_objectives_lead_to_more_than_chance_does():
    def judge(point):
        count, delay = int(point[0]), value(point[1])
        return Learnt((delay + count, 10 - delay + count), max(0.0, 4 - count))

    def dominated_area(learnt):
        area, lowest = 0.0, 30.0
        for one, other in sorted(each.costs for each in learnt if not each.shortfall):
            if other < lowest:
                area += (30 - one) * (lowest - other)
                lowest = other
        return area

    searched = [dominated_area(tried(Points(space(TWO)), judge, 2, seed)) for seed in range(6)]
    at_random = [dominated_area(drawn(space(TWO), judge, seed)) for seed in range(6)]
    assert statistics.mean(searched) > statistics.mean(at_random) + 20


def test_optuna_says_nothing_and_is_left_as_it_was(capfd):
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.DEBUG)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            Points(space(TWO)).propose(4, {("1", "2s"): Learnt((1.0,), 0.5)}, [], 1, seed=1)
        assert optuna.logging.get_verbosity() == logging.DEBUG
    finally:
        optuna.logging.set_verbosity(before)
    assert capfd.readouterr() == ("", "")
