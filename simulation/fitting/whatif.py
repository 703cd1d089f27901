"""``simulation.whatif``: recorded attempts replayed by time under other policies.

The recorded first attempts arrive at their instants, or at those of their requests if the log has these. Each attempt
has an outcome that was recorded about then (`RecordedProvider`). The policies of a scenario react to it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from actors.domain.attempts import Attempt, Provider
from actors.errors import ConfigurationError
from actors.faults.build import enforced_quotas, unreliable_providers
from actors.faults.conditions import NEVER_NS
from actors.formatting import counted
from actors.kernel.effects import Foreseen
from actors.kernel.randomness import RandomStreams
from actors.messages import NotificationChannel, Priority
from actors.outcomes import ChannelFault, DeadDestination, Outcome, Permanent, Sent, Transient
from simulation.fitting.log import AttemptLog, Floats, OutcomeKind
from simulation.fitting.reading import Columns, Unit, read_log
from simulation.results.formatting import line, seeds_text
from simulation.results.progress import Interrupted
from simulation.results.result import Result
from simulation.results.statistics import student_t
from simulation.running.memory import left
from simulation.running.runner import RunPlan, build, recorder_of
from simulation.scenario import ChannelWorkload, Scenario, load
from simulation.scenario.arguments import check_counts, seeds_of
from simulation.scenario.arrivals import Arrivals
from simulation.scenario.run_size import log_size, size_of_runs

NEIGHBOURS = 10
"""About how many recorded attempts are candidates for each outcome, at the mean rate of the record."""

_OUTCOMES: dict[OutcomeKind, Outcome] = {
    OutcomeKind.SENT: Sent(),
    OutcomeKind.TRANSIENT: Transient(reason="recorded failure"),
    OutcomeKind.THROTTLED: Transient(reason="recorded throttling", throttled=True),
    OutcomeKind.PERMANENT: Permanent(reason="recorded permanent failure"),
    OutcomeKind.DEAD_DESTINATION: DeadDestination(reason="recorded dead destination"),
    OutcomeKind.CHANNEL_FAULT: ChannelFault(reason="recorded channel fault"),
}


def usual_width_s(log: AttemptLog) -> float:
    """Return half the time in which a record has ten attempts on average, in seconds."""
    return NEIGHBOURS / 2.0 * log.duration_s / max(len(log), 1)


class RecordedProvider(Provider):
    """Replays the attempts at one provider. It goes by the clock of its system from 0 on, and is good for one run.

    An attempt at instant t ends as one of the recorded attempts that started within so many seconds of t, each equally
    likely, with its outcome and its latency. Where the record is thinner, it is one within twice the distance of the
    nearest, and before the record's beginning or after its end one of those there. That is a kernel estimate of the
    provider at t. Taking always the nearest would give all attempts at about one instant the same outcome; a wide
    window would let an outage leak out at its ends.
    """

    outcomes_are_plain = True

    def __init__(self, log: AttemptLog, random: Random, within_s: float | None = None) -> None:
        """Make a provider of a record.

        Args:
            log: at least one attempt, with outcomes.
            random: its random stream.
            within_s: the most seconds between an attempt and the recorded ones that it may end as; at least 0. None:
                :func:`usual_width_s`.
        """
        usual = float(np.nanmedian(log.latency_s)) if np.isfinite(log.latency_s).any() else 0.0
        self._start_s = log.start_s
        self._latency_ns = np.round(np.where(np.isfinite(log.latency_s), log.latency_s, usual) * 1e9).astype(np.int64)
        self._kind = log.kind
        self._within_s = usual_width_s(log) if within_s is None else within_s
        self._draw = random.random

    def attempt(self, attempt: Attempt, now_ns: int) -> Foreseen:
        """Return the outcome of an attempt that starts now, and after how long it comes."""
        index = self._chosen(now_ns / 1e9)
        kind = OutcomeKind(self._kind[index])
        if kind == OutcomeKind.AMBIGUOUS:
            return Foreseen(NEVER_NS, _OUTCOMES[OutcomeKind.SENT])  # longer than the sender waited: it times out again
        return Foreseen(int(self._latency_ns[index]), _OUTCOMES[kind])

    def _chosen(self, now_s: float) -> int:
        start_s, within_s = self._start_s, self._within_s
        # Not at the very ends, where there would be few to draw from, the same ones again and again.
        now_s = min(max(now_s, start_s[0] + within_s), max(start_s[-1] - within_s, start_s[0]))
        after = int(np.searchsorted(start_s, now_s))
        nearest_s = min(abs(float(start_s[i]) - now_s) for i in (after - 1, after) if 0 <= i < len(start_s))
        reach_s = max(within_s, 2.0 * nearest_s)
        first = int(np.searchsorted(start_s, now_s - reach_s, side="left"))
        beyond = int(np.searchsorted(start_s, now_s + reach_s, side="right"))
        return first + int(self._draw() * (beyond - first))


if TYPE_CHECKING:
    import pandas as pd

REPLICATES = 5

METRICS = ("notifications", "attempts", "failures", "retry_amplification", "sent_fraction", "p50_s", "p99_s", "max_s")
"""The metrics that are compared: counts, attempts a notification, the share that was sent at last, and the times from
arrival until then in seconds."""


@dataclass(frozen=True)
class Replayed:
    """One metric, of the record and of its replays."""

    recorded: float | None
    """None: there is no value, such as the time of a notification that was never sent."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float | None:
        return math.fsum(self.values) / len(self.values) if self.values else None

    @property
    def half_width(self) -> float | None:
        """The half-width in which 95 of 100 further replays lie around the mean, if normal; None: too few replays."""
        count = len(self.values)
        if count < 2:
            return None
        return student_t(0.975, count - 1) * float(np.std(self.values, ddof=1)) * math.sqrt(1.0 + 1.0 / count)

    @property
    def difference(self) -> float | None:
        mean = self.mean
        return None if mean is None or self.recorded is None else mean - self.recorded


@dataclass(frozen=True, eq=False)
class WhatIf:
    scenario: Scenario
    """The scenario of the replays: the policies of the file, the arrivals of the record."""

    seeds: tuple[int, ...]
    log: AttemptLog
    channels: dict[str, dict[str, Replayed]]
    """The metrics by channel, and in it by name as :data:`METRICS` has them."""

    notes: tuple[str, ...]

    def __repr__(self) -> str:
        facts = [seeds_text(self.seeds), counted(len(self.log), "attempt"), *self.channels]
        return line("WhatIf", self.scenario.name, facts)

    @property
    def document(self) -> dict[str, Any]:
        """All metrics as plain data, for ``--json``."""
        return {
            "scenario": self.scenario.name,
            "log": self.log.source,
            "seeds": list(self.seeds),
            "channels": {
                channel: {
                    name: {
                        "recorded": metric.recorded,
                        "replayed": metric.mean,
                        "half_width": metric.half_width,
                        "difference": metric.difference,
                        "values": list(metric.values),
                    }
                    for name, metric in metrics.items()
                }
                for channel, metrics in self.channels.items()
            },
            "notes": list(self.notes),
        }


def whatif(
    source: str | Path | pd.DataFrame,
    scenario: str | Path | Scenario,
    *,
    sets: Sequence[str] = (),
    seed: int | None = None,
    replicates: int = REPLICATES,
    within: float | None = None,
    time: str | None = None,
    latency: str | None = None,
    outcome: str | None = None,
    latency_unit: Unit | None = None,
    outcome_map: Mapping[str, Any] | None = None,
    channel: str | None = None,
) -> WhatIf:
    """Replay a log of attempts under the policies of a scenario.

    Only the channels of the scenario count, without their simulated providers; not its workload, faults and
    expectations.

    Args:
        source: the log, as for :func:`simulation.fit`; it must have outcomes.
        scenario: a file, or a scenario that has been loaded.
        sets: ``path=value`` changes to the file.
        seed: the first of the seeds, in place of the scenario's own.
        replicates: how often it is replayed, with one seed after the other; at least 1.
        within: an attempt ends as one of the attempts recorded within so many seconds of it; at least 0. None: half the
            time in which the record has ten.
        time: column, as the following ones are: see :func:`simulation.fit`.
        latency: column.
        outcome: column.
        latency_unit: of the latency.
        outcome_map: the meanings of words.
        channel: look at this channel alone, or the name of the log's channel.

    Example:
        >>> file = "scenarios/flapping-provider.yaml"
        >>> log = simulation.run(file, sets=["duration=2m"]).attempts
        >>> replayed = simulation.whatif(log, file, sets=["channels.sms.retry.max_attempts=1"], replicates=2)
        >>> round(replayed.channels["sms"]["sent_fraction"].mean, 3)
        0.997

    Raises:
        ConfigurationError: the log or the scenario cannot be used; all their problems.
        ValueError: arguments that do not go together.
    """
    if sets and isinstance(scenario, Scenario):
        raise ValueError("sets: wanted a file to change, got a scenario that is loaded already")
    check_counts(replicates=replicates)
    if within is not None and not (isinstance(within, (int, float)) and within >= 0):
        raise ValueError(f"wanted within as seconds, a number of at least 0, got {within!r}")
    columns = Columns(
        time=time, latency=latency, outcome=outcome, latency_unit=latency_unit, outcome_map=outcome_map, channel=channel
    )
    policies, log = _both(scenario, sets, source, columns)
    seeds = tuple(seeds_of(policies.seed if seed is None else seed, replicates))
    replayed = _scenario(policies, log)
    log_size(policies.name, size_of_runs([replayed], replicates, 1), left)
    runs: list[dict[str, dict[str, float | None]]] = []
    try:
        for each in seeds:
            runs.append(_metrics_of_run(_replay(replayed.model_copy(update={"seed": each}), log, within), log))
    except KeyboardInterrupt:
        if not runs:
            raise
        raise Interrupted(_whatif(replayed, seeds[: len(runs)], log, runs, policies)) from None
    return _whatif(replayed, seeds, log, runs, policies)


def _whatif(
    replayed: Scenario,
    seeds: tuple[int, ...],
    log: AttemptLog,
    runs: Sequence[Mapping[str, Mapping[str, float | None]]],
    policies: Scenario,
) -> WhatIf:
    channels = {}
    for name in dict.fromkeys(log.channel.tolist()):
        recorded = _metrics_of_log(log.where(log.channel == name))
        channels[name] = {
            metric: Replayed(recorded[metric], tuple(value for run in runs if (value := run[name][metric]) is not None))
            for metric in METRICS
        }
    return WhatIf(replayed, seeds, log, channels, (*log.notes, *_notes(log, policies)))


def _both(
    scenario: str | Path | Scenario, sets: Sequence[str], source: str | Path | pd.DataFrame, columns: Columns
) -> tuple[Scenario, AttemptLog]:
    """Return the policies and the log; the problems of both come together."""
    problems: list[str] = []
    policies = log = None
    try:
        policies = scenario if isinstance(scenario, Scenario) else load(scenario, sets=sets)
    except ConfigurationError as error:
        problems += error.problems
    try:
        log = _checked(read_log(source, columns))
    except ConfigurationError as error:
        problems += error.problems
    if policies is None or log is None:
        raise ConfigurationError(problems)
    return policies, log


def _checked(log: AttemptLog) -> AttemptLog:
    if not len(log):
        raise ConfigurationError([f"{log.source}: wanted at least one attempt, got none"])
    if not log.has_outcomes:
        raise ConfigurationError(
            [f"{log.source}: wanted a column with outcomes to replay (or --outcome NAME), got none"]
        )
    return log


def _notes(log: AttemptLog, policies: Scenario) -> list[str]:
    notes = []
    if not log.knows_notifications:
        notes.append("no column says which attempts are of one notification: each counts as an arrival, retries too")
    used = {str(channel) for channel in policies.channels_used}
    for channel in dict.fromkeys(log.channel.tolist()):
        if channel not in used:
            notes.append(f"{policies.name} says nothing of {channel}: it has the defaults")
    others = sorted(used & {str(c) for c in _reachable(policies, log)} - set(log.channel.tolist()))
    if others:
        notes.append(f"nothing is recorded of {', '.join(others)}: what falls back there meets the simulated provider")
    return notes


def _reachable(policies: Scenario, log: AttemptLog) -> set[NotificationChannel]:
    found: set[NotificationChannel] = set()
    todo = [NotificationChannel(name) for name in dict.fromkeys(log.channel.tolist())]
    while todo:
        fallback = policies.channel_config(todo.pop()).fallback
        if fallback is not None and fallback.channel not in found:
            found.add(fallback.channel)
            todo.append(fallback.channel)
    return found


def _scenario(policies: Scenario, log: AttemptLog) -> Scenario:
    workload = []
    for name in dict.fromkeys(log.channel.tolist()):
        for priority in log.classes(name):
            times = log.arrivals_s(name, priority)
            if len(times):
                arrivals = Arrivals.model_construct(times=tuple(times.tolist()))
                entry = ChannelWorkload.model_construct(channel=NotificationChannel(name), arrivals=arrivals)
                workload.append(
                    entry if priority == Priority.NORMAL else entry.model_copy(update={"priority": priority})
                )
    if not workload:
        raise ConfigurationError([f"{log.source}: wanted at least one first attempt, got none"])
    return policies.model_copy(
        update={
            "workload": tuple(workload),
            "duration": log.duration_s + 1.0,
            "faults": (),
            "expect": (),
            "operations": (),
            "sweep": None,
            "schedule": None,
            "record": "full",
        }
    )


def _replay(scenario: Scenario, log: AttemptLog, within: float | None) -> Result:
    from simulation.engine.system import SimulatedSystem

    plan = RunPlan(scenario, recorder_of(scenario))
    with SimulatedSystem(**plan.system_options()) as system:
        build(system, replace(plan, providers=_providers(scenario, log, system.streams, within)))
        system.run(until_ns=plan.end_ns)
        simulated_ns = system.now_ns
    plan.recorder.end()
    return Result(scenario, "simpy", plan.recorder, simulated_ns)


def _providers(
    scenario: Scenario, log: AttemptLog, streams: RandomStreams, within: float | None
) -> dict[NotificationChannel, dict[str, Provider]]:
    """Return the record's providers; a channel without a record has the providers of the scenario."""
    found: dict[NotificationChannel, dict[str, Provider]] = {}
    accounts = enforced_quotas(scenario.accounts)
    for channel in scenario.channels_used:
        config = scenario.channel_config(channel)
        of_channel = log.where(log.channel == str(channel))
        if not len(of_channel):
            found[channel] = dict(unreliable_providers(channel, config, (), streams, accounts=accounts))
            continue
        names = set(of_channel.provider.tolist())
        found[channel] = {
            name: RecordedProvider(
                of_channel.of(str(channel), name) if name in names else of_channel,
                streams.stream(f"{channel}.{name}.record"),
                within,
            )
            for name in config.by_provider()
        }
    return found


def _metrics_of_log(log: AttemptLog) -> dict[str, float | None]:
    """Return the metrics of the record; a notification arrives with its first attempt."""
    count = int(log.first.sum()) if not log.knows_notifications else len(np.unique(log.notification))
    numbers, at = np.unique(log.notification, return_inverse=True)
    arrived = np.full(len(numbers), np.inf)
    np.minimum.at(arrived, at, log.arrived_s)
    sent = log.kind == OutcomeKind.SENT
    ended = np.full(len(numbers), np.inf)
    np.minimum.at(ended, at[sent], log.start_s[sent] + np.nan_to_num(log.latency_s[sent]))
    times = (ended - arrived)[np.isfinite(ended)]
    channels = set(log.channel.tolist())
    count += sum(len(at_s) for (name, _), at_s in log.unasked_s.items() if name in channels)
    return _metrics(count, len(log), int((~sent).sum()), times)


def _metrics_of_run(result: Result, log: AttemptLog) -> dict[str, dict[str, float | None]]:
    notifications, attempts = result.notifications, result.attempts
    attempts = attempts[~attempts["refused"]]
    metrics = {}
    for name in dict.fromkeys(log.channel.tolist()):
        of_channel = notifications[notifications["channel"] == name]
        sent = of_channel[of_channel["outcome"] == "sent"]
        times = (sent["finished_at_s"] - sent["requested_at_s"]).to_numpy(dtype="float64")
        made = attempts[attempts["channel"] == name]
        metrics[name] = _metrics(len(of_channel), len(made), int((made["outcome"] != "sent").sum()), times)
    return metrics


def _metrics(notifications: int, attempts: int, failures: int, times_s: Floats) -> dict[str, float | None]:
    p50, p99, most = (float(np.quantile(times_s, q)) if len(times_s) else None for q in (0.5, 0.99, 1.0))
    return {
        "notifications": float(notifications),
        "attempts": float(attempts),
        "failures": float(failures),
        "retry_amplification": attempts / notifications if notifications else None,
        "sent_fraction": len(times_s) / notifications if notifications else None,
        "p50_s": p50,
        "p99_s": p99,
        "max_s": most,
    }


__all__ = ["METRICS", "Replayed", "WhatIf", "whatif"]
