"""The command ``retrylab export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from simulation.commands.foreign_files import GivenValues, Library, Profile, given_of
from simulation.commands.shared import File, exits_in_words, option, path_option, say


def export(
    file: File,
    kind: Annotated[str, option("The library of the other file.", "--as", metavar="KIND")],
    into: Annotated[Path, path_option("FILE", "The file that was imported.")],
    write: Annotated[bool, typer.Option("--write", help="Write the file, and not only print the difference.")] = False,
    profiles: Profile = None,
    values: GivenValues = None,
    libraries: Library = None,
) -> None:
    """Bring your changes of an imported scenario back into the file that it was imported from, as a difference.

    It replaces only numbers that stand in one place of that file and were imported exactly. Then it reads the file
    again, which must equal the scenario, and be unchanged otherwise. Exit code 0: done; 2: refused.
    """
    from actors.errors import ConfigurationError
    from simulation.importing.export import export as exported
    from simulation.importing.source import KINDS

    with exits_in_words(file, None):
        if kind not in KINDS:
            raise ConfigurationError([f"--as: wanted one of {', '.join(KINDS)}, got {kind!r}"])
        found = exported(file, KINDS[kind], into, given_of(values, profiles, libraries))
        if write and found.diff:
            found.write()
    typer.echo(found.diff, nl=False)
    say(f"written to {into}" if write and found.diff else "" if found.diff else f"{into} says so already")
