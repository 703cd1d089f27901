"""The command ``retrylab schema``."""

from __future__ import annotations

from typing import Annotated

import typer

from simulation.commands.shared import print_document, refuse


def schema(
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the reference of the scenario language instead, for people.")
    ] = False,
    of_summary: Annotated[
        bool, typer.Option("--summary", help="Print the schema of a run's summary instead: summary.json, run --json.")
    ] = False,
) -> None:
    """Print the JSON Schema of scenario files, for editors and other tools."""
    if as_markdown and of_summary:
        refuse(["--summary: wanted it without --markdown"])
    if of_summary:
        from simulation.scenario.reference import summary_schema

        print_document(summary_schema())
        return
    if as_markdown:
        from simulation.scenario.reference import reference

        typer.echo(reference(), nl=False)
        return
    from simulation.scenario import json_schema

    print_document(json_schema())
