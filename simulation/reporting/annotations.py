"""Workflow commands, with which a job on GitHub annotates lines of files in a pull request."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from actors.settings.yaml_tree import Place
    from simulation.results.result import Result

Level: TypeAlias = Literal["error", "warning", "notice"]

_OF_DATA = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_OF_PROPERTIES = _OF_DATA | str.maketrans({":": "%3A", ",": "%2C"})


def workflow_command(
    level: Level, message: str, *, title: str, file: Path | None = None, place: Place | None = None
) -> str:
    """Return the workflow command that annotates a file, in a line.

    The runner reads such lines on standard output and on standard error; see "Workflow commands for GitHub Actions" in
    GitHub's documentation, and `escapeData` and `escapeProperty` in its toolkit for what is escaped.
    """
    properties: dict[str, str] = {}
    if file is not None:
        properties["file"] = in_workspace(file)
        if place is not None and place.line:
            properties |= {"line": str(place.line), "col": str(place.column)}
    properties["title"] = title
    shown = ",".join(f"{key}={value.translate(_OF_PROPERTIES)}" for key, value in properties.items())
    return f"::{level} {shown}::{message.translate(_OF_DATA)}"


def in_workspace(file: Path) -> str:
    """Return the path of a file from the root of the repository, as GitHub wants it, or as it is outside of a job.

    A step may have another working directory, from which the paths on its command line go.
    """
    workspace = os.environ.get("GITHUB_WORKSPACE")
    if workspace:
        absolute = Path(os.path.abspath(file))
        if absolute.is_relative_to(workspace):
            return absolute.relative_to(workspace).as_posix()
    return file.as_posix()


def expectation_commands(result: Result, file: Path, places: list[Place]) -> list[str]:
    """Return a workflow command for each expectation of a run that does not hold."""
    from simulation.reporting.expectations import in_words

    which = f"{result.summary['scenario']}, seed {result.summary['seed']}"
    commands = []
    for expectation, place in zip(in_words(result), places, strict=True):
        if expectation.holds is not False:
            continue
        value, wanted, off = expectation.words
        title = f"{expectation.text} does not hold"
        message = f"{which}: {title}: is {value}, wanted {wanted}{'' if off is None else f', {off}'}"
        commands.append(workflow_command("error", message, title=title, file=file, place=place))
    return commands
