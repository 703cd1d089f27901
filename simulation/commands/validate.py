"""The command ``retrylab validate``."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from simulation.commands.shared import Exit, json_option, option, print_document, refuse, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from simulation.verification.cases.procedure import CaseResult


def validate(
    full: Annotated[
        bool, typer.Option("--full", help="Make intervals as narrow as each case says, and run all experiments; slow.")
    ] = False,
    case: Annotated[
        list[str] | None, option("Only this case; may be given several times.", "--case", metavar="NAME")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The seed; another one draws other random numbers.")] = 0,
    workers: Annotated[int | None, option("Processes that share the replications; as many as cores.", min=1)] = None,
    as_json: Annotated[bool, json_option("the findings as ")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the findings as a Markdown table.")] = False,
    rows: Annotated[int | None, option("With --markdown: at most so many rows of each case.", min=1)] = None,
    list_cases: Annotated[
        bool, typer.Option("--list", help="Print all cases, with --json as JSON, and run nothing.")
    ] = False,
) -> None:
    """Compare with theory and published results: each case with its source, the expected and the measured.

    Exit code 0: all hold; 1: one does not, or is too wide to say; 2: bad input; 3: an invariant broke.
    """
    from actors.errors import ConfigurationError, InvariantBreach, WorkerLost
    from simulation.verification.cases.printing import case_text, document, listing, listing_document, markdown, summary
    from simulation.verification.cases.procedure import find, validate as validate_cases

    def print_case(result: CaseResult) -> None:
        typer.echo(f"{case_text(result)}\n")
        sys.stdout.flush()

    plain = not (as_json or as_markdown)
    try:
        if as_json and as_markdown:
            raise ConfigurationError(["json: wanted it without --markdown"])
        if rows is not None and not as_markdown:
            raise ConfigurationError([f"rows {rows}: wanted it with --markdown"])
        if list_cases and as_markdown:
            raise ConfigurationError(["list: wanted it without --markdown, which is for findings"])
        if list_cases:
            cases = find(case)
            typer.echo(json.dumps(listing_document(cases), indent=2) if as_json else listing(cases))
            return
        with _said(case, full=full, quiet=as_json or as_markdown) as on_experiment:
            validation = validate_cases(
                case,
                full=full,
                seed=seed,
                workers=workers,
                on_result=print_case if plain else None,
                on_experiment=on_experiment,
            )
    except ConfigurationError as error:
        refuse(f"--{problem}" for problem in error.problems)
    except InvariantBreach as breach:
        say(f"an invariant broke, which is a bug: {breach}")
        raise typer.Exit(Exit.INVARIANT_BROKEN) from None
    except WorkerLost as lost:
        say(str(lost))
        raise typer.Exit(Exit.WORKER_LOST) from None
    if as_json:
        print_document(document(validation))
    else:
        typer.echo(markdown(validation, rows) if as_markdown else summary(validation))
    if not validation.holds:
        raise typer.Exit(Exit.DOES_NOT_HOLD)


@contextmanager
def _said(cases: list[str] | None, *, full: bool, quiet: bool) -> Iterator[Callable[[str], None] | None]:
    """Give a function that shows the current experiment: on one line of the terminal, or with a line a minute.

    How long the rest takes is not known, since one experiment may take a hundred times as long as another.
    """
    from actors.formatting import counted
    from simulation.reporting.terminal.canvas import ticking
    from simulation.reporting.terminal.minutes import MinuteLines
    from simulation.verification.cases.procedure import planned

    if sys.stderr is not None and sys.stderr.isatty():
        yield _say_what_is_done
        return
    if quiet:
        yield None
        return
    of = counted(sum(map(len, planned(cases, full=full).values())), "experiment")
    begun: list[str] = []

    def in_a_line() -> str:
        return f"{len(begun) - 1:,} of {of}, now {begun[-1]}" if begun else f"0 of {of}"

    with ticking(MinuteLines(in_a_line)):
        yield begun.append


def _say_what_is_done(experiment: str) -> None:
    sys.stderr.write(f"\r\x1b[K{experiment[:100]}\r")
    sys.stderr.flush()
