"""Many runs of scenarios, of which only some figures are wanted; in processes that share them."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeAlias

from pydantic_core import PydanticCustomError

from actors.errors import ConfigurationError, InvariantBreach
from simulation.scenario import Expectation, Scenario
from simulation.summary_shape import summary_shape

Values: TypeAlias = "list[float | None]"
"""A figure in each run, in the order of the seeds; None where it is of nothing. Or the figures of one run."""

Task: TypeAlias = "tuple[Scenario, str, int, tuple[str, ...]]"
"""A run: the scenario, what was changed in it (for people), the seed, and the paths of the figures."""


def figures_of_runs(tasks: Sequence[Task], workers: int | None) -> Iterator[Values]:
    """Yield the figures of each run, in the order of the tasks.

    Args:
        tasks: the runs.
        workers: how many processes share them, at least 1; all cores when None.

    Raises:
        InvariantBreach: a run broke a law that always holds: a bug.
    """
    workers = min(len(tasks), workers or os.cpu_count() or 1)
    if workers == 1:
        yield from map(_run, tasks)
        return
    others = set(multiprocessing.active_children())
    # Not forked: a service or a notebook that compares may have threads, which a fork would not survive.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _leave_interrupts_to_the_parent)
    try:
        yield from pool.map(_run, tasks)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    pool.shutdown()


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run(task: Task) -> Values:
    from simulation.runner import run

    scenario, changes, seed, paths = task
    try:
        summary = run(scenario, seed=seed).summary
    except InvariantBreach as breach:
        raise InvariantBreach(f"with seed {seed}{' and ' if changes else ''}{changes}: {breach}") from None
    return [figure_at(summary, path) for path in paths]


def figure_at(summary: Any, path: str) -> float | None:
    """Return the figure of a summary at a path such as ``dlq.peak``; None where it is of nothing."""
    for key in path.split("."):
        summary = summary[key]
    return None if summary is None else float(summary)


def checked_figures(paths: Sequence[str], scenarios: Sequence[Scenario], name: str) -> tuple[str, ...]:
    """Return the paths of figures, each once.

    Args:
        paths: such as ``dlq.peak``.
        scenarios: whose summaries are to have them all.
        name: of the option or the argument, for the error.

    Raises:
        ConfigurationError: one is no figure of the summary of every scenario.
    """
    shapes = [summary_shape(scenario.providers_used) for scenario in scenarios]
    problems = []
    for path in paths:
        try:
            found = [Expectation.parse(f"{path} >= 0").problem(shape) for shape in shapes]
        except PydanticCustomError:
            found = [f"wanted a figure of the summary such as sent_fraction, got {path!r}"]
        problems += [f"{name} {path}: {problem}" for problem in found if problem is not None]
    if not paths:
        problems.append(f"{name}: wanted a figure of the summary such as sent_fraction, got none")
    if problems:
        raise ConfigurationError(list(dict.fromkeys(problems)))
    return tuple(dict.fromkeys(paths))
