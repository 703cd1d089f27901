"""The result of a search: the settings that were found, those they beat, and all trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors.formatting import counted
from simulation.experiments.paired import Difference, difference, finite, mean
from simulation.experiments.sweeping.result import setting_column
from simulation.experiments.tuning.goal import Margin, Objective, margins
from simulation.experiments.tuning.search import Search, own_value
from simulation.experiments.tuning.trial import Trial, best, nearest
from simulation.results.formatting import line
from simulation.running.executors import RunMetrics
from simulation.running.sequential_test import Decision, interval
from simulation.scenario.ranges import Range
from simulation.scenario.space import value_of
from simulation.sheets import Column, Row, Sheet, notebook

if TYPE_CHECKING:
    import pandas as pd

ROWS_SHOWN = 20
"""The most settings that a notebook shows."""

DOCUMENT, TRIALS, RUNS = "tuning.json", "trials.parquet", "runs.parquet"


class Tuning:
    """The result of a search. Durations are in seconds, rates a second, shares between 0 and 1."""

    def __init__(
        self,
        path: str | Path,
        search: Search,
        found: list[Trial],
        beaten: list[Trial],
        seeds: tuple[int, int],
        sets: Sequence[str],
        *,
        exhaustive: bool,
        is_finished: bool,
        finished_runs: int,
    ) -> None:
        self.path = Path(path)
        self.goal = search.goal
        self.space = search.space
        """The values of each path that were searched."""
        self.baseline = search.baseline
        self.trials = search.trials
        """All trials in their order; the file's own settings first."""
        self.invalid = len(search.invalid)
        """How many combinations no scenario can have."""
        self.found = found
        """The settings that meet the expectations, confirmed with fresh seeds: the best one, or the Pareto set where
        there are several objectives. Empty when there is none."""
        self.beaten = beaten
        """The settings that the found one is compared with: the file's own, cheaper ones that do not meet the
        expectations, and the next best ones."""
        self.first_seed, self.first_fresh_seed = seeds
        self.sets = tuple(sets)
        """The changes to the file that hold for all settings."""
        self.exhaustive = exhaustive
        self.is_finished = is_finished
        """Whether the search came to its end, and was not interrupted."""
        self.finished_runs = finished_runs
        """How many runs had finished; of an interrupted search, also those that decide nothing alone."""

    def __repr__(self) -> str:
        facts = [f"{counted(len(self.trials), 'setting')} tried", f"{len(self.found) or 'none'} found"]
        return line("Tuning", self.baseline.scenario.name, [*facts, *([] if self.is_finished else ["interrupted"])])

    def _repr_html_(self) -> str:
        objectives = self.goal.objectives
        columns = [Column(each) for each in ("setting", "as expected", *(objective.metric for objective in objectives))]
        shown = list(dict.fromkeys([*self.found, *self.beaten]))[:ROWS_SHOWN]
        rows = []
        for trial in shown:
            runs = self.runs_of(trial)
            values = [self.value(trial, objective) for objective in objectives]
            mark = "found: " if trial in self.found else ""
            rows.append(Row([f"{mark}{trial.setting.label}", f"{self.held(runs):,} of {len(runs):,} runs", *values]))
        return notebook(Sheet(repr(self).strip("<>"), columns, rows))

    @property
    def best(self) -> Trial | None:
        """The setting that was found; with several objectives the one that is best in the first."""
        return self.found[0] if self.found else None

    @property
    def nearest(self) -> Trial:
        """The setting that was found, or else the one nearest to meeting the expectations: the file's own, if they are
        in the space and no other is nearer by more than chance. Of an interrupted search the best one not given up."""
        alive = [trial for trial in self.trials if trial.in_space and trial.searched and not trial.given_up]
        if self.found or (alive and not self.is_finished):
            return (self.found or best(alive) or alive)[0]
        closest = nearest(self.trials)
        return closest if self._is_nearer(closest) else self.baseline

    def _is_nearer(self, trial: Trial) -> bool:
        """Return whether a trial is nearer to the expectations than the file's own by more than chance, if that is in
        the space."""
        if not (self.baseline.in_space and self.baseline.searched and self.goal.expectations):
            return True
        fresh = (trial.fresh, self.baseline.fresh)
        pair = fresh if all(fresh) else (trial.searched, self.baseline.searched)
        count = min(map(len, pair))
        apart = difference(*([self.goal.shortfall(run) for run in runs[:count]] for runs in pair))
        return apart is not None and apart.excludes_0 and (apart.value or 0.0) < 0

    def ties(self, trial: Trial) -> list[Trial]:
        """Return the other trials that cost as much as one and have as much to spare."""
        others = [each for each in self.trials if each.in_space and each is not trial and not each.given_up]
        same = [each for each in others if (each.costs, each.spare) == (trial.costs, trial.spare)]
        return [each for each in same if each.decision is not Decision.REJECTED]

    def runs_of(self, trial: Trial) -> list[RunMetrics]:
        """Return the runs that say most of a trial: with fresh seeds, or if there are none the others."""
        return trial.fresh or trial.searched

    def share(self, runs: Sequence[RunMetrics]) -> float:
        """Return the share of some runs in which all expectations hold."""
        return self.held(runs) / len(runs) if runs else 0.0

    def held(self, runs: Sequence[RunMetrics]) -> int:
        """Return in how many of some runs all expectations hold."""
        return sum(map(self.goal.holds, runs))

    def margins(self, trial: Trial) -> list[Margin]:
        """Return how far a trial is from the bound of each expectation."""
        return margins(self.goal, self.runs_of(trial))

    def value(self, trial: Trial, objective: Objective) -> float | None:
        """Return the mean of an objective's metric, for the same seeds of all trials; infinite where it is never in one
        of the runs that say most of a trial, None where a run has none.

        For the found setting it is the mean over its fresh runs; for several, over the seeds that all of them met. For
        any other it is the best one's mean plus the :meth:`difference` from it, on the seeds that both met (a *control
        variate*, see :meth:`simulation.experiments.tuning.trial.Trial.cost`). Where none was found, it is the cost in
        the search.
        """
        if self.never(trial, objective):
            return math.inf
        if self.best is None:
            cost = trial.cost(objective)
            return None if cost is None else objective.value(cost)
        if any(run.figures.get(objective.metric) is None for run in self.runs_of(trial)):
            return None
        count = min(len(each.fresh) for each in self.found)
        of = trial if trial in self.found else self.best
        values = [run.figures.get(objective.metric) for run in of.fresh[:count]]
        middle = None if None in values else mean(values)
        if middle is None or of is trial:
            return middle
        apart = self.difference(trial, self.best, objective)
        return None if apart is None or apart.mean is None else middle + apart.mean

    def never(self, trial: Trial, objective: Objective) -> int:
        """Return in how many of the runs that say most of a trial an objective's metric is never."""
        return sum(map(objective.is_never, self.runs_of(trial)))

    def difference(self, trial: Trial, than: Trial, objective: Objective) -> Difference | None:
        """Return the difference of an objective's metric between two trials, on the same seeds; see
        :func:`simulation.experiments.paired.difference`.

        With fresh seeds where both have met some, or else with the seeds of the search.
        """
        pair = (trial.fresh, than.fresh) if trial.fresh and than.fresh else (trial.searched, than.searched)
        count = min(map(len, pair))
        one, other = ([run.figures.get(objective.metric) for run in runs[:count]] for runs in pair)
        return difference(one, other)

    def own_values(self) -> dict[str, Any]:
        """Return the file's own value at each varied path, in the form of a file; None where there is none."""
        return {path: own_value(self.baseline.scenario, path) for path in self.space}

    def values(self, trial: Trial) -> dict[str, Any]:
        """Return a trial's value at each varied path, in the form of a file."""
        return dict(trial.setting.values) or self.own_values()

    def status(self, trial: Trial) -> str:
        if trial.decision is not None:
            return trial.decision.value
        if not trial.searched:
            return "not run"
        return "given up" if trial.given_up else "holds" if trial.costs is not None else "no figure"

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row a trial: the number `trial`, the values that it sets, its outcome (`status`: confirmed, rejected,
        given up, holds, no figure), its `runs` in the search and in how many all expectations `held`, the same of the
        fresh ones, its `shortfall`, and the mean of each objective's metric, infinite where it is never in a run. The
        values of a path are numbers where none has a unit, and text where one has."""
        import pandas as pd

        rows = [
            {
                "trial": trial.number,
                **{path: None if value is None else str(value) for path, value in self.values(trial).items()},
                "in_space": trial.in_space,
                "status": self.status(trial),
                "runs": len(trial.searched),
                "held": self.held(trial.searched),
                "fresh_runs": len(trial.fresh),
                "fresh_held": self.held(trial.fresh),
                "shortfall": trial.shortfall,
                **{objective.metric: self.value(trial, objective) for objective in self.goal.objectives},
            }
            for trial in self.trials
        ]
        metrics = [objective.metric for objective in self.goal.objectives]
        frame = pd.DataFrame(rows).astype(dict.fromkeys(metrics, "float64"))
        values = [self.values(trial) for trial in self.trials]
        written = {path: [None if row[path] is None else str(row[path]) for row in values] for path in self.space}
        return frame.assign(**{path: setting_column(texts) for path, texts in written.items()})

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row a run: its `trial`, its `seed`, whether that is a `fresh` one, whether all expectations `hold`, and
        each metric of the summary by its path; a metric that is never is infinite."""
        import pandas as pd

        rows = [
            {"trial": trial.number, "seed": first + place, "fresh": fresh, "hold": self.goal.holds(run)}
            | dict(run.figures)
            for trial in self.trials
            for fresh, first, runs in (
                (False, self.first_seed, trial.searched),
                (True, self.first_fresh_seed, trial.fresh),
            )
            for place, run in enumerate(runs)
        ]
        frame = pd.DataFrame(rows)
        return frame.astype(dict.fromkeys(frame.columns[4:], "float64"))

    @property
    def document(self) -> dict[str, Any]:
        """The search as a plain dict that is also the JSON document, in which null stands for never too."""
        goal = self.goal
        return {
            "scenario": self.baseline.scenario.name,
            "sets": list(self.sets),
            "seeds": {"search": [self.first_seed, goal.replicates], "fresh": self.first_fresh_seed},
            "objectives": [
                {"figure": objective.metric, "direction": "maximize" if objective.maximize else "minimize"}
                for objective in goal.objectives
            ],
            "expectations": [expectation.text for expectation in goal.expectations],
            "probability": goal.probability,
            "confidence": goal.confidence,
            "vary": {path: _choices(choices) for path, choices in self.space.items()},
            "exhaustive": self.exhaustive,
            "is_over": self.is_finished,
            "tried": sum(trial.in_space for trial in self.trials),
            "invalid": self.invalid,
            "runs": sum(len(trial.searched) + len(trial.fresh) for trial in self.trials),
            "met": bool(self.found),
            "found": [self._of(trial) for trial in self.found],
            "nearest": None if self.found else self._of(self.nearest),
            "baseline": self._of(self.baseline),
            "beaten": [{"trial": trial.number, "differences": self._differences(trial)} for trial in self.beaten],
            "trials": [self._in_short(trial) for trial in self.trials],
        }

    def _of(self, trial: Trial) -> dict[str, Any]:
        runs = self.runs_of(trial)
        return {
            **self._in_short(trial),
            "figures": {objective.metric: finite(self.value(trial, objective)) for objective in self.goal.objectives},
            "never": {objective.metric: self.never(trial, objective) for objective in self.goal.objectives},
            "at_least": interval(self.held(runs), len(runs), self.goal.confidence)[0] if runs else 0.0,
            "margins": [margin.document for margin in self.margins(trial)] if runs else [],
        }

    def _in_short(self, trial: Trial) -> dict[str, Any]:
        return {
            "trial": trial.number,
            "setting": {
                path: value_of(value) if isinstance(value, str) else value for path, value in self.values(trial).items()
            },
            "status": self.status(trial),
            "held": [self.held(trial.searched), len(trial.searched)],
            "fresh_held": [self.held(trial.fresh), len(trial.fresh)],
            "costs": None if trial.costs is None else [
                objective.value(cost) for objective, cost in zip(self.goal.objectives, trial.costs, strict=True)
            ],
        }  # fmt: skip

    def _differences(self, trial: Trial) -> dict[str, Any]:
        assert self.best is not None
        found = {}
        for objective in self.goal.objectives:
            apart = self.difference(trial, self.best, objective)
            found[objective.metric] = None if apart is None else apart.document
        return found


def _choices(choices: Any) -> Any:
    if isinstance(choices, Range):
        return choices.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return choices.levels()
