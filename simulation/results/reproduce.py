"""Where a run came from, and the command that runs it again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

SERVICE = "service"
"""The runtime of :func:`simulation.run_service`."""


def shell_command(
    file: Path | str,
    seed: int,
    sets: Sequence[str] = (),
    runtime: str = "simpy",
    *,
    check: bool,
    rules: Sequence[str] = (),
    service: str | None = None,
    code: bool = False,
) -> str:
    """Return the command that runs a scenario file with these changes, ``path=value`` each, on a clock, ``simpy`` or
    ``trio``, checks all invariants or not, and takes these values of ``--rules``, ``--service`` and ``--code``."""
    words: list[Any] = ["retrylab", "run", file, "--seed", seed]
    if runtime not in ("simpy", SERVICE):
        words += ["--runtime", runtime]
    for change in sets:
        words += ["--set", change]
    for rule in rules:
        words += ["--rules", rule]
    if check:
        words.append("--check")
    if service is not None:
        words += ["--service", service]
    if code:
        words.append("--code")
    return shlex.join(map(str, words))


def python_call(scenario: Any, seed: int, *, sets: Sequence[str] = (), runtime: str = "simpy", **arguments: Any) -> str:
    """Return the call of :func:`simulation.run` that runs a scenario; a loaded scenario is called ``scenario``, and an
    argument without a name of its own is shown by its parameter's name."""
    what = repr(str(scenario)) if isinstance(scenario, (str, Path)) else "scenario"
    given = [what, f"seed={seed}"]
    given += _changes(sets)
    if runtime != "simpy":
        given.append(f"runtime={runtime!r}")
    given += [f"{name}={_shown(name, value)}" for name, value in arguments.items()]
    return f"simulation.run({', '.join(given)})"


def service_call(service: str, file: Path | str, seed: int, sets: Sequence[str], *, code: bool) -> str:
    """Return the call of :func:`simulation.run_service` that runs a service, ``module:main``, in a scenario's world."""
    given = [repr(service), repr(str(file)), f"seed={seed}"]
    return f"simulation.run_service({', '.join([*given, *_changes(sets), *(['code=True'] if code else [])])})"


def _changes(sets: Sequence[str]) -> list[str]:
    return [f"sets={list(sets)!r}"] if sets else []


def _shown(name: str, value: Any) -> str:
    if isinstance(value, (str, bool)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(repr(each) if isinstance(each, str) else _name(each) for each in value)}]"
    return name


def _name(value: Any) -> str:
    return str(getattr(value, "__name__", type(value).__name__))


class Origin(NamedTuple):
    """The inputs with which a run was started, beside its seed and its clock."""

    file: Path | None = None
    """The scenario file; None for a scenario that was made in Python."""

    sets: tuple[str, ...] = ()
    """The ``path=value`` changes to the file."""

    only_in_python: tuple[str, ...] = ()
    """The arguments of :func:`simulation.run` that cannot be said at the shell: ``rules``, ``schedule``."""

    rules: tuple[str, ...] = ()
    """The ``--rules`` at the shell, in place of such an argument."""

    service: str | None = None
    """The service that ran in the scenario's world, ``module:main``; None: it was the pipeline."""

    code: bool = False
    """Whether the code that the file names was imported."""
