"""The command ``retrylab schema``."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def schema(
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the reference of the scenario language instead, for people.")
    ] = False,
) -> None:
    """Print the JSON Schema of scenario files, for editors and other tools."""
    if as_markdown:
        from simulation.scenario.reference import reference

        typer.echo(reference(), nl=False)
        return
    from simulation.scenario import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))
