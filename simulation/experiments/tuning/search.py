"""The search: settings are tried, with few runs each at first, and the best looking ones get more.

It is a race: no run is done of a setting that fails too often or costs more than another. How far the best one gets
depends on what is still open: while others are to be tried a few runs tell which is best, and only the settings that
are the best at its end have all runs of the search.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from actors.errors import ConfigurationError
from actors.kernel.randomness import RandomStreams
from simulation.experiments.tuning.goal import Goal
from simulation.experiments.tuning.trial import COMMON_RUNS, Bench, Change, Trial, best
from simulation.scenario import Scenario, load, load_each
from simulation.scenario.lint import lint_scenario
from simulation.scenario.ranges import Range, quantity
from simulation.scenario.space import Choices, Setting, Space, number_of, settings_of, space

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


Point: TypeAlias = "tuple[str, ...]"
"""A value for each path of the space, as it is written in a file."""

ASKED_MAX = 20
"""The most proposals, on average, for each new point; most are known already where points are few."""

DRAWN_MAX = 10_000
"""After so many random points in a row that are all known, hardly any others are left."""

LEVELS_MAX = 10_000
"""The most whole numbers of a range that are listed."""

STARTUP = 8
"""The number of known points from which on the sampler learns from them."""


@dataclass(frozen=True, slots=True)
class Learnt:
    costs: tuple[float, ...]
    """Of each objective, less is better; finite."""

    shortfall: float
    """More than 0 when it does not meet the expectations, or an objective is never: the more, the further off. 0 when
    it seems to be neither."""


class Points:
    def __init__(self, space: Space) -> None:
        self._dimensions = [_Dimension(path, choices) for path, choices in space.items()]

    @cached_property
    def count(self) -> float:
        """The number of points; infinite if there is a continuous range."""
        return math.prod(dimension.count for dimension in self._dimensions)

    def all(self) -> list[Point]:
        return list(product(*(dimension.levels for dimension in self._dimensions)))

    def point(self, values: Sequence[Any]) -> Point | None:
        """Return the point with these values, or None when it is not one of this space."""
        parameters = self._parameters(values)
        if parameters is None:
            return None
        return tuple(dimension.text(parameters[dimension.path]) for dimension in self._dimensions)

    def propose(
        self, count: int, learnt: Mapping[Point, Learnt], taken: Iterable[Point], objectives: int, seed: int
    ) -> list[Point]:
        """Return new points that are worth trying; fewer where no more are found.

        The sampler is Optuna's tree-structured Parzen estimator (Bergstra and others, *Algorithms for Hyper-Parameter
        Optimization*, NIPS 24, 2011), which is given all points as they are known by now, with the shortfall as a
        constraint. A point that is proposed and not known yet counts as bad, so that those proposed together lie apart.
        """
        import optuna

        distributions = {dimension.path: dimension.distribution() for dimension in self._dimensions}
        seen, found = set(taken), []
        with _quiet(optuna):
            sampler = optuna.samplers.TPESampler(n_startup_trials=STARTUP, seed=seed)
            study = optuna.create_study(sampler=sampler, directions=["minimize"] * objectives)
            for point, of_point in learnt.items():
                study.enqueue_trial(self._parameters(point) or {})
                trial = study.ask(distributions)
                trial.set_constraint("shortfall", of_point.shortfall)
                study.tell(trial, list(of_point.costs))
            for _ in range(count * ASKED_MAX):
                trial = study.ask(distributions)
                point = tuple(dimension.text(trial.params[dimension.path]) for dimension in self._dimensions)
                if point in seen:
                    study.tell(trial, state=optuna.trial.TrialState.FAIL)
                    continue
                seen.add(point)
                found.append(point)
                if len(found) == count:
                    break
        return found or self._drawn(seen, seed)

    def _parameters(self, values: Sequence[Any]) -> dict[str, float | str] | None:
        """Return how the sampler sees some values, or None when they are no point of this space."""
        found = {}
        for dimension, value in zip(self._dimensions, values, strict=True):
            parameter = dimension.parameter(value)
            if parameter is None:
                return None
            found[dimension.path] = parameter
        return found

    def _drawn(self, seen: Collection[Point], seed: int) -> list[Point]:
        random = RandomStreams(seed).stream("tune.points")
        for _ in range(DRAWN_MAX):
            point = tuple(dimension.choices.at(random.random()) for dimension in self._dimensions)
            if point not in seen:
                return [point]
        return []


class _Dimension:
    """The values of one path, and how the sampler sees them: as numbers, or as names."""

    def __init__(self, path: str, choices: Choices | Range) -> None:
        self.path = path
        self.choices = choices
        self.levels: tuple[str, ...] = ()
        """The values, in their order if they have one; none where it is a range of all numbers between two."""
        self._range: Range | None = None
        """Where the sampler sees the values themselves."""
        if isinstance(choices, Range) and choices.steps is None:
            self._range = choices
            if choices.is_whole:
                low, high = round(choices.low), round(choices.high)
                self.levels = tuple(map(str, range(low, high + 1))) if high - low < LEVELS_MAX else ()
            self._is_ordered = True
        else:
            texts = choices.levels()
            numbers = {text: number for text in texts if (number := _number(text)) is not None}
            self._is_ordered = len(numbers) == len(texts)
            self.levels = tuple(sorted(texts, key=lambda text: numbers[text]) if self._is_ordered else texts)

    @property
    def count(self) -> float:
        if self._range is not None:
            return self._range.high - self._range.low + 1 if self._range.is_whole else math.inf
        return len(self.levels)

    def distribution(self) -> BaseDistribution:
        """Return the distribution from which the sampler draws."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self._range is None:
            if self._is_ordered:
                return IntDistribution(0, len(self.levels) - 1)
            return CategoricalDistribution(self.levels)
        is_log = self._range.scale == "log"
        if self._range.is_whole:
            return IntDistribution(round(self._range.low), round(self._range.high), log=is_log)
        return FloatDistribution(self._range.low, self._range.high, log=is_log)

    def parameter(self, value: Any) -> float | str | None:
        """Return a value as the sampler sees it, or None when it is not a value of the path."""
        number = _number(value)
        if self._range is not None:
            if number is None or not self._range.low <= number <= self._range.high:
                return None
            if self._range.is_whole:
                return round(number) if number == round(number) else None
            return number
        for place, text in enumerate(self.levels):
            if value == text or (number is not None and number == _number(text)):
                return place if self._is_ordered else text
        return None

    def text(self, parameter: Any) -> str:
        if self._range is None:
            return self.levels[parameter] if self._is_ordered else str(parameter)
        text = self._range.text(parameter)
        rounded = _number(text)
        if rounded is not None and not self._range.low <= rounded <= self._range.high:
            return self._range.text(min(max(rounded, self._range.low), self._range.high))
        return text


CONTRADICTIONS = {"max-delay-below-initial-delay", "setting-without-effect"}
"""The rules of the linter by which one setting of a channel makes another one do nothing."""


def _contradictions(scenario: Scenario) -> set[tuple[str, tuple[str, ...]]]:
    found = lint_scenario(scenario)
    return {(each.rule, tuple(each.path)) for each in found if each.rule in CONTRADICTIONS}


def _number(value: Any) -> float | None:
    """Return a value of a file, or the text of one, as a number of seconds, events a second or the like."""
    return number_of(value) if isinstance(value, str) else quantity(value)


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


CHECKED_MAX = 100
"""Of more values of a path than these, only the first and the last are looked at before the search."""


def source(
    path: str | Path, vary: Mapping[str, Any] | None, sets: Sequence[str], seed: int | None
) -> tuple[Scenario, Space, list[Scenario]]:
    """Return the scenario of a file, the space of settings in it, and the scenarios that were looked at in the space.

    Args:
        path: the file.
        vary: the values of each path, as :func:`simulation.scenario.space.space` has them; the file's `sweep` when
            None.
        sets: ``path=value`` changes to the file.
        seed: in place of the file's, when not None.

    Raises:
        ConfigurationError: the file or a value cannot be used, or there is nothing to vary; all problems.
    """
    if vary is None:
        swept = load(path, sets=sets, seed=seed).sweep
        if swept is None or not swept.vary:
            raise ConfigurationError(
                [
                    f"{path}: wanted settings to search, as in --vary channels.email.retry.max_attempts=1..10 or in "
                    "the file's sweep, got none"
                ]
            )
        vary = swept.vary
    found = space(vary)
    (scenario,) = load_each(path, [sets], seed)
    if isinstance(scenario, ConfigurationError):
        raise scenario
    tests, rows = _rows(found)
    loaded = list(load_each(path, [[*sets, *(f"{key}={text}" for key, text in row.items())] for row in rows], seed))
    problems = list(_problems(tests, loaded))
    if problems:
        raise ConfigurationError(list(dict.fromkeys(problems)))
    return scenario, found, [each for each in loaded if not isinstance(each, ConfigurationError)]


def own_value(scenario: Scenario, path: str) -> Any:
    """Return the value of a scenario at a path, with the defaults, in the form of a file; None where there is none."""
    value: Any = scenario.model_dump(mode="json", by_alias=True, exclude_none=True)
    for key in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, list) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return value


def _rows(space: Space) -> tuple[list[str], list[dict[str, str]]]:
    """Return the path of each value that is looked at, and three settings for each: alone, and beside the ends of the
    others."""
    ends = {varied: _ends(choices) for varied, choices in space.items()}
    first, last = ({varied: values[place] for varied, values in ends.items()} for place in (0, -1))
    tests = [(varied, text) for varied, texts in ends.items() for text in texts]
    rows = [row for varied, text in tests for row in ({varied: text}, {**first, varied: text}, {**last, varied: text})]
    return [varied for varied, _ in tests], rows


def _problems(tests: Sequence[str], loaded: Sequence[Scenario | ConfigurationError]) -> Iterator[str]:
    """Yield the problems of values that a scenario can have neither alone nor beside the ends of the others.

    Values that it can have beside some others only are left out of the search when they come up.
    """
    found = iter(loaded)
    for varied in tests:
        alone, *beside = next(found), next(found), next(found)
        if isinstance(alone, ConfigurationError) and all(isinstance(each, ConfigurationError) for each in beside):
            for problem in alone.problems:
                yield "--vary" + problem.removeprefix("--set") if problem.startswith(f"--set {varied}") else problem


def _ends(choices: Choices | Range) -> list[str]:
    if isinstance(choices, Range):
        return [choices.text(choices.low), choices.text(choices.high)]
    texts = choices.levels()
    return texts if len(texts) <= CHECKED_MAX else [texts[0], texts[-1]]


BATCH = 8
"""The number of points that are proposed and tried together, whichever process does the runs."""

FIRST_RUNS = (1, COMMON_RUNS)
"""How many runs each setting gets, unless it is given up; the best get more, twice as many each time."""

RACING_RUNS = 5
"""The most runs of the best settings while others are still to be tried."""

RUNS_EXPECTED = 3
"""The average runs of a setting, to estimate how long a search goes on."""


class Search:
    def __init__(
        self, path: str | Path, sets: Sequence[str], seed: int | None, scenario: Scenario, space: Space, goal: Goal
    ) -> None:
        self.goal = goal
        self.space = space
        self._points = Points(space)
        self._own = {path: own_value(scenario, path) for path in space}
        self._own_rules = _contradictions(scenario)
        own = self._points.point(list(self._own.values()))
        self.baseline = Trial(0, Setting((), ""), scenario, goal, in_space=own is not None)
        self.trials = [self.baseline]
        """The trials, in their order."""
        self.invalid: dict[Point, ConfigurationError] = {}
        """Combinations that a scenario cannot have."""
        self._by_point: dict[Point, Trial] = {} if own is None else {own: self.baseline}
        self._by_scenario = {_identity(scenario): self.baseline}
        self._source = (path, sets, seed)

    @property
    def alive(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.in_space and not trial.given_up and trial.searched]

    def is_exhaustive(self, trials_max: int) -> bool:
        return self._points.count <= trials_max

    def run(self, bench: Bench, trials_max: int, runs_after: int = 0) -> None:
        """Try up to `trials_max` settings: all of them if there are no more, else those that a sampler proposes.

        Args:
            bench: does the runs.
            trials_max: the most settings.
            runs_after: how many runs there will be after the search, by the current estimate.
        """
        bench.ahead = runs_after + round(min(self._points.count, trials_max)) * RUNS_EXPECTED
        self._do([(self.baseline, COMMON_RUNS)], bench)
        if self.is_exhaustive(trials_max):
            self._try(self._points.all(), bench)
        else:
            self._sample(bench, trials_max, runs_after)
        bench.ahead = runs_after
        self._race(bench, self.goal.replicates)

    def finish(self, trial: Trial, bench: Bench) -> None:
        while not trial.given_up and len(trial.searched) < self.goal.replicates:
            self._do([(trial, 2 * len(trial.searched))], bench)

    def _sample(self, bench: Bench, trials_max: int, runs_after: int) -> None:
        tried = 0
        while tried < trials_max and (points := self._proposed(min(BATCH, trials_max - tried))):
            tried += len(points)
            bench.ahead = runs_after + (trials_max - tried) * RUNS_EXPECTED
            self._try(points, bench)

    def _try(self, points: Sequence[Point], bench: Bench) -> None:
        tried = self._loaded(points)
        for count in FIRST_RUNS:
            self._do([(trial, count) for trial in tried if not trial.given_up], bench)
        self._race(bench, RACING_RUNS)

    def _race(self, bench: Bench, runs_max: int) -> None:
        runs_max = min(runs_max, self.goal.replicates)
        while unfinished := [trial for trial in best(self.alive) if len(trial.searched) < runs_max]:
            self._do([(trial, min(2 * len(trial.searched), runs_max)) for trial in unfinished], bench)

    def _do(self, wanted: Sequence[tuple[Trial, int]], bench: Bench) -> None:
        """Do runs until each trial has its number of runs, and measure all of them by the one that has most then."""
        bench.search([(trial, min(count, self.goal.replicates)) for trial, count in wanted])
        with_costs = [trial for trial in self.trials if trial.costs is not None]
        most = max((len(trial.searched) for trial in with_costs), default=0)
        longest = best(trial for trial in with_costs if len(trial.searched) == most)
        self.baseline.reference.trial = next(iter(longest), self.baseline)

    def _loaded(self, points: Sequence[Point]) -> list[Trial]:
        path, sets, seed = self._source
        settings = settings_of(list(self.space), points)
        found = load_each(path, [[*sets, *setting.sets] for setting in settings], seed)
        new = []
        for point, setting, scenario in zip(points, settings, found, strict=True):
            if isinstance(scenario, ConfigurationError):
                self.invalid[point] = scenario
                continue
            trial = self._by_scenario.get(_identity(scenario))
            if trial is None:
                change = self._change(setting, scenario)
                trial = Trial(len(self.trials), setting, scenario, self.goal, self.baseline.reference, change=change)
                self.trials.append(trial)
                self._by_scenario[_identity(scenario)] = trial
                new.append(trial)
            trial.in_space = True
            self._by_point[point] = trial
        return new

    def _change(self, setting: Setting, scenario: Scenario) -> Change:
        others = 0
        distance = 0.0
        for path, text in setting.values:
            own, number = _number(self._own[path]), _number(text)
            if text == str(self._own[path]) or (number is not None and number == own):
                continue
            others += 1
            distance += abs(math.log(number / own)) if number and own and number > 0 < own else 1.0
        return Change(not _contradictions(scenario) <= self._own_rules, others, distance)

    def _proposed(self, count: int) -> list[Point]:
        known_costs = [trial.costs for trial in self._by_point.values() if trial.costs is not None]
        # Where an objective is never, the sampler is told of a bound that is not met, and not of an infinite cost: by
        # how far the bound is missed it orders such points behind all others, whatever they cost.
        worst = tuple(map(max, zip(*known_costs, strict=True))) or (0.0,) * len(self.goal.objectives)
        learnt = {
            point: Learnt(trial.costs or worst, trial.shortfall if trial.given_up else 0.0)
            for point, trial in self._by_point.items()
            if trial.costs is not None or trial.is_never
        }
        known = [*self._by_point, *self.invalid]
        random = RandomStreams(self.baseline.scenario.seed).stream(f"tune.{len(known)}")
        return self._points.propose(count, learnt, known, len(self.goal.objectives), random.getrandbits(32))


def _identity(scenario: Scenario) -> str:
    """Return a key that is equal for equal scenarios, also where one of them spells out a default."""
    return scenario.model_dump_json(by_alias=True)
