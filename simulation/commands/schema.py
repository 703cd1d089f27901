"""The command ``retrylab schema``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from simulation.commands.shared import refuse


def schema(
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the reference of the scenario language instead, for people.")
    ] = False,
    of_summary: Annotated[
        bool,
        typer.Option("--summary", help="Print the schema of a run's summary instead: summary.json, run --json."),
    ] = False,
) -> None:
    """Print the JSON Schema of scenario files, for editors and other tools."""
    if as_markdown and of_summary:
        refuse(["--summary: wanted it without --markdown"])
    if of_summary:
        from simulation.scenario.summary_schema import summary_schema

        typer.echo(json.dumps(summary_schema(), indent=2))
        return
    if as_markdown:
        from simulation.scenario.reference import reference

        typer.echo(reference(), nl=False)
        return
    from simulation.scenario import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))
