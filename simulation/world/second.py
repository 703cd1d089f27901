"""Runs a service once more in other processes: a difference there comes from a cause that no one can intercept.

The order of a set follows the hashes of its texts, and the addresses of its objects. So each other process has another
seed for hashes and another heap. With the same seed a process repeats its run, where the system allows that addresses
are not randomised.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

from actors.errors import ConfigurationError
from simulation.scenario import Scenario
from simulation.scenario.loading import given
from simulation.world.escape import ServiceFailed
from simulation.world.run import Main, ServiceResult, check, outcome_of, run_here
from simulation.world.traffic import Row

_ADDR_NO_RANDOMIZE: Final = 0x0040000
_SIZE_CLASSES: Final = range(16, 513, 16)
_BALLAST_MAX: Final = 200
_HEADER: Final = sys.getsizeof(b"")


class Difference(NamedTuple):
    """The first request at which two runs of the same seed differ."""

    number: int
    """Of the request, from 1, in the order in which they ended."""
    first: Row | None
    """As it was in the first run; None: that had no such request."""
    other: Row | None
    hash_seed: int
    """Of the other run: with it, :func:`run_apart` repeats that run."""

    def __str__(self) -> str:
        return (
            f"request {self.number} differs in a process with PYTHONHASHSEED={self.hash_seed}: {_shown(self.first)}, "
            f"there {_shown(self.other)}. The service depends on the order of a set, or on addresses"
        )


def _shown(row: Row | None) -> str:
    if row is None:
        return "none"
    request = f"{row.method} {row.host}{row.path} with a body of SHA-256 {row.body_sha256}"
    return f"{request} at {row.at_s:.6f} s, answered {row.answer} at {row.ended_s:.6f} s"


def first_difference(
    main: Main, scenario: str | Path | Scenario, *, processes: int = 3, at_once: int = 2, **options: Any
) -> Difference | None:
    """Return the first difference that :func:`run_with_others` finds."""
    return run_with_others(main, scenario, processes=processes, at_once=at_once, **options)[1]


def run_with_others(
    main: Main, scenario: str | Path | Scenario, *, processes: int = 3, at_once: int = 2, **options: Any
) -> tuple[ServiceResult, Difference | None]:
    """Run a service in one process and in others; return the result, and the first request that differs, if one does.

    A set of two objects in one place keeps its order in a process in half of the cases, so three find it in seven of
    eight.

    Args:
        main: as :func:`simulation.run_service` has it; a function has to be one of a module.
        scenario: likewise.
        processes: the number of other processes.
        at_once: how many run at a time.
        options: the further arguments of :func:`simulation.run_service`.

    Raises:
        ConfigurationError: the scenario cannot be used, or a function is not one of a module.
        Escape: the service left its world.
        ServiceFailed: the service raised.
    """
    with ThreadPoolExecutor(at_once) as pool:
        first, *others = pool.map(
            lambda seed: run_apart(main, scenario, hash_seed=seed, **options), range(processes + 1)
        )
    for hash_seed, other in enumerate(others, 1):
        if other.summary["digest"] != first.summary["digest"]:
            return first, _difference(first.rows, other.rows, hash_seed)
    return first, None


def _difference(first: Sequence[Row], other: Sequence[Row], hash_seed: int) -> Difference:
    for number, (one, two) in enumerate(zip(first, other, strict=False)):
        if one != two:
            return Difference(number + 1, one, two, hash_seed)
    number = min(len(first), len(other))
    rest = [rows[number] if len(rows) > number else None for rows in (first, other)]
    return Difference(number + 1, rest[0], rest[1], hash_seed)


def run_apart(main: Main, scenario: str | Path | Scenario, *, hash_seed: int = 0, **options: Any) -> ServiceResult:
    """Run a service in a new process with a seed for hashes; the same seed gives the same run.

    Each seed but 0 has a heap of its own. Addresses are not randomised where the system allows that; elsewhere a run
    that depends on them does not repeat.
    """
    scenario = given(scenario, options.pop("sets", ()), options.pop("seed", None))
    calls, answers = options.pop("calls", None), options.pop("answers", None) or {}
    check(scenario, answers, **options)
    result = apart(hash_seed, run_here, *by_names(main, calls, answers, scenario))
    assert isinstance(result, ServiceResult)
    return result


def by_names(main: Main, calls: Any, answers: Mapping[str, Any], scenario: Scenario) -> tuple[Any, ...]:
    """Return main, scenario, calls and answers with the names of their functions, for another process.

    Raises:
        ConfigurationError: a function is not one of a module.
    """
    named = {host: _named(each) for host, each in answers.items()}
    return _named(main), scenario, calls and _named(calls), named


def apart(hash_seed: int, function: Callable[..., Any], *args: Any) -> Any:
    """Call a function in a new process with a seed for hashes, and return its result or raise its error."""
    # A process that reads compiled code has another heap than the one that has compiled it.
    own = {"PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.run(
        [sys.executable, "-c", "from simulation.world.second import serve; serve()"],
        input=pickle.dumps((hash_seed, sys.path, function, args)),
        stdout=subprocess.PIPE,
        env=os.environ | own,
        preexec_fn=_keep_addresses if sys.platform == "linux" else None,
        check=False,
    )
    if not process.stdout:
        raise ServiceFailed(f"the process of the service ended without a result, with status {process.returncode}")
    result = pickle.loads(process.stdout)
    if isinstance(result, BaseException):
        raise result
    return result


def _named(function: Any) -> str:
    if isinstance(function, str):
        return function
    name = f"{function.__module__}:{function.__qualname__}"
    if "<locals>" in name:
        raise ConfigurationError([f"{name}: wanted a function of a module, which another process can import"])
    return name


def _keep_addresses() -> None:
    ctypes.CDLL(None).personality(_ADDR_NO_RANDOMIZE)


def serve() -> None:
    """Call the function that the parent process sends, and write its result to the standard output."""
    hash_seed, sys.path[:], function, args = pickle.load(sys.stdin.buffer)
    ballast = _ballast(hash_seed)
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # what the service prints is no result
        out.write(outcome_of(lambda: function(*args)))
    del ballast


def _ballast(seed: int) -> list[bytes]:
    """Fill the allocator's pools to other degrees, so that objects get other addresses, and leave holes."""
    draw = random.Random(seed)
    counts = [draw.randrange(_BALLAST_MAX) if seed else 0 for _ in _SIZE_CLASSES]
    filled = [
        bytes(max(size - _HEADER, 1)) for size, count in zip(_SIZE_CLASSES, counts, strict=True) for _ in range(count)
    ]
    return [each for each in filled if draw.random() < 0.5]
