"""Several scenario files of one command: loaded before anything is done with one of them, and linted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from simulation.commands.shared import argument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.lint.channel import Finding
    from actors.settings.yaml_tree import Problem
    from simulation.scenario import Scenario

Files = Annotated[list[Path], argument("FILE", "Scenario files.")]


def load_all(files: Sequence[Path], sets: Sequence[str], seed: int | None) -> tuple[list[Scenario], dict[str, Path]]:
    """Return the scenarios, and what is wrong with the files, each with the first one that has it."""
    from actors.errors import ConfigurationError
    from simulation.scenario import load

    scenarios: list[Scenario] = []
    problems: dict[str, Path] = {}
    for file in files:
        try:
            scenarios.append(load(file, sets=sets, seed=seed))
        except ConfigurationError as error:
            for problem in error.problems:
                problems.setdefault(problem, file)
    return scenarios, problems


def findings_in(file: Path, scenario: Scenario, sets: Sequence[str]) -> list[tuple[Problem, Finding]]:
    """Return the settings of a file that cannot do what they say, with their places."""
    from simulation.scenario.lint import lint_scenario, places_of

    return places_of(lint_scenario(scenario), file, sets)
