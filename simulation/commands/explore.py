"""The command ``retrylab explore``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from simulation.commands.service_run import explore_in_world
from simulation.commands.shared import (
    CodeOption,
    Exit,
    File,
    SetsAsForRun,
    announce,
    check_extras,
    columns,
    import_from_here,
    json_option,
    option,
    path_option,
    print_document,
    refuse,
    say,
    say_what_runs,
    wrapped,
)

if TYPE_CHECKING:
    from simulation.reporting.terminal.run_view import RunsView
    from simulation.scenario import Scenario

SEEDS = 1000
"""The default number of cases."""

ScheduleName = Literal["mixed", "normal", "random-walk", "pct"]
"""How the order of ready messages is drawn."""

SettingsName = Literal["mixed", "given", "drawn"]
"""Which settings the cases have."""


def explore(
    file: File,
    seeds: Annotated[int, typer.Option(min=1, help="How many cases to run, each drawn by a seed.")] = SEEDS,
    first_seed: Annotated[int, typer.Option(min=0, help="The first of the seeds.")] = 0,
    workers: Annotated[int | None, option("Processes that share the cases; as many as cores.", min=1)] = None,
    schedule: Annotated[
        ScheduleName, typer.Option(help="Which orders of ready messages to draw: the normal one, others, or both.")
    ] = "mixed",
    settings: Annotated[
        SettingsName,
        typer.Option(help="Which settings the cases have: those of FILE, some of them changed at random, or both."),
    ] = "mixed",
    unguided: Annotated[
        bool,
        typer.Option("--unguided", help="Draw each case anew, in place of varying cases that showed something new."),
    ] = False,
    varies: Annotated[
        str | None, option("Vary in every case the one that these seeds lead to, such as 12,57.", metavar="SEEDS")
    ] = None,
    expect: Annotated[
        bool,
        typer.Option("--expect", help="Look for the mildest faults that break an expectation, in place of invariants."),
    ] = False,
    faults: Annotated[
        list[str] | None,
        option(
            "With --expect: a fault that may be drawn, and its longest duration, such as outage=2m, email.hang=30s or "
            "crash=30s; once for each. Two outages of 2m and a crash when left out.",
            "--fault",
            metavar="KIND=TIME",
        ),
    ] = None,
    sets: SetsAsForRun = None,
    out: Annotated[
        Path | None,
        path_option(
            "DIR", "Keep failing cases here, and first try the cases that are here. Without it nothing is written."
        ),
    ] = None,
    keep_going: Annotated[
        bool, typer.Option("--all", help="Go on after a case that broke, and show every broken case.")
    ] = False,
    as_json: Annotated[bool, json_option("the result as ")] = False,
    service: Annotated[
        str | None,
        option("Explore this trio service in the scenario's `world`, not the pipeline.", metavar="MODULE:MAIN"),
    ] = None,
    code: CodeOption = False,
) -> None:
    """Run many small cases of a scenario, with faults and operations drawn by seeds, checking every invariant.

    With --expect it looks for the mildest faults within bounds that break an expectation of FILE, shrinks them, and
    writes the scenario with them as mildest.yaml into --out DIR; it tries 200 cases unless --seeds names another
    number. With --service as well, the expectations of FILE have to hold in each case.

    Exit code 0: no case broke, and everything that the settings make possible happened in some case; 1: a case broke,
    or something never happened; 2: bad input; 130: interrupted, after the number of cases that ran.
    """
    from actors.errors import ConfigurationError
    from simulation.reporting.terminal import watch_runs
    from simulation.results.files import check_writable
    from simulation.results.progress import Interrupted
    from simulation.scenario.loading import given
    from simulation.verification.drawing.swarm import drawn_case
    from simulation.verification.exploring.explore import explore as explore_cases
    from simulation.verification.exploring.report import WIDE, document, interrupted, report

    check_extras("explore", service=service)
    try:
        if service is not None:
            beside = {"--varies": varies, "--json": as_json, "--workers": workers, "--fault": faults}
            beside |= {"--unguided": unguided}
            if unfit := [f"{name}: wanted it without --service" for name, value in beside.items() if value]:
                refuse(unfit)
            how = {"keep_going": keep_going, "expect": expect, "code": code}
            explore_in_world(service, file, seeds, first_seed, sets or [], out, **how)
            return
        if code:
            import_from_here()
        if out is not None:
            check_writable(out)
        scenario = given(file, sets or [], code=code)
        if expect:
            say_what_runs(file, [scenario])
            _look_for_mildest(scenario, faults, seeds, workers, out, as_json)
            return
        if faults:
            refuse(["--fault: wanted it with --expect alone"])
        first = [
            drawn_case(scenario, seed, schedule=schedule, settings=settings).scenario
            for seed in range(first_seed, first_seed + min(seeds, 4))
        ]
        announce(file, first, -(-seeds // len(first)), workers)
        with watch_runs("cases", quiet=as_json) as progress:
            exploration = explore_cases(
                file,
                seeds=seeds,
                first_seed=first_seed,
                workers=workers,
                schedule=schedule,
                settings=settings,
                guided=not unguided,
                varies=_seeds(varies),
                sets=sets or [],
                failures=out,
                code=code,
                keep_going=keep_going,
                progress=progress,
                shrinking=lambda seed: _say_now(progress, f"the case of seed {seed} is being made smaller"),
            )
    except ConfigurationError as error:
        refuse(error.problems)
    except OSError as error:
        refuse([f"--out {error.filename or out}: {error.strerror or error}"])
    except Interrupted as stopped:
        say(interrupted(stopped.so_far, seeds))
        raise typer.Exit(Exit.INTERRUPTED) from None
    if as_json:
        print_document(document(exploration))
    else:
        text = report(exploration, columns(WIDE))
        typer.echo(wrapped(text) if sys.stdout.isatty() else text)
    if not exploration.holds:
        raise typer.Exit(Exit.DOES_NOT_HOLD)


def _look_for_mildest(
    scenario: Scenario, faults: list[str] | None, seeds: int, workers: int | None, out: Path | None, as_json: bool
) -> None:
    from simulation.reporting.terminal import watch_runs
    from simulation.scenario.writing import write
    from simulation.verification.exploring.expecting import USUAL, mildest

    cases = 200 if seeds == SEEDS else seeds
    with watch_runs("cases", quiet=as_json) as progress:
        found = mildest(
            scenario,
            faults or USUAL,
            cases=cases,
            workers=workers,
            progress=progress,
            cutting_down=lambda count: _say_now(progress, f"{count} of the cases that broke are being made smaller"),
        )
    if as_json:
        print_document(found.document)
    else:
        typer.echo(found.in_words)
        for text in found.left_out:
            typer.echo(f"left out, as it does not hold even without a fault: {text}")
    if not found.case:
        return
    text = write(found.broken_case, found.in_words)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "mildest.yaml").write_text(text, encoding="utf-8")
        if not as_json:
            typer.echo(f"written to {out / 'mildest.yaml'}")
    elif not as_json:
        typer.echo(f"\n{text}", nl=False)
    raise typer.Exit(Exit.DOES_NOT_HOLD)


def _say_now(progress: RunsView | None, what: str) -> None:
    if progress is not None:
        progress.now = what


def _seeds(text: str | None) -> list[int]:
    from actors.errors import ConfigurationError

    parts = [] if text is None else text.split(",")
    if not all(part.isascii() and part.strip().isdecimal() for part in parts):
        raise ConfigurationError([f"--varies: wanted seeds with commas between them such as 12,57, got {text!r}"])
    return [int(part) for part in parts]
