"""Several scenario files of one command: loaded before anything is done with one of them, and linted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn, TypeVar

import typer

from simulation.commands.shared import Exit, argument, import_from_here, option, say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from actors.lint.findings import Finding
    from actors.settings.yaml_tree import Place, Problem
    from simulation.importing.source import Given
    from simulation.reporting.annotations import Level
    from simulation.scenario import Scenario

System = Literal["github"]
"""The systems whose jobs can annotate a pull request."""

Annotate = Annotated[
    System | None,
    option("Annotate each problem at its line in a pull request, by commands on stderr that GitHub reads."),
]

Files = Annotated[list[Path], argument("FILE", "Scenario files.")]


T = TypeVar("T")

_SCENARIO_KEYS = {"workload", "duration", "channels", "expect"}


def load_all(files: Sequence[Path], sets: Sequence[str], seed: int | None) -> tuple[list[Scenario], dict[str, Path]]:
    """Return the scenarios, and the problems of the files, each with the first file that has it."""
    from simulation.scenario import load

    return _loaded(files, lambda file: load(file, sets=sets, seed=seed))


def with_code(
    scenarios: Sequence[Scenario], files: Sequence[Path], code: bool
) -> tuple[list[Scenario], dict[str, Path]]:
    """Return the scenarios, whose runs may import own actors if `code` is true, and the reasons that keep some from
    running, each with the file that has it."""
    from actors.errors import ConfigurationError
    from simulation.running.own_code import actors_of

    allowed = [scenario.with_code(code) for scenario in scenarios]
    problems: dict[str, Path] = {}
    if code:
        import_from_here()
    for scenario, file in zip(allowed, files, strict=True):
        try:
            actors_of(scenario)
        except ConfigurationError as error:
            problems |= dict.fromkeys(error.problems, file)
    return allowed, problems


def load_each_file(
    files: Sequence[Path], sets: Sequence[str], library: Given
) -> tuple[list[tuple[Scenario, bool]], dict[str, Path]]:
    """Return the same, where files with settings of a notifier, a service or a library that ``import`` reads, marked by
    True, are fine as well."""
    from simulation.importing.channels import load_foreign

    return _loaded(files, lambda file: load_foreign(file, sets, library))


def _loaded(files: Sequence[Path], load: Callable[[Path], T]) -> tuple[list[T], dict[str, Path]]:
    from actors.errors import ConfigurationError

    loaded: list[T] = []
    problems: dict[str, Path] = {}
    for file in files:
        try:
            loaded.append(load(file))
        except ConfigurationError as error:
            for problem in error.problems:
                problems.setdefault(problem, file)
    return loaded, problems


def without_others(files: list[Path]) -> list[Path]:
    """Return the files that are meant as scenarios; files without a key of one are named on stderr as passed over.

    A single file is returned in any case, and so are all if none is meant as one, so that their problems are reported.
    """
    others = [file for file in files if _is_other(file)] if len(files) > 1 else []
    if len(others) == len(files):
        return files
    for file in others:
        say(f"{file}: passed over: it has none of {', '.join(sorted(_SCENARIO_KEYS))}")
    return [file for file in files if file not in others]


def _is_other(file: Path) -> bool:
    """Return whether a file can be read and is no scenario; False for a pipe, which can be read only once."""
    from actors.errors import ConfigurationError
    from actors.settings.file import text_of, tree_of
    from actors.settings.yaml_tree import MappingNode

    if not file.is_file():
        return False
    try:
        root = tree_of(text_of(file), str(file))
    except ConfigurationError:
        return False
    return not isinstance(root, MappingNode) or not _SCENARIO_KEYS & root.entries.keys()


def findings_in(file: Path, scenario: Scenario, sets: Sequence[str]) -> list[tuple[Problem, Finding]]:
    from simulation.scenario.lint import lint_scenario, places_of

    return places_of(lint_scenario(scenario), file, sets)


class Messages:
    """Reports problems of files on standard error: in lines, or as annotations of a pull request."""

    def __init__(self, annotate: System | None) -> None:
        self.annotates = annotate is not None
        """Whether as annotations."""
        self.problems: list[str] = []
        """The problems of files so far."""

    def finding(self, level: Level, file: Path, problem: Problem, finding: Finding) -> None:
        if self.annotates:
            self._annotate(level, str(problem), finding.rule, file, problem.place)
        else:
            say(f"{level}: {problem}")

    def refuse(self, problems: Mapping[str, Path]) -> NoReturn:
        """Report the problems of files that cannot be used, each with its file, and end the command."""
        for problem, file in problems.items():
            self.problem(problem, "cannot be used", file)
        raise typer.Exit(Exit.BAD_INPUT) from None

    def problem(self, text: str, title: str, file: Path) -> None:
        """Report a problem of a file; the title is for an annotation, which stands alone."""
        from actors.settings.yaml_tree import place_in

        self.problems.append(text)
        if self.annotates:
            self._annotate("error", text, title, file, place_in(text, str(file)))
        else:
            say(text)

    def _annotate(self, level: Level, text: str, title: str, file: Path, place: Place | None) -> None:
        from simulation.reporting.annotations import workflow_command

        say(workflow_command(level, text, title=title, file=file, place=place))
