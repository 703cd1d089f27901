"""The commands, the packages that each needs, and the exit codes: known before a command is imported."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from importlib.util import find_spec
from typing import NamedTuple


class Exit(IntEnum):
    HOLDS = 0
    DOES_NOT_HOLD = 1
    BAD_INPUT = 2
    INVARIANT_BROKEN = 3
    WORKER_LOST = 4
    INTERRUPTED = 130
    NO_ONE_READS = 141
    """The reader of the output has gone, as ``head`` does: a shell's code for SIGPIPE."""


class Command(NamedTuple):
    module: str
    """In which it has the name that it has at the shell."""
    extra: str
    packages: tuple[str, ...]
    """The packages of the extra, by their import names, without which the command does not even start."""


_SHELL = ("rich", "typer")
_SIMULATE = (*_SHELL, "simpy")
_ONLY_LAB = ("matplotlib", "numpy", "optuna", "pandas", "pyarrow", "scipy")
_LAB = (*_SIMULATE, *_ONLY_LAB)
_WORLD = (*_SIMULATE, "h11", "time_machine", "trustme")
_SERVICE = (*_SHELL, "h11", "httpx2", "prometheus_client", "starlette")

COMMANDS = {
    "run": Command("simulation.commands.run", "simulate", _SIMULATE),
    "lint": Command("simulation.commands.lint", "simulate", _SIMULATE),
    "import": Command("simulation.commands.import_files", "simulate", _SIMULATE),
    "export": Command("simulation.commands.export", "simulate", _SIMULATE),
    "explain": Command("simulation.commands.explain", "simulate", _SIMULATE),
    "plot": Command("simulation.commands.plot", "lab", _LAB),
    "incidents": Command("simulation.commands.incidents", "simulate", _SIMULATE),
    "compare": Command("simulation.commands.compare", "lab", _LAB),
    "sweep": Command("simulation.commands.sweep", "lab", _LAB),
    "limits": Command("simulation.commands.limits", "simulate", _SIMULATE),
    "tune": Command("simulation.commands.tune", "lab", _LAB),
    "explore": Command("simulation.commands.explore", "simulate", _SIMULATE),
    "fit": Command("simulation.commands.fit", "lab", _LAB),
    "whatif": Command("simulation.commands.whatif", "lab", _LAB),
    "replay": Command("simulation.commands.replay", "lab", _LAB),
    "studio": Command("simulation.commands.studio", "studio", (*_LAB, "h11", "starlette")),
    "validate": Command("simulation.commands.validate", "lab", _LAB),
    "schema": Command("simulation.commands.schema", "simulate", _SHELL),
    "serve": Command("simulation.commands.serve", "service", _SERVICE),
    "dlq": Command("simulation.commands.dlq", "service", _SHELL),
}
"""In the order in which the help lists them: run, choose settings, find what breaks, use real logs, operate."""


def missing(name: str | None) -> str | None:
    """Return the error for a command that cannot start here, or for the help where None; None where it can."""
    extra, packages = ("simulate", _SHELL) if name is None else COMMANDS[name][1:]
    return _said(f"retrylab{'' if name is None else f' {name}'}", extra, packages)


def missing_for_option(option: str) -> str | None:
    """Return the error for an option such as ``run --out`` that needs a missing extra; None: nothing is missing."""
    extra, packages = ("world", _WORLD) if option.endswith(" --service") else ("lab", _LAB)
    return _said(f"retrylab {option}", extra, packages)


def missing_module(name: str | None, error: ModuleNotFoundError) -> str | None:
    """Return the error for a command that stopped at a missing package of the lab; None: another package is missing."""
    package = str(error.name).partition(".")[0]
    return _said(f"retrylab {name}, as it is asked for here,", "lab", (package,)) if package in _ONLY_LAB else None


def _said(what: str, extra: str, packages: Iterable[str]) -> str | None:
    lacking = next((package for package in packages if not find_spec(package)), None)
    if lacking is None:
        return None
    return f"{what} needs {lacking}, of the extra {extra}: pip install 'retrylab[{extra}]'"


def version_line() -> str:
    from importlib.metadata import version

    return f"retrylab {version('retrylab')}"
