"""Contention for one row under optimistic concurrency control: the simulator of the AWS Architecture Blog."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from functools import partial
from math import sqrt
from pathlib import Path

from actors.domain.attempts import Attempt
from actors.faults.queue import Load
from actors.outcomes import Outcome, Transient
from simulation.results.result import Result
from simulation.verification.cases.case import Case, Experiment, Replicate, one_rule, scenario
from simulation.verification.cases.measures import attempts
from simulation.verification.cases.quantities import Between, Exactly, Mean, Quantity, Spread

_ROWS = csv.reader(Path(__file__).with_suffix(".csv").read_text(encoding="utf-8").splitlines()[1:])
TABLE = {(kind, int(clients)): tuple(map(float, figures)) for kind, clients, *figures in _ROWS}
"""The output of the simulator over 1000 runs (aws-samples/aws-arch-backoff-simulator @66cb169, ported from Python 2 to
3 and otherwise unchanged), by kind of backoff and number of clients: writes, their standard error, their standard
deviation; time in ticks, its standard error, its standard deviation."""

READ = Transient(reason="read")
CONFLICT = Transient(reason="conflict")

PUBLISHED_RUNS = 1000
"""The runs behind each figure of the table, from which the error of its standard deviations follows."""

EXACT = 10**9
"""In place of a number of runs, where there were none."""

# Doubling from 10 ms (5 ms · 2^1) up to 2 s; one of its ticks is a millisecond here.
BACKOFFS = {
    "None": "initial_delay: 0s",
    "Exponential": "initial_delay: 10ms, max_delay: 2s",
    "EqualJitter": "initial_delay: 10ms, max_delay: 2s, jitter: equal",
    "FullJitter": "initial_delay: 10ms, max_delay: 2s, jitter: full",
    "Decorr": "initial_delay: 5ms, max_delay: 2s, jitter: decorrelated, cap_after_draw: true",
}


class Row:
    """The row: the server's rule about reads and writes. Every other attempt of a client is the read."""

    def __init__(self) -> None:
        self._version = 0
        self._read: dict[str, int] = {}

    def __call__(self, attempt: Attempt, _now_ns: int, _load: Load) -> Outcome | None:
        name = attempt.command.notification_id
        if name not in self._read:
            self._read[name] = self._version
            return READ
        if self._read.pop(name) != self._version:
            return CONFLICT
        self._version += 1
        return None


def contention(table: Mapping[tuple[str, int], tuple[float, ...]] = TABLE, quick: Sequence[int] = (10,)) -> Case:
    cells = [(*key, figures) for key, figures in table.items()]
    return Case(
        name="contention",
        title="Exponential backoff and jitter, under contention for one row",
        source="Brooker, AWS Architecture Blog, 2015; aws-arch-backoff-simulator @66cb169, 1000 runs a figure",
        url="https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/",
        model="N clients read a version and write if it is still the same; each way over the network takes "
        "|Normal(10, 2)|. A failure rule is the row: every other attempt is the read, and a latency is the two ways "
        "until the next.",
        experiments=(*(_table_cell(kind, clients, figures, quick) for kind, clients, figures in cells), _claims(100)),
    )


def _text(kind: str, clients: int) -> str:
    # Each client's first read is one way over the network after the start; none comes to a second notification.
    return f"""
duration: 25ms
drain: 1h
workload: [{{channel: push, clients: {clients}, think: {{normal: {{mean: 10ms, sd: 2ms}}}}}}]
channels:
  push:
    circuit_breaker: {{enabled: false}}
    retry: {{max_attempts: 99999, {BACKOFFS[kind]}, per_reason: {{read: {{max_attempts: 99999, initial_delay: 0s}}}}}}
    provider: {{latency: {{normal: {{mean: 20ms, sd: {2 * sqrt(2)!r}ms}}}}}}
"""


def _table_cell(kind: str, clients: int, figures: tuple[float, ...], quick: Sequence[int]) -> Experiment:
    quantities: list[Quantity] = []
    if clients <= 2:
        quantities.append(Exactly(name="writes", target=2 * clients - 1))
    if clients == 1:
        quantities += [
            Mean(name="time, ticks", target=40.0, within=0.01, because="four ways"),
            Spread(name="sd of time", of="time, ticks", target=4.0, observations=EXACT, because="four times 2² is 4²"),
        ]
    elif figures:
        calls, calls_error, calls_sd, time, time_error, time_sd = figures
        if clients > 2:
            quantities += [
                Mean(
                    name="writes",
                    target=calls,
                    error=calls_error,
                    within=max(0.005, _as_the_table(calls, calls_error)),
                    because="0.5%, or as precise as the table",
                ),
                Spread(name="sd of writes", of="writes", target=calls_sd, observations=PUBLISHED_RUNS),
            ]
        quantities += [
            Mean(
                name="time, ticks",
                target=time,
                error=time_error,
                within=max(0.02, _as_the_table(time, time_error)),
                because="2%, or as precise as the table",
            ),
            Spread(name="sd of time", of="time, ticks", target=time_sd, observations=PUBLISHED_RUNS),
        ]
    return Experiment(
        name=f"{kind} N={clients}",
        replicate=_replicate(kind, clients),
        quantities=tuple(quantities),
        full_only=clients > 2 and clients not in quick,
    )


def _replicate(kind: str, clients: int) -> Replicate:
    return scenario(_text(kind, clients), partial(_work, clients), partial(one_rule, "push", Row))


def _as_the_table(figure: float, error: float) -> float:
    return 4.5 * error / figure


def _work(clients: int, result: Result) -> dict[str, float]:
    assert result.summary["sent"] == clients
    tried = attempts(result)
    written = 1000 * tried.started[tried.succeeded]
    # What a write that is accepted has drawn are the two ways to a next attempt, Normal(20, 2√2). There is only the way
    # back of the answer, Normal(10, 2): so much of the spread of the one is the other.
    back = 10 + (1000 * tried.ended[tried.succeeded] - written - 20) / sqrt(2)
    return {"writes": result.summary["attempts"] // 2, "time, ticks": float((written + back).max())}


def _claims(clients: int) -> Experiment:
    return Experiment(
        name=f"what the blog says, N={clients}",
        replicate=partial(_compare, clients),
        quantities=(
            Between(name="writes, full jitter to exponential", high=0.5, because="jitter more than halves the work"),
            Between(name="writes, full to equal jitter", low=0.9, high=1.1, because="about the same"),
            Between(name="writes, decorrelated to full jitter", low=1.1, because="more"),
            Between(name="time, exponential to full jitter", low=5.0, because="the clear loser"),
        ),
        pilot=10,
    )


def _compare(clients: int, seed: int) -> dict[str, float]:
    works = {kind: _replicate(kind, clients)(seed) for kind in ("Exponential", "EqualJitter", "FullJitter", "Decorr")}
    writes = {kind: work["writes"] for kind, work in works.items()}
    return {
        "writes, full jitter to exponential": writes["FullJitter"] / writes["Exponential"],
        "writes, full to equal jitter": writes["FullJitter"] / writes["EqualJitter"],
        "writes, decorrelated to full jitter": writes["Decorr"] / writes["FullJitter"],
        "time, exponential to full jitter": works["Exponential"]["time, ticks"] / works["FullJitter"]["time, ticks"],
    }


CASES = (contention(),)
