"""Some metrics of many runs, in the order of the runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from pydantic_core import PydanticCustomError

from actors.errors import ConfigurationError
from simulation.running.executors import Task, executor
from simulation.scenario import Expectation, Scenario
from simulation.scenario.arguments import check_texts
from simulation.scenario.metrics import WINDOWS, MetricKind, keys_of, metric_kind, path_of, summary_shape

Values: TypeAlias = "list[float | None]"
"""A metric in each run, in the order of the seeds; None where there is nothing to measure, infinite where it is never.
Or the metrics of one run."""


def figures_of_runs(
    tasks: Sequence[Task], paths: Sequence[str], workers: int | None, progress: Callable[[int, int], None] | None = None
) -> list[Values]:
    """Return the metrics of each run at these paths, in the order of the tasks.

    Raises:
        InvariantBreach: a run broke an invariant: a bug.
        ValueError: `workers` is less than 1."""
    rows: dict[int, Values] = {}
    with executor(min(len(tasks), workers) if workers else workers) as runs:
        for place, run in runs.run(tasks):
            rows[place] = [run.figures[path] for path in paths]
            if progress is not None:
                progress(len(rows), len(tasks))
    return [rows[place] for place in range(len(tasks))]


def checked_metrics(paths: Sequence[str], scenarios: Sequence[Scenario], name: str) -> tuple[str, ...]:
    """Return the paths of metrics, such as ``dlq.peak``, that the summaries of all scenarios have, each once.

    Raises:
        ConfigurationError: it is no list of paths, or one is no metric of the summary of every scenario."""
    check_texts(name, paths, "sent_fraction")
    shapes = [summary_shape(scenario.outline) for scenario in scenarios]
    problems = []
    known = []
    for path in paths:
        try:
            metric = _metric(path)
            found = [metric.problem(shape) for shape in shapes]
            known.append(path_of(metric.path))  # delivered_within(60s) is delivered_within(1m)
        except PydanticCustomError:
            found = [f"wanted a metric of the summary such as sent_fraction, got {path!r}"]
        problems += [f"{name} {path}: {problem}" for problem in found if problem is not None]
    if not paths:
        problems.append(f"{name}: wanted a metric of the summary such as sent_fraction, got none")
    if problems:
        raise ConfigurationError(list(dict.fromkeys(problems)))
    return tuple(dict.fromkeys(known))


def _metric(path: str) -> Expectation:
    keys = keys_of(path)
    of = 2 if keys[:1] == [WINDOWS] else 0
    metric = Expectation.parse(f"{path_of(keys[of:])} >= 0")
    return replace(metric, path=(*keys[:of], *metric.path))


def kinds_of_metrics(paths: Sequence[str], scenarios: Sequence[Scenario], name: str) -> dict[str, MetricKind]:
    """Return the paths of metrics, each once, and the kind of each, which one of the scenarios has at least.

    Raises:
        ConfigurationError: one is a metric of none of the summaries; all problems."""
    unlike = list({scenario.outline: scenario for scenario in scenarios}.values())
    kinds: dict[str, MetricKind] = {}
    problems: list[str] = []
    for path in paths:
        found: list[str] = []
        for scenario in unlike:
            try:
                (known,) = checked_metrics([path], [scenario], name)
            except ConfigurationError as error:
                found += error.problems
            else:
                kinds[known] = metric_kind(scenario.outline, known)
                break
        else:
            problems += found
    if problems:
        raise ConfigurationError(list(dict.fromkeys(problems)))
    return kinds
