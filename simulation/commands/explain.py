"""The command ``retrylab explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from simulation.commands.foreign_files import GivenValues, Library, Profile, given_of, say_left_out
from simulation.commands.shared import (
    Workers,
    check_extras,
    exits_in_words,
    given_path,
    json_option,
    option,
    path_option,
    print_document,
    set_option,
)


def explain(
    file: Annotated[
        Path | None,
        typer.Argument(
            parser=given_path,
            metavar="[FILE]",
            help="A scenario, a file with `channels`, or one that `import` reads; without it the defaults.",
            show_default=False,
        ),
    ] = None,
    sets: Annotated[
        list[str] | None,
        set_option("Change a setting, e.g. channels.email.retry.max_attempts=8; of the file, or of the defaults."),
    ] = None,
    channel: Annotated[str | None, option("Explain this channel alone; without it each channel that is used.")] = None,
    load: Annotated[float | None, option("Calls a second in the outages; without it the file's mean, or 10.")] = None,
    out: Annotated[Path | None, path_option("FILE", "Draw the picture here: a name that ends in .png or .svg.")] = None,
    values: GivenValues = None,
    profiles: Profile = None,
    libraries: Library = None,
    as_json: Annotated[bool, json_option("all numbers, and how each was found, as ")] = False,
    workers: Workers = None,
) -> None:
    """Say in words, tables and one picture what settings will do: when attempts are made, what an outage of a second to
    an hour does to a call and to a load, when the breaker opens. Exit code 0: done; 2: bad input.

    Numbers come from a closed form if there is one, else from a small run; each number says which.
    """
    from actors.errors import ConfigurationError
    from simulation.experiments.explaining.explain import explain as explain_settings
    from simulation.experiments.imported import sheets_of_lines
    from simulation.importing.channels import imported_from
    from simulation.reporting.console import print_sheets

    check_extras("explain", out=out)
    with exits_in_words(file or Path("defaults"), out):
        if out is not None and out.suffix.lower() not in (".png", ".svg"):
            raise ConfigurationError([f"--out {out}: wanted a name that ends in .png or .svg"])
        given = given_of(values, profiles, libraries)
        imported = None if file is None else imported_from(file, given)
        say_left_out(imported)
        found = explain_settings(file, sets=sets or [], channel=channel, load=load, workers=workers, library=given)
        if out is not None:
            from simulation.experiments.explaining.picture import picture
            from simulation.reporting.plots.canvas import write_picture

            write_picture(picture(found.scenario.name, found.channels), out)
    if as_json:
        print_document(found.document)
        return
    of_lines = [] if imported is None else sheets_of_lines(imported, channel)
    print_sheets(*of_lines, *found.sheets)
    if out is not None:
        typer.echo(f"written to {out}")
