"""The search: settings are tried, with few runs each at first, and those that look best get more.

It is a race: no run is done of a setting that fails too often or costs more than another. How far the best one gets
depends on what is still open: while others are to be tried a few runs tell which is best, and all runs of the search
have only those that are the best at its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from actors.errors import ConfigurationError
from actors.kernel.randomness import RandomStreams
from simulation.experiments.tuning.bench import Bench
from simulation.experiments.tuning.goal import Goal
from simulation.experiments.tuning.points import Learnt, Point, Points
from simulation.experiments.tuning.source import own_value
from simulation.experiments.tuning.trial import COMMON_RUNS, Trial, best
from simulation.scenario import Scenario, load_each
from simulation.scenario.space import Space
from simulation.scenario.variations import Setting, settings_of

BATCH = 8
"""So many points are proposed and tried together, whichever process does the runs."""

FIRST_RUNS = (1, COMMON_RUNS)
"""How many runs each setting gets, unless it is given up; the best get more, twice as many each time."""

RACING_RUNS = 5
"""So many runs the best have at most while others are still to be tried."""

RUNS_EXPECTED = 3
"""So many runs a setting takes on average, to estimate how long a search goes on."""


class Search:
    """The settings that are tried of a space, and what is known of them."""

    def __init__(
        self, path: str | Path, sets: Sequence[str], seed: int | None, scenario: Scenario, space: Space, goal: Goal
    ) -> None:
        self.goal = goal
        self.space = space
        self._points = Points(space)
        own = self._points.point([own_value(scenario, each) for each in space])
        self.baseline = Trial(0, Setting((), ""), scenario, goal, in_space=own is not None)
        """The file's own settings."""
        self.trials = [self.baseline]
        """Those that were tried, in this order."""
        self.invalid: dict[Point, ConfigurationError] = {}
        """Combinations that a scenario cannot have."""
        self._by_point: dict[Point, Trial] = {} if own is None else {own: self.baseline}
        self._by_scenario = {_identity(scenario): self.baseline}
        self._source = (path, sets, seed)

    @property
    def alive(self) -> list[Trial]:
        """Those that may be chosen and are not given up."""
        return [trial for trial in self.trials if trial.in_space and not trial.given_up and trial.searched]

    def is_exhaustive(self, trials_max: int) -> bool:
        """Return whether so many trials are enough for every combination."""
        return self._points.count <= trials_max

    def run(self, bench: Bench, trials_max: int, runs_after: int = 0) -> None:
        """Try up to so many settings: all of them where they are no more, or those that a sampler proposes.

        Args:
            bench: does the runs.
            trials_max: how many settings.
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
        """Give a trial all the runs of the search, until it is given up."""
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
        """Give the best more runs, until those that are the best then have so many."""
        runs_max = min(runs_max, self.goal.replicates)
        while unfinished := [trial for trial in best(self.alive) if len(trial.searched) < runs_max]:
            self._do([(trial, min(2 * len(trial.searched), runs_max)) for trial in unfinished], bench)

    def _do(self, wanted: Sequence[tuple[Trial, int]], bench: Bench) -> None:
        """Do runs until each trial has so many, and measure all of them by the one that has most then."""
        bench.search([(trial, min(count, self.goal.replicates)) for trial, count in wanted])
        with_costs = [trial for trial in self.trials if trial.costs is not None]
        most = max((len(trial.searched) for trial in with_costs), default=0)
        longest = best(trial for trial in with_costs if len(trial.searched) == most)
        self.baseline.reference.trial = next(iter(longest), self.baseline)

    def _loaded(self, points: Sequence[Point]) -> list[Trial]:
        """Return the trials of points that are not known yet."""
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
                trial = Trial(len(self.trials), setting, scenario, self.goal, self.baseline.reference)
                self.trials.append(trial)
                self._by_scenario[_identity(scenario)] = trial
                new.append(trial)
            trial.in_space = True
            self._by_point[point] = trial
        return new

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
