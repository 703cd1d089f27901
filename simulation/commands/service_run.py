"""The option ``--service`` of ``run`` and ``explore``: a trio service in the world of a scenario."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from simulation.commands.shared import Exit, import_from_here, refuse, say

if TYPE_CHECKING:
    from simulation.scenario import Scenario
    from simulation.world.run import ServiceResult


def run_in_world(
    service: str, file: Path, scenario: Scenario, *, code: bool, check: bool, quiet: bool
) -> tuple[ServiceResult, bool]:
    """Run a service, print the requests that its providers saw, unless `quiet`, and the findings; return the result,
    and whether it is sound: with `check` there may be no finding, also of the checks of `explore` and of other
    processes.

    Raises:
        ConfigurationError: the scenario cannot be used, or names code and `code` is false.
    """
    from simulation.world.escape import Escape, ServiceFailed
    from simulation.world.exploring import Breach, breaches, lone_arrivals
    from simulation.world.run import run_service
    from simulation.world.second import run_apart, run_with_others

    _check(service)
    broken: list[Breach] = []
    try:
        if check:
            result, difference = run_with_others(service, scenario, code=code)
            lone = lone_arrivals(scenario, partial(run_apart, service, code=code))
            broken = list(breaches(result, expect=False, lone=lone))
            if difference is not None:
                broken.append(Breach("not repeatable", str(difference)))
        else:
            result = run_service(service, scenario, code=code)
    except (Escape, ServiceFailed) as error:
        say(f"{file}: {error}")
        raise typer.Exit(Exit.DOES_NOT_HOLD) from None
    if not quiet:
        for line in result.lines:
            typer.echo(line)
    for breach in broken:
        say(f"{file}: {breach}")
    for finding in result.findings:
        say(f"finding: {finding}")
    return result, not (check and (broken or result.findings))


def explore_in_world(
    service: str,
    file: Path,
    seeds: int,
    first_seed: int,
    sets: list[str],
    out: Path | None,
    *,
    keep_going: bool,
    expect: bool,
    code: bool,
) -> None:
    """Explore a service, print each case that broke, and keep its file in `out`.

    Raises:
        ConfigurationError: the scenario cannot be used, or names code and `code` is false.
    """
    from simulation.world.exploring import explore_service

    _check(service)
    explored = explore_service(
        service, file, seeds=seeds, first_seed=first_seed, keep_going=keep_going, expect=expect, sets=sets, code=code
    )
    typer.echo(str(explored))
    for failure in explored.failures:
        if out is None:
            typer.echo(failure.file)
            continue
        out.mkdir(parents=True, exist_ok=True)
        case = out / f"{failure.kind.replace(' ', '-')}-{failure.seed}.yaml"
        case.write_text(failure.file, encoding="utf-8")
        typer.echo(f"run it again: retrylab run {case} --service {service} --check{' --code' if code else ''}")
    if explored.failures:
        raise typer.Exit(Exit.DOES_NOT_HOLD)


def _check(service: str) -> None:
    if ":" not in service:
        refuse([f"--service {service}: wanted a function module:main"])
    import_from_here()
