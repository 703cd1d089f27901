"""How to repeat a run."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

from simulation.results.reproduce import python_call, service_call, shell_command

if TYPE_CHECKING:
    from simulation.results.result import Result

UNSAVED = "scenario.yaml"
"""The file name for a scenario that was made in Python."""


LIVE = "live"
"""The runtime of :func:`simulation.run_live`."""


class Reproduction(NamedTuple):
    shell: str | None
    """The command; None where a part of the run can be given in Python only."""

    saved_as: str | None
    """The file into which the scenario has to be saved first; None where there is one."""

    only_in_python: tuple[str, ...]
    was_live: bool
    """Whether it ran in real time, which cannot be repeated; the command and the call then simulate it."""

    python: str
    retrylab: str
    """The version."""

    python_version: str
    digest: str


def reproduction(result: Result) -> Reproduction:
    summary, origin = result.summary, result.origin
    was_live = summary["runtime"] == LIVE
    seed, runtime = summary["seed"], "simpy" if was_live else summary["runtime"]
    file = UNSAVED if origin.file is None else origin.file
    checks: dict[str, Any] = {"invariants": "all"} if result.checked else {}
    made_in_python = dict.fromkeys(origin.only_in_python)
    if origin.service is not None:
        call = service_call(origin.service, file, seed, origin.sets, code=origin.code)
    else:
        checks |= {"code": True} if origin.code else {}
        call = python_call(file, seed, sets=origin.sets, runtime=runtime, **made_in_python, **checks)
    how: dict[str, Any] = {"rules": origin.rules, "service": origin.service, "code": origin.code}
    shell = shell_command(file, seed, origin.sets, runtime, check=bool(result.checked), **how)
    only_in_python = tuple(name for name in origin.only_in_python if name != "rules" or not origin.rules)
    return Reproduction(
        shell=None if only_in_python else shell,
        saved_as=UNSAVED if origin.file is None else None,
        only_in_python=only_in_python,
        was_live=was_live,
        python=f"import simulation\n\nresult = {call}",
        retrylab=version("retrylab"),
        python_version=platform.python_version(),
        digest=summary["digest"],
    )
