"""The command ``retrylab import``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from simulation.commands.foreign_files import From, GivenValues, Library, Profile, given_of
from simulation.commands.shared import argument, exits_in_words, json_option, path_option, print_document, refuse, say


def import_(
    files: Annotated[list[Path], argument("FILE", "Source or configuration files; folders; patterns.")],
    kind: From = None,
    profiles: Profile = None,
    values: GivenValues = None,
    libraries: Library = None,
    out: Annotated[Path | None, path_option("FILE", "Write a scenario with a channel for each policy here.")] = None,
    as_json: Annotated[bool, json_option("the policies with all of their lines as ")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables as Markdown.")] = False,
) -> None:
    """Read the retry settings of other libraries from your own files, and say for each line what it does.

    A line is exact; approximate, by how much and where; cannot be said in the settings of a channel; or does nothing,
    and why. Then the command prints when the attempts of a call start that always fails. It runs nothing of the files.

    If a name decides and stands elsewhere, the command asks for its value: answer with --given NAME=VALUE.

    Exit code 0: read, though lines may be approximate and questions open; 2: bad input.
    """
    from simulation.experiments.imported import ImportedPolicies, in_words
    from simulation.importing.files import import_files
    from simulation.reporting.console import print_sheets
    from simulation.sheets import markdown, markdown_text

    if as_json and as_markdown:
        refuse(["--markdown: wanted it without --json"])
    with exits_in_words(files[0], out):
        found = ImportedPolicies(import_files(files, given_of(values, profiles, libraries), kind))
        for problem in found.imported.problems:
            say(problem)
        if out is not None:
            from simulation.commands.foreign_files import write_scenario

            write_scenario(found, files, out)
    if as_json:
        print_document(found.document)
    elif as_markdown:
        for sheet in found.sheets:
            title = f"{sheet.title} ({sheet.about})" if sheet.about else sheet.title
            parts = [f"### {markdown_text(title)}", ""] if title else []
            parts += [*markdown(sheet), ""] if sheet.rows else []
            said = (*sheet.notes, *sheet.said, *sheet.warnings)
            typer.echo("\n".join([*parts, *(f"- {markdown_text(text)}" for text in said), *([""] if said else [])]))
    else:
        print_sheets(*found.sheets)
    say(in_words(found.imported))
    for question in found.questions:
        say(question.asked)
    if out is not None and not as_json:
        typer.echo(f"written to {out}")
