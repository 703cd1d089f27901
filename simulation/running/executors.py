"""Where many runs are done: in this process, several processes, or a Dask cluster. All give the same results."""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from actors.errors import ConfigurationError, InvariantBreach, WorkerLost
from actors.settings.csv_column import BYTES_MAX
from actors.settings.whole_file import read_whole
from simulation.scenario import Scenario
from simulation.scenario.arguments import check_counts
from simulation.scenario.metrics import (
    NEVER,
    NOT_METRICS,
    MetricKind,
    Outline,
    Shape,
    is_null_never,
    keys_of,
    path_of,
    summary_shape,
)
from simulation.scenario.writing import as_data

# ── what a run is known by ────────────────────────────────────────────────────────────────────────────────────────────


_SAYS_NOTHING = ("description", "seed", "expect", "limits", "sweep")
"""Keys of a scenario that change nothing in a run, and the seed, which is kept apart from it."""


def scenario_hash(scenario: Scenario) -> str:
    """Return a hash of all that decides about the runs of a scenario, but for their seed.

    It covers all its settings, the contents of its data files, wherever they lie, and the code of retrylab.

    Raises:
        OSError: a data file is not there any more.
    """
    data = {key: value for key, value in as_data(scenario).items() if key not in _SAYS_NOTHING}
    decides = json.dumps([code_hash(), _with_contents(data)], sort_keys=True)
    return hashlib.sha256(decides.encode()).hexdigest()[:32]


@cache
def code_hash() -> str:
    """Return a hash of the code of retrylab, as it is installed here."""
    hashed = hashlib.sha256()
    simulation = Path(__file__).parents[1]
    for package in (simulation.parent / "actors", simulation):
        for path in sorted(package.rglob("*.py")):
            hashed.update(f"{package.name}/{path.relative_to(package).as_posix()}\0".encode() + path.read_bytes())
    return hashed.hexdigest()


def _with_contents(data: Any) -> Any:
    """Return the plain data of a scenario with a hash of each data file in the place of its path."""
    if isinstance(data, Mapping):
        return {
            key: hashlib.sha256(read_whole(Path(value), BYTES_MAX)).hexdigest()
            if key in ("file", "empirical") and isinstance(value, str)
            else _with_contents(value)
            for key, value in data.items()
        }
    return [_with_contents(value) for value in data] if isinstance(data, list) else data


AHEAD = 3
"""Tasks that run or wait, for each worker, so that no worker is idle, and few tasks are lost when it ends."""

CONNECT_S = 10.0

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Task:
    scenario: Scenario
    seed: int
    changes: str = ""
    """The changes to the scenario, for people."""


@dataclass(frozen=True, slots=True)
class RunMetrics:
    figures: Mapping[str, float | None]
    """Every metric of the summary by its path, such as ``dlq.peak``; None where there is nothing to measure, infinite
    where it is never."""

    digest: str
    """Over the history; equal runs have equal ones."""


class Executor(ABC):
    """Does runs. It is there for the length of a ``with`` block, see :func:`executor`."""

    def run(self, tasks: Iterable[Task]) -> Generator[tuple[int, RunMetrics], None, None]:
        """Do the runs, and yield each with its place among the tasks as soon as it has finished; in any order.

        The tasks are taken as they are begun, a few ahead of the finished ones.

        Raises:
            InvariantBreach: a run broke an invariant: a bug.
            WorkerLost: a process or a node that did runs is gone.
        """
        return self.map(do, tasks)

    @abstractmethod
    def map(self, function: Callable[[T], R], arguments: Iterable[T]) -> Generator[tuple[int, R], None, None]:
        """Call a function with each argument, and yield each result, with the place of its argument, as soon as it
        arrives.

        Args:
            function: one of a module, or a `functools.partial` of one: it is sent to the process that calls it.
            arguments: its arguments; they are sent too. An iterator that has ended is asked again after each result,
                which may lead to more arguments.

        Raises:
            WorkerLost: a process or a node that did it is gone.
            Exception: whatever the function raises.
        """


def do(task: Task) -> RunMetrics:
    """Do a run in this process, and return its metrics.

    Raises:
        InvariantBreach: it broke an invariant: a bug.
    """
    summary = summary_of(task)
    return RunMetrics({path: figure_at(summary, path) for path in metric_paths(task.scenario)}, summary["digest"])


def summary_of(task: Task, **how: Any) -> dict[str, Any]:
    """Do a run in this process, with further arguments of :func:`simulation.run`, and return its summary.

    Raises:
        InvariantBreach: it broke an invariant: a bug."""
    from simulation.running.runner import run

    try:
        return run(task.scenario, seed=task.seed, **how).summary
    except InvariantBreach as breach:
        changes = f" and {task.changes}" if task.changes else ""
        raise InvariantBreach(f"with seed {task.seed}{changes}: {breach}") from None


def figure_at(summary: Any, path: str) -> float | None:
    """Return the metric of a summary at a path such as ``dlq.peak``.

    A quantile of delivery times that falls on a notification never delivered is infinite. None: there is nothing to
    measure.
    """
    above: Any = {}
    key = ""
    for key in keys_of(path):
        above, summary = summary, summary[key]
    if summary is None:
        return math.inf if is_null_never(key, above.get(NEVER)) else None
    return float(summary)


def with_never(figures: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return the metrics of a run by their paths as :func:`figure_at` has them, from a document in which null stands
    for never too."""
    return {path: math.inf if value is None and _is_never(path, figures) else value for path, value in figures.items()}


def _is_never(path: str, figures: Mapping[str, float | None]) -> bool:
    above, _, key = path.rpartition(".")
    return is_null_never(key, figures.get(f"{above}.{NEVER}"))


def metric_paths(scenario: Scenario) -> tuple[str, ...]:
    """Return the paths of all metrics in the summary of a scenario, in its order."""
    return _paths(scenario.outline)


@cache
def _paths(outline: Outline) -> tuple[str, ...]:
    return tuple(path_of(keys) for keys in _below(summary_shape(outline)))


def _below(shape: Shape, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, part in shape.items():
        if not isinstance(part, MetricKind):
            yield from _below(part, (*above, key))
        elif part not in NOT_METRICS:
            yield (*above, key)


@contextmanager
def executor(workers: int | None = 1, cluster: Any = None) -> Iterator[Executor]:
    """Give an executor of runs, for as long as the block lasts.

    Args:
        workers: how many processes share them; all cores when None. A script that asks for more than one is imported by
            each, so its own work belongs under ``if __name__ == "__main__":``.
        cluster: a Dask cluster that does them instead: its scheduler's address, a cluster, or a client of it.

    Raises:
        ConfigurationError: the cluster cannot be reached, or has no workers.
        ValueError: `workers` is less than 1.
    """
    check_counts(workers=workers)
    if cluster is not None:
        with _client(cluster) as client, client.get_executor(pure=False) as pool:
            yield _Pool(pool, sum(client.nthreads().values()), _distributed().KilledWorker)
        return
    workers = workers or os.cpu_count() or 1
    if workers == 1:
        yield _Here()
        return
    from simulation.running.process_pool import processes  # which a run in this process need not wait for

    with processes(workers) as pool:
        yield _Pool(pool, workers)


class _Here(Executor):
    def map(self, function: Callable[[T], R], arguments: Iterable[T]) -> Generator[tuple[int, R], None, None]:
        for place, argument in enumerate(arguments):
            yield place, function(argument)


class _Pool(Executor):
    """Has an executor of Python's do them, or one of Dask's, which raises an error of its own for a lost run."""

    def __init__(self, pool: Any, workers: int, lost: type[Exception] = BrokenExecutor) -> None:
        self._pool = pool
        self._workers = workers
        self._lost = lost

    def map(self, function: Callable[[T], R], arguments: Iterable[T]) -> Generator[tuple[int, R], None, None]:
        waiting = enumerate(arguments)
        places: dict[Any, int] = {}
        try:
            while True:
                for place, argument in islice(waiting, self._workers * AHEAD - len(places)):
                    places[self._pool.submit(function, argument)] = place
                if not places:
                    return
                finished, _ = wait(places, return_when=FIRST_COMPLETED)
                for future in finished:
                    yield places.pop(future), future.result()
        except BrokenExecutor:
            raise WorkerLost("a worker process ended in the middle of a run, or was killed") from None
        except (self._lost, CancelledError) as error:
            raise WorkerLost(f"the Dask cluster lost a run: {str(error).splitlines()[0]}") from None
        except KeyboardInterrupt:
            # Left to the end of the pool and its processes: one that ends while a future is cancelled by us makes the
            # thread of Python's pool fail, with a traceback (InvalidStateError, CPython until 3.12).
            places.clear()
            raise
        finally:
            for future in places:
                future.cancel()


@contextmanager
def _client(cluster: Any) -> Iterator[Any]:
    """Give a client of a Dask cluster; one that was given stays open."""
    distributed = _distributed()
    if isinstance(cluster, distributed.Client):
        _check_workers(cluster)
        yield cluster
        return
    with _silent("distributed"):  # which logs with tracebacks what it then raises
        client = distributed.Client.__new__(distributed.Client)
        try:
            client.__init__(cluster, timeout=CONNECT_S, set_as_default=False)
        except Exception as error:  # whatever is wrong with an address
            client.status = "closed"  # else it waits for what never began as it is thrown away, and complains
            if hasattr(client, "_loop_runner"):  # else it has not got so far
                client._loop_runner.stop()  # whose thread would never end
            problem = f"--dask {cluster}: wanted the address of a Dask scheduler, got: {error}"
            raise ConfigurationError([problem]) from None
        with client:
            _check_workers(client)
            yield client


@contextmanager
def _silent(logger: str) -> Iterator[None]:
    log = logging.getLogger(logger)
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(level)


def _distributed() -> Any:
    try:
        return importlib.import_module("distributed")
    except ImportError:
        raise ConfigurationError(["--dask: wanted the extra cluster: pip install 'retrylab[cluster]'"]) from None


def _check_workers(client: Any) -> None:
    """Check that there are workers, and that a run is the same on them as it would be here."""
    name = f"--dask {client.scheduler.address}"
    if not client.nthreads():
        raise ConfigurationError([f"{name}: wanted a cluster with workers, got one without"])
    try:
        code = client.run(code_hash)
    except Exception as error:  # whatever keeps a worker from importing retrylab
        raise ConfigurationError([f"{name}: wanted workers that have retrylab, got: {error}"]) from None
    others = sorted(worker for worker, theirs in code.items() if theirs != code_hash())
    if others:
        raise ConfigurationError([f"{name}: wanted workers with this version of retrylab, got another at {others[0]}"])
