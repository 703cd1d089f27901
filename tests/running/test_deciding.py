"""Expectations of a share of runs, decided by runs with consecutive seeds."""

import random
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from effort import examples
from hypothesis import given, settings, strategies as st

from simulation.results.result import Result
from simulation.running import deciding
from simulation.running.deciding import decide, decision_text
from simulation.running.executors import Executor
from simulation.running.runner import run
from simulation.running.sequential_test import SequentialTest
from simulation.scenario import Scenario, parse

FATES = """
seed: {seed}
duration: 1s
workload: [{{channel: email, arrivals: {{times: [{times}]}}}}]
channels:
  email: {{retry: {{max_attempts: 1}}, circuit_breaker: {{enabled: false}}, provider: {{failure_rate: {failure_rate}}}}}
expect: {expect}
"""


def fates(
    failure_rate: float, expect: Sequence[str] = ("{that: dead_lettered == 0, in: 99% of runs}",), *, seed: int = 0,
    notifications: int = 1,
) -> Scenario:  # fmt: skip
    """Return a scenario in which nothing is dead-lettered with the probability (1 - failure_rate) ** notifications."""
    times = ", ".join(["0s"] * notifications)
    return parse(
        FATES.format(seed=seed, times=times, failure_rate=f"{failure_rate:.12f}", expect=f"[{', '.join(expect)}]")
    )


def decided(scenario: Scenario, replicates: int, **how: Any) -> Result:
    result = run(scenario)
    decide(result, replicates, **how)
    return result


class Shuffled(Executor):
    """Does what it is given in an order of its own, and counts it."""

    def __init__(self, seed: int, window: int) -> None:
        self.random, self.window = random.Random(seed), window
        self.begun = 0

    def map(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> Generator[tuple[int, Any], None, None]:
        waiting: list[int] = []
        for place in range(len(arguments)):
            waiting.append(place)
            if len(waiting) == self.window:
                yield self._one(function, arguments, waiting)
        while waiting:
            yield self._one(function, arguments, waiting)

    def _one(self, function: Callable[[Any], Any], arguments: Sequence[Any], waiting: list[int]) -> tuple[int, Any]:
        self.begun += 1
        place = waiting.pop(self.random.randrange(len(waiting)))
        return place, function(arguments[place])


@pytest.fixture(scope="module")
def first() -> Result:
    """The run with the first seed of a scenario with two expectations of shares, and one of every run."""
    expect = ["{that: dlq.peak <= 0, in: 90% of runs}", "sent == 1", "{that: attempts == 1, in: 50% of runs}"]
    return run(fates(0.0, expect, seed=100))


@settings(max_examples=examples(40), deadline=None)
@given(
    histories=st.lists(st.tuples(*[st.booleans()] * 3), min_size=1, max_size=150),
    seed=st.integers(0, 99),
    window=st.integers(1, 7),
)
def test_it_is_decided_in_the_order_of_the_seeds_however_the_runs_end(
    first: Result, histories: list[tuple[bool, bool, bool]], seed: int, window: int
) -> None:
    before = dict(first.summary)
    executor = Shuffled(seed, window)

    @contextmanager
    def given_executor(*_: Any) -> Generator[Executor, None, None]:
        yield executor

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deciding, "executor", given_executor)
        patch.setattr(deciding, "held_in_run", lambda task, **_: histories[task.seed - 101])
        decide(first, 1 + len(histories))
    summary = dict(first.summary)
    first.summary.clear()
    first.summary.update(before)

    wanted = {0: SequentialTest(0.9), 2: SequentialTest(0.5)}
    runs = 0
    for held in [(True, True, True), *histories]:
        if all(test.is_decided for test in wanted.values()):
            break
        runs += 1
        for place, test in wanted.items():
            test.add(held[place])
    assert summary["replicates"] == {"runs": runs, "at_most": 1 + len(histories), "seeds": [100, 99 + runs]}
    for place, test in wanted.items():
        entry = summary["expectations"][place]
        assert (entry["runs"], entry["held"]) == (test.runs, test.held)
        assert entry["holds"] == {"holds": True, "fails": False, "undecided": None}[test.conclusion]
        assert entry["interval"] == list(test.interval)
    plain = summary["expectations"][1]
    assert (plain["holds"], plain["runs"]) == (True, runs)
    assert plain["held"] == 1 + sum(held[1] for held in histories[: runs - 1])
    assert executor.begun <= runs - 1 + window  # so few runs are done in vain


def test_one_run_leaves_it_undecided_which_is_no_failure() -> None:
    result = run(fates(1.0))
    (entry,) = result.summary["expectations"]
    assert entry == {"text": "dead_lettered == 0 in 99% of runs", "value": 1, "holds": None}
    assert result.holds
    assert repr(result).endswith("1 of 1 expectation undecided, others met>")
    assert decision_text(result.scenario.expect[0], entry) == "undecided by one run: it takes --replicates 299 or more"


def test_what_never_holds_fails_after_two_runs_and_names_the_seeds() -> None:
    result = decided(fates(1.0, seed=40), 1000)
    (entry,) = result.summary["expectations"]
    assert (entry["holds"], entry["held"], entry["runs"]) == (False, 0, 2)
    assert result.summary["replicates"] == {"runs": 2, "at_most": 1000, "seeds": [40, 41]}
    assert not result.holds
    assert decision_text(result.scenario.expect[0], entry) == "held in 0 of 2 runs, so in 0% to 77.64% of all"


def test_what_always_holds_takes_as_many_runs_as_it_says() -> None:
    always = fates(0.0, ["{that: sent == 1, in: 90% of runs}"])
    assert decided(always, 28).summary["expectations"][0]["holds"] is None
    (entry,) = decided(always, 100).summary["expectations"]
    assert (entry["holds"], entry["held"], entry["runs"]) == (True, 29, 29)


def test_an_expectation_of_every_run_goes_by_the_first_seed_and_says_in_how_many_it_held() -> None:
    scenario = fates(0.5, ["sent == 1"], seed=3)
    held = [run(scenario, seed=seed).summary["sent"] == 1 for seed in range(3, 23)]
    result = decided(scenario, 20)
    (entry,) = result.summary["expectations"]
    assert (entry["holds"], entry["held"], entry["runs"]) == (held[0], sum(held), 20)
    assert 0 < sum(held) < 20


@pytest.mark.integration
def test_the_number_of_workers_decides_nothing() -> None:
    scenario = fates(0.3, ["{that: sent == 1, in: 60% of runs}", "{that: sent == 1, in: 95% of runs}"], seed=7)
    assert decided(scenario, 60, workers=3).summary == decided(scenario, 60).summary


@pytest.mark.thorough
def test_decisions_about_what_holds_in_90_per_cent_of_runs() -> None:
    runs = 0
    for number in range(5):
        # Ten notifications, all of which have to arrive.
        result = decided(fates(1 - 0.9 ** (1 / 10), seed=1000 * number, notifications=10), 700)
        (entry,) = result.summary["expectations"]
        assert entry["holds"] is False
        runs += entry["runs"]
    assert runs < 300  # 24 each, on average
