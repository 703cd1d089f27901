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
from simulation.experiments.sweeping.journal import Journal
from simulation.experiments.tuning.confirmation import compared, confirm, expected_runs
from simulation.experiments.tuning.goal import PROBABILITY_MAX as PROBABILITY_MAX, goal
from simulation.experiments.tuning.report import save_tuning
from simulation.experiments.tuning.search import Search, source
from simulation.experiments.tuning.trial import Bench, Trial, nearest
from simulation.experiments.tuning.tuning import DOCUMENT, Tuning
from simulation.results.files import check_folder
from simulation.results.progress import Interrupted, RunsProgress
from simulation.running.executors import executor
from simulation.scenario import ClosedWorkload, Expectation, Scenario
from simulation.scenario.arguments import check_counts
from simulation.scenario.expected_arrivals import expected_notifications
from simulation.scenario.writing import file_of

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
            ``1,2,3`` or ``1..10``, or a range such as ``{"from": "100ms", "to": "10s", "scale": "log"}``. What the
            file's `sweep` says when None.
        minimize: metrics of the summary by path, whose means over the runs are to be small, and that are never in none
            of them, for then a setting is not found; ``requests``, the load on
            the providers, when there is neither this nor `maximize`. With several metrics in both together, the Pareto
            set is searched: those settings that no other is better than in one metric and as good in the rest.
        maximize: metrics whose means are to be large.
        probability: with which all expectations of a run are to hold, more than 0 and at most 0.999. One of a share of
            runs, such as ``{that: dlq.peak <= 100, in: 99% of runs}``, is to hold in that share instead.
        confidence: with which that is to be shown, from 0.5 to 0.999. With several objectives: of all settings that are
            found together.
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
    for each in scenario.expect:
        path, is_most = tuple(each.path), each.op in ("<=", "<", "==")
        own = path[:2] == ("channels", channel.value)
        name = ".".join(path[2:] if own else path)
        if each.window is not None:
            continue
        if re.fullmatch(r"sent_fraction|delivered_within\..*", name) and each.op in (">=", ">", "=="):
            channels = (channel,) if own else scenario.channels_used
            lost = min(lost, sum(_arriving(scenario, one, 0.0, math.inf) for one in channels) * (1.0 - each.value))
        elif name == "dead_lettered" and is_most:
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
