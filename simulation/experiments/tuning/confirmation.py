"""The confirmation: what looks best in the search is tested again, with seeds that the search has not seen.

The best of many is partly the best by chance. So it is judged anew, and the next best when it does not hold; and as
each attempt is a chance to err, the later ones have to show more. The place of each trial is fixed before any fresh
run, and so is how often it may err: see :func:`error_at`.
"""

from __future__ import annotations

from collections.abc import Sequence

from simulation.experiments.paired import difference
from simulation.experiments.tuning.goal import Goal, Objective
from simulation.experiments.tuning.search import Search
from simulation.experiments.tuning.trial import Bench, Trial, best, no_worse, ranked
from simulation.running.executors import RunMetrics
from simulation.running.sequential_test import Decision, FreshRuns, plan

SHOWN_MAX = 3
"""The most cheaper settings, and the most next best ones, that are compared with the best."""

COMPARED_RUNS = 5
"""The least runs in the search of a compared setting, for its difference to have an interval."""

ZETA_OF_3 = 1.2020569031595942
"""The sum of 1 / k³ over all k (Apéry's constant)."""

REJECTED_MAX = 10
"""After so many that were not confirmed, no more are tried."""


def confirm(search: Search, bench: Bench) -> list[Trial]:
    """Return those of the best trials that are confirmed: the best with one objective, with several the Pareto set.

    The file's own settings are judged as well, for comparison, unless the search has given them up. With one objective
    they stay where the best gains nothing on them beyond chance.
    """
    goal = search.goal
    confirmed: list[Trial] = []
    rejected = 0
    bench.ahead = 0
    for place, trial in enumerate(ranked(search.alive), start=1):
        if rejected == REJECTED_MAX or (confirmed and len(goal.objectives) == 1):
            break
        if any(no_worse(other.costs, trial.costs) for other in confirmed):
            continue
        search.finish(trial, bench)
        if trial.given_up:
            continue
        judge(trial, bench, error_at(place, goal))
        if trial.decision is Decision.CONFIRMED:
            confirmed.append(trial)
        else:
            rejected += 1
    if search.baseline.decision is None and not search.baseline.given_up:
        judge(search.baseline, bench, 1 - goal.confidence)
    found = _undominated(best(confirmed))
    own = search.baseline
    if len(goal.objectives) == 1 and own.in_space and own.decision is Decision.CONFIRMED:
        return found if found and _gains(found[0], own, goal.objectives[0]) else [own]
    return found


def _gains(trial: Trial, own: Trial, objective: Objective) -> bool:
    """Return whether a trial costs less than the file's own settings by more than chance explains, in its fresh runs;
    a single pair of them says nothing against it."""
    count = min(len(trial.fresh), len(own.fresh))
    apart = difference(*([objective.cost(run) for run in each.fresh[:count]] for each in (trial, own)))
    return apart is None or apart.pairs < 2 or (apart.excludes_0 and (apart.value or 0.0) < 0)


def _undominated(found: list[Trial]) -> list[Trial]:
    """Return the settings that no other beats in the fresh runs, with the seeds that all of them have met.

    Two that differ in the search may cost the same in these, in one objective, and more in another.
    """
    while len(found) > 1:
        count = min(len(trial.fresh) for trial in found)
        costs = {trial: trial.fresh_costs(count) for trial in found}
        kept = [
            trial
            for trial in found
            if not any(costs[each] != costs[trial] and no_worse(costs[each], costs[trial]) for each in found)
        ]
        if len(kept) == len(found):
            break
        found = kept
    return found


def error_at(place: int, goal: Goal) -> float:
    """Return how often the k-th trial that is judged may be confirmed though it does not reach the probability.

    The sum over all places is how often the whole may err (Bonferroni). With one objective the first is mostly
    confirmed and the last, so it has the largest share, and the k-th 1 / (ζ(3) k³). Of a Pareto set many are judged,
    and the k-th has 1 / (k (k + 1)).
    """
    share = 1 / (ZETA_OF_3 * place**3) if len(goal.objectives) == 1 else 1 / (place * (place + 1))
    return (1 - goal.confidence) * share


def compared(search: Search, found: list[Trial], bench: Bench) -> list[Trial]:
    """Return the trials to compare the best with: the file's own settings, the cheaper ones that do not meet the
    expectations, nearest first, and the next best. They get a few runs more."""
    if not found:
        return []
    best_costs = found[0].costs
    others = [trial for trial in ranked(search.trials) if trial.in_space and trial not in (*found, search.baseline)]
    failing = [trial for trial in others if trial.given_up or trial.decision is Decision.REJECTED]
    cheaper = [trial for trial in failing if not no_worse(best_costs, trial.costs)]
    cheaper.sort(key=lambda trial: (trial.shortfall, trial.number))
    next_best = [trial for trial in others if trial not in failing][:SHOWN_MAX]
    own = [] if search.baseline in found else [search.baseline]
    beaten = [*own, *cheaper[:SHOWN_MAX], *next_best]
    bench.search([(trial, min(COMPARED_RUNS, search.goal.replicates)) for trial in beaten])
    return beaten


def expected_runs(goal: Goal) -> int:
    """Return how many fresh runs it takes where the first is confirmed without a failure."""
    looks = [plan(part.probability, error_at(1, goal))[0] for part in goal.parts]
    return max(looks, default=goal.replicates)


def judge(trial: Trial, bench: Bench, error: float) -> None:
    """Do fresh runs of a trial until it is clear whether it reaches the probability, of each part of the goal.

    It is confirmed when it is of every part, and rejected when it is of one. So one that falls short of a part is not
    confirmed more often than that part is wrongly.

    It is rejected when the metric of an objective is never in one of them: of that there is no mean.

    Args:
        trial: which.
        bench: does the runs.
        error: how often a trial may be confirmed that does not reach the probability.
    """
    goal = trial.goal
    if not goal.expectations:
        bench.freshly([(trial, goal.replicates)])
        trial.decision = Decision.REJECTED if trial.is_never else Decision.CONFIRMED
        return
    plans = [plan(part.probability, error) for part in goal.parts]
    trial.plans = plans
    judgement = _Judgement(goal, plans)
    if not any(judgement.add(run) for run in trial.fresh):
        bench.freshly([(trial, max(looks[-1] for looks in plans))], judgement.add)
    trial.decision = Decision.REJECTED if trial.is_never else judgement.decision


class _Judgement:
    def __init__(self, goal: Goal, plans: Sequence[Sequence[int]]) -> None:
        self._goal = goal
        self._parts = [(part, FreshRuns(looks)) for part, looks in zip(goal.parts, plans, strict=True)]
        self._is_never = False

    def add(self, run: RunMetrics) -> bool:
        """Take in the next run; return whether more would change nothing."""
        self._is_never = self._is_never or self._goal.is_never(run)
        for part, seen in self._parts:
            seen.add(part.holds(run))
        return self.decision is not None

    @property
    def decision(self) -> Decision | None:
        """The decision; None when it is not clear yet."""
        decisions = {seen.decision for _, seen in self._parts}
        if self._is_never or Decision.REJECTED in decisions:
            return Decision.REJECTED
        return None if None in decisions else Decision.CONFIRMED
