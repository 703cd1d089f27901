"""Find the cheapest settings of a scenario that meet its expectations; and which of these no settings can meet."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from actors.errors import ConfigurationError
from actors.formatting import duration_text, instant_text, plain_number
from actors.messages import NotificationChannel
from actors.settings.faults import FaultConfig
from simulation.experiments.paired import difference
from simulation.experiments.sweeping.journal import Journal
from simulation.experiments.tuning.goal import PROBABILITY_MAX as PROBABILITY_MAX, Goal, Objective, goal
from simulation.experiments.tuning.report import save_tuning
from simulation.experiments.tuning.search import Search, source
from simulation.experiments.tuning.trial import Bench, Trial, best, nearest, no_worse, ranked
from simulation.experiments.tuning.tuning import DOCUMENT, Tuning
from simulation.results.files import check_folder
from simulation.results.progress import Interrupted, RunsProgress
from simulation.running.executors import RunMetrics, executor
from simulation.running.sequential_test import Decision, FreshRuns, plan
from simulation.scenario import ClosedWorkload, Expectation, Scenario
from simulation.scenario.arguments import check_counts
from simulation.scenario.expected_arrivals import expected_notifications
from simulation.scenario.writing import file_of

# ── confirming ────────────────────────────────────────────────────────────────────────────────────────────────────────


SHOWN_MAX = 3
"""The most cheaper settings, and the most next best ones, that are compared with the best."""

COMPARED_RUNS = 5
"""The least runs in the search of a compared setting, for its difference to have an interval."""

ZETA_OF_3 = 1.2020569031595942
"""The sum of 1 / k³ over all k (Apéry's constant)."""

REJECTED_MAX = 10
"""After so many rejected settings no more are tried."""


def confirm(search: Search, bench: Bench) -> list[Trial]:
    """Return those of the best trials that are confirmed: the best with one objective, with several the Pareto set.

    The file's own settings are judged as well, for comparison, unless the search has given them up. With one objective
    they stay where the best gains nothing on them beyond chance.

    The best of many is partly the best by chance. So it is judged anew with seeds that the search has not seen, and the
    next best when it does not hold; and as each attempt is a chance to err, the later ones have to show more. The place
    of each trial is fixed before any fresh run, and so is how often it may err: see :func:`error_at`.
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


TRIALS = 40
REPLICATES = 20
SEED_MAX = 2**62


def tune(
    path: str | Path | Scenario,
    vary: Mapping[str, Any] | None = None,
    *,
    minimize: Sequence[str] = (),
    maximize: Sequence[str] = (),
    probability: float = 0.95,
    confidence: float = 0.95,
    trials: int = TRIALS,
    replicates: int = REPLICATES,
    seed: int | None = None,
    sets: Sequence[str] = (),
    workers: int | None = 1,
    cluster: Any = None,
    out: str | Path | None = None,
    progress: RunsProgress | None = None,
) -> Tuning:
    """Search settings of a scenario for the cheapest ones that meet its expectations with a stated probability.

    Every setting meets the same seeds, one after the other, until it is given up or others look better; see
    :func:`simulation.running.sequential_test.hopeless`. Few combinations are all tried; of many, Optuna proposes
    which ones. The best is then confirmed with seeds that the search has not seen; see
    :func:`simulation.running.sequential_test.plan`. All of it is the same for the same arguments, whichever process
    does the runs.

    Args:
        path: the scenario's file; or a scenario, as :func:`simulation.parse` returns it.
        vary: for each path into it, such as ``channels.email.retry.max_attempts``, a sequence of values, a text such as
            ``1,2,3`` or ``1..10``, or a range such as ``{"from": "100ms", "to": "10s", "scale": "log"}``. The file's
            `sweep` when None.
        minimize: metrics of the summary by path, whose means over the runs are to be small; a setting is not found if
            one is never in a run; ``requests``, the load on the providers, when there is neither this nor `maximize`.
            With several metrics in both together, the Pareto set is searched: the settings that no other beats in one
            metric while being as good in the rest.
        maximize: metrics whose means are to be large.
        probability: with which all expectations of a run are to hold, more than 0 and at most 0.999. One of a share of
            runs, such as ``{that: dlq.peak <= 100, in: 99% of runs}``, is to hold in that share instead.
        confidence: of the confirmation, from 0.5 to 0.999. With several objectives: for all found settings together.
        trials: how many settings are tried at most, at least 1, besides the file's own.
        replicates: how many seeds each of them meets at most in the search, at least 1.
        seed: the first seed, and the seed of the search's random draws; the scenario's own when None.
        sets: ``path=value`` changes to the file that hold for every setting.
        workers: how many processes share the runs; all cores when None. A script that asks for more than one is
            imported by each, so what it does belongs under ``if __name__ == "__main__":``.
        cluster: a Dask cluster that does the runs instead: the address of its scheduler, a cluster or a client. Takes
            the extra ``cluster``.
        out: a folder for the results, and for the runs that have finished; those that it has already are not done
            again. Nothing is kept when None.
        progress: called with how many runs have finished, and of how many by the current estimate; and with each
            setting that holds in all runs of the search.

    Example:
        >>> tuning = simulation.tune(
        ...     "scenarios/flapping-provider.yaml",
        ...     {"channels.sms.retry.max_attempts": [1, 3, 5]},
        ...     probability=0.5,
        ...     confidence=0.5,
        ...     replicates=2,
        ...     sets=["duration=2m", "expect=[dead_lettered == 0]"],
        ... )
        >>> tuning.best.setting.label
        'max_attempts=5'

    Raises:
        ConfigurationError: the file, a path, a value, a metric or the cluster cannot be used; all problems.
        InvariantBreach: a run broke an invariant that always holds: a bug.
        OSError: the folder cannot be written.
        Interrupted: a `KeyboardInterrupt` came; it has the result so far.
        ValueError: a number is out of its range.
        WorkerLost: a process that did runs is gone; the finished runs are kept in `out`.
    """
    with file_of(path) as file:
        check_counts(trials=trials, replicates=replicates, workers=workers)
        if not 0 < probability <= PROBABILITY_MAX:
            raise ValueError(f"wanted a probability of more than 0 and at most {PROBABILITY_MAX}, got {probability!r}")
        if not 0.5 <= confidence <= PROBABILITY_MAX:
            raise ValueError(f"wanted a confidence from 0.5 to {PROBABILITY_MAX}, got {confidence!r}")
        scenario, space, others = source(file, vary, sets, seed)
        if scenario.seed > SEED_MAX:
            raise ConfigurationError([f"seed: wanted one of at most 2^62, got {scenario.seed}"])
        wanted = goal(
            scenario, others, minimize, maximize, probability=probability, confidence=confidence, replicates=replicates
        )  # fmt: skip
        if problems := unreachable(scenario, space):
            raise ConfigurationError(problems)
        search = Search(file, sets, seed, scenario, space, wanted)
        found: list[Trial] = []
        beaten: list[Trial] = []
        bench: Bench | None = None

        def tuning(*, is_finished: bool) -> Tuning:
            seeds = (scenario.seed, scenario.seed + replicates)
            exhaustive = is_finished and search.is_exhaustive(trials)
            result = Tuning(
                file,
                search,
                found,
                beaten,
                seeds,
                sets,
                exhaustive=exhaustive,
                is_finished=is_finished,
                finished_runs=0 if bench is None else bench.finished,
            )
            if out is not None:
                save_tuning(result, out)
            return result

        if out is not None:
            check_folder(Path(out), DOCUMENT, [file])
        try:
            with executor(workers, cluster) as runs, Journal.opened(out) as journal:
                bench = Bench(runs, scenario.seed, replicates, journal, progress)
                search.run(bench, trials, expected_runs(wanted))
                found += confirm(search, bench)
                beaten += compared(search, found, bench)
                if not found:
                    closest = nearest(search.trials)
                    bench.freshly([(closest, replicates)])
                    if closest is not search.baseline and search.baseline.in_space and search.baseline.searched:
                        bench.freshly([(search.baseline, replicates)])
            return tuning(is_finished=True)
        except KeyboardInterrupt:
            raise Interrupted(tuning(is_finished=False)) from None


_QUANTILE = re.compile(r"p(\d+(?:_\d+)?)")


def unreachable(scenario: Scenario, varied: Iterable[str]) -> list[str]:
    """Return a sentence with the arithmetic for each expectation that no value of the varied settings can meet."""
    roots = ("faults", "workload", "duration", "channels.*.failover", "channels.*.fallback", "quiet_hours")
    paths = [*varied]
    if any(re.sub(r"^channels\.\w+", "channels.*", path).startswith(roots) for path in paths):
        return []
    return [
        problem for each in scenario.expect for problem in (*_late(scenario, each), *_behind(scenario, each, paths))
    ]


def _late(scenario: Scenario, expectation: Expectation) -> Iterator[str]:
    wanted = _wanted(expectation)
    if wanted is None or expectation.window is not None:
        return
    share, within_s, path = wanted
    channels = [each for each in scenario.channels_used if path[0] != "channels" or each.value == path[1]]
    if path[0] not in ("channels", "delivered_within", "delivery_time_s"):
        return
    offered = sum(_arriving(scenario, channel, 0.0, math.inf) for channel in channels)
    late = {
        (fault, channel): _arriving(scenario, channel, fault.at, fault.at + (fault.for_ or 0.0) - within_s)
        for fault in scenario.faults
        if _is_total(fault) and (fault.for_ or 0.0) > within_s
        for channel in channels
        if channel in fault.channel and scenario.channel_config(channel).fallback is None
    }
    if not offered or sum(late.values()) / offered <= 1.0 - share + 0.01:  # a hundredth is left to chance
        return
    for (fault, channel), count in late.items():
        lasts_s = fault.for_ or 0.0
        early, arrive = duration_text(lasts_s - within_s), plain_number(100 * count / offered)
        yield (
            f"expect: {expectation.text}: no setting can meet that: {arrive}% arrive in the first {early} of the "
            f"outage of {channel}, which lasts {duration_text(lasts_s)} from {instant_text(fault.at)} on: they cannot "
            f"be there within {duration_text(within_s)}"
        )


def _behind(scenario: Scenario, expectation: Expectation, varied: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each channel whose backlog of an outage takes longer than wanted at the rate that its
    provider may get, unless more of it is lost than may be."""
    path = expectation.path
    if path[0] != "faults" or path[-1] != "backlog_cleared_s" or expectation.op not in ("<=", "<"):
        return
    fault = scenario.faults[int(path[1])]
    is_simple = _is_total(fault) and not (scenario.operations or scenario.preferences or scenario.max_pending)
    for channel in scenario.channels_used if is_simple else ():
        config = scenario.channel_config(channel)
        if channel not in fault.channel or config.fallback is not None or config.redrive is not None:
            continue
        arrive = _arriving(scenario, channel, fault.at, fault.at + (fault.for_ or 0.0))
        lost, per_s, at_once = _bounds(scenario, channel, varied)
        if per_s and 0.99 * arrive - lost > per_s * expectation.value + at_once:  # a hundredth is left to chance
            yield (
                f"expect: {expectation.text}: no setting can meet that: {plain_number(round(arrive))} arrive in the "
                f"outage of {channel}, of which at most {plain_number(math.floor(lost))} may be lost; at "
                f"{plain_number(per_s)}/s, the most that its provider may get, the others take "
                f"{duration_text((arrive - lost) / per_s)}"
            )


def _bounds(scenario: Scenario, channel: NotificationChannel, varied: Sequence[str]) -> tuple[float, float, float]:
    """Return how many of a channel may be lost, how many requests a second its provider may get, by `expect` and by a
    quota that is not searched, and how many more than that at once."""
    lost = per_s = at_once = math.inf
    config = scenario.channel_config(channel)
    is_fixed = not any(re.search("quota|^accounts|^nodes$", path) for path in varied) and scenario.nodes_at_most == 1
    if config.quota is not None and config.quota.is_filled and is_fixed and not config.failover:
        limit = config.quota.limit
        per_s, at_once = limit.per_second, 2 * max(limit.count, config.quota.burst or 0)
    loses_addresses = any(each.dead_destination_rate and channel in each.channel for each in scenario.faults)
    for each in scenario.expect:
        path, is_most = tuple(each.path), each.op in ("<=", "<", "==")
        own = path[:2] == ("channels", channel.value)
        name = ".".join(path[2:] if own else path)
        if each.window is not None:
            continue
        if re.fullmatch(r"sent_fraction|delivered_within\..*", name) and each.op in (">=", ">", "=="):
            channels = (channel,) if own else scenario.channels_used
            lost = min(lost, sum(_arriving(scenario, one, 0.0, math.inf) for one in channels) * (1.0 - each.value))
        elif name == "dead_lettered" and is_most and not loses_addresses:  # what is for a gone one is suppressed
            lost = min(lost, each.value)
        elif name == "peaks.requests_per_s" and is_most and each.value < per_s:
            per_s = at_once = each.value  # one second more has begun
    return lost, per_s, at_once


def _wanted(expectation: Expectation) -> tuple[float, float, tuple[str, ...]] | None:
    path = tuple(expectation.path)
    if expectation.within_s is not None and expectation.op in (">=", ">"):
        return expectation.value, expectation.within_s, path
    found = _QUANTILE.fullmatch(path[-1])
    if len(path) > 1 and path[-2] == "delivery_time_s" and found and expectation.op in ("<=", "<"):
        return float(found[1].replace("_", ".")) / 100, expectation.value, path
    return None


def _is_total(fault: FaultConfig) -> bool:
    whole = fault.provider is None and fault.node is None and fault.host is None
    return bool(fault.outage) and whole and not fault.upstream


def _arriving(scenario: Scenario, channel: NotificationChannel, from_s: float, until_s: float) -> float:
    found = 0.0
    for entry in scenario.workload:
        if channel in entry.channels:
            count = expected_notifications(scenario, entry, until_s) - expected_notifications(scenario, entry, from_s)
            found += count / (1 if isinstance(entry, ClosedWorkload) else len(entry.channels))
    return found
