"""The command ``retrylab explore``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from simulation.commands.shared import (
    Exit,
    File,
    SetsAsForRun,
    announce,
    columns,
    json_option,
    option,
    path_option,
    refuse,
    say,
    wrapped,
)

ScheduleName = Literal["mixed", "normal", "random-walk", "pct"]
"""How the order of ready messages is drawn."""

SettingsName = Literal["mixed", "given", "drawn"]
"""Which settings the cases have."""


def explore(
    file: File,
    seeds: Annotated[int, typer.Option(min=1, help="How many cases to run, each drawn by a seed.")] = 1000,
    first_seed: Annotated[int, typer.Option(min=0, help="The first of the seeds.")] = 0,
    workers: Annotated[int | None, option("Processes that share the cases; as many as cores.", min=1)] = None,
    schedule: Annotated[
        ScheduleName,
        typer.Option(help="Which orders of ready messages to draw: the normal one, others, or both."),
    ] = "mixed",
    settings: Annotated[
        SettingsName,
        typer.Option(help="Which settings the cases have: those of FILE, some of them changed at random, or both."),
    ] = "mixed",
    unguided: Annotated[
        bool, typer.Option("--unguided", help="Draw each case anew; vary none that has seen something new.")
    ] = False,
    varies: Annotated[
        str | None, option("Have every case vary the one that these seeds lead to, such as 12,57.", metavar="SEEDS")
    ] = None,
    sets: SetsAsForRun = None,
    out: Annotated[
        Path | None,
        path_option(
            "DIR",
            "Keep failing cases here, and try those that are here first. Nothing is written when left out.",
        ),
    ] = None,
    keep_going: Annotated[
        bool, typer.Option("--all", help="Go on after a case that broke, and show each that did.")
    ] = False,
    as_json: Annotated[bool, json_option("the result as ")] = False,
) -> None:
    """Run many small cases of a scenario, with faults and operations drawn by seeds, checking every invariant.

    Exit code 0: no case broke, and everything that the settings make possible happened in some case; 1: a case broke,
    or something never happened; 2: bad input; 130: interrupted, with how many were run.
    """
    from actors.errors import ConfigurationError
    from simulation.reporting.terminal import watch_runs
    from simulation.results.files import check_writable
    from simulation.results.progress import Interrupted
    from simulation.scenario import load
    from simulation.verification.drawing.swarm import drawn_case
    from simulation.verification.exploring.explore import explore as explore_cases
    from simulation.verification.exploring.report import WIDE, document, interrupted, report

    try:
        if out is not None:
            check_writable(out)
        scenario = load(file, sets=sets or [])
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
                keep_going=keep_going,
                progress=progress,
            )
    except ConfigurationError as error:
        refuse(error.problems)
    except OSError as error:
        refuse([f"--out {error.filename or out}: {error.strerror or error}"])
    except Interrupted as stopped:
        say(interrupted(stopped.so_far, seeds))
        raise typer.Exit(Exit.INTERRUPTED) from None
    if as_json:
        typer.echo(json.dumps(document(exploration), indent=2))
    else:
        text = report(exploration, columns(WIDE))
        typer.echo(wrapped(text) if sys.stdout.isatty() else text)
    if not exploration.holds:
        raise typer.Exit(Exit.DOES_NOT_HOLD)


def _seeds(text: str | None) -> list[int]:
    from actors.errors import ConfigurationError

    parts = [] if text is None else text.split(",")
    if not all(part.isascii() and part.strip().isdecimal() for part in parts):
        raise ConfigurationError([f"--varies: wanted seeds with commas between them such as 12,57, got {text!r}"])
    return [int(part) for part in parts]
